/* The text of --help, from the tables. */
#ifndef S24_CLI_HELP_H
#define S24_CLI_HELP_H

#include <stdio.h>

#include "command.h"

void help_usage(FILE *out);  /* a few lines, for who typed nothing */
void help_general(FILE *out);
void help_command(const command *c, FILE *out);

#endif
