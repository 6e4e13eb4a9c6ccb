/*
 * timed [-n TIMES] COMMAND [ARGUMENT...] - runs a command with its standard output thrown away, and prints a line for
 * each run: its seconds from before the fork to its end, and the memory that it had at most, in KiB.
 */
#define _GNU_SOURCE /* wait4 */

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(int argc, char **argv)
{
    long times = 1;
    posix_spawn_file_actions_t actions;
    argv++;
    if (argc > 3 && strcmp(*argv, "-n") == 0) {
        times = strtol(argv[1], NULL, 10);
        argv += 2;
    }
    if (!*argv) {
        fprintf(stderr, "usage: timed [-n TIMES] COMMAND [ARGUMENT...]\n");
        return 2;
    }
    if (posix_spawn_file_actions_init(&actions) != 0 ||
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0) != 0) {
        return 2;
    }
    for (long i = 0; i < times; i++) {
        struct rusage usage;
        pid_t pid;
        int status;
        const double start = now();
        if (posix_spawnp(&pid, *argv, &actions, NULL, argv, environ) != 0 || wait4(pid, &status, 0, &usage) != pid) {
            perror(*argv);
            return 2;
        }
        const double seconds = now() - start;
        if (status != 0) {
            fprintf(stderr, "timed: %s failed\n", *argv);
            return 1;
        }
        printf("%.6f %ld\n", seconds, usage.ru_maxrss);
    }
    return 0;
}
