#include "signals.h"

#include <stddef.h>
#include <unistd.h>

static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGXCPU};
static volatile sig_atomic_t came;

/* Worker threads look at it, too. */
static void on_signal(int number)
{
    __atomic_store_n(&came, number, __ATOMIC_RELAXED);
}

/* Parts of input files that are mapped: one of them may be cut off while it is read. */
static s24_maps maps;

static void on_bus_error(int number, siginfo_t *info, void *context)
{
    (void)context;
    if (!s24_maps_repair(&maps, info->si_addr)) {
        signal(number, SIG_DFL); /* the access is made again, and ends the process */
    }
}

s24_maps *signals_maps(void)
{
    return &maps;
}

void signals_install(void)
{
    struct sigaction bus = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO};
    sigemptyset(&bus.sa_mask);
    sigaction(SIGBUS, &bus, NULL);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct sigaction old;
        /* Without SA_RESTART, so that a read that waits ends. What was ignored stays so: nohup, background jobs. */
        struct sigaction action = {.sa_handler = on_signal};
        sigemptyset(&action.sa_mask);
        if (sigaction(numbers[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN) {
            sigaction(numbers[i], &action, NULL);
        }
    }
    signal(SIGPIPE, SIG_IGN); /* write says EPIPE, and files are cleaned up as after any other failure */
    signal(SIGXFSZ, SIG_IGN); /* a file beyond `ulimit -f`: write says EFBIG */
}

void signals_release(void)
{
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct sigaction now;
        if (sigaction(numbers[i], NULL, &now) == 0 && now.sa_handler == on_signal) {
            signal(numbers[i], SIG_DFL);
        }
    }
    signals_pass_on(); /* what came meanwhile */
}

const volatile sig_atomic_t *signals_flag(void)
{
    return &came;
}

void signals_pipe_closed(void)
{
    came = SIGPIPE;
}

void signals_pass_on(void)
{
    const int number = came;
    if (number) {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, number);
        signal(number, SIG_DFL);
        sigprocmask(SIG_UNBLOCK, &set, NULL);
        raise(number);
        _exit(128 + number); /* not reached unless somebody traces us */
    }
}
