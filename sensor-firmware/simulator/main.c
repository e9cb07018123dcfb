// roost-hub-sim: the hub's real firmware in simavr, its chips simulated, its serial line on a pseudo terminal.
//
//   roost-hub-sim --link PATH [--firmware hub.elf] [--probes N] [--direct]
//
// Follows the wall clock: the processor runs ahead by SLICE, then this program waits. Ends when standard input closes,
// and at SIGTERM and SIGINT. Sends nothing on the line that the firmware did not send.
#define _GNU_SOURCE
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sim_avr.h>
#include <sim_elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "commands.h"
#include "i2c_wires.h"
#include "serial_pty.h"

#define FREQUENCY 16000000
// How far the processor may be ahead of the clock: 10 ms is nothing to a reader and 100 wake-ups a second for us.
#define SLICE_NS 10000000LL
#define SLICE_CYCLES (FREQUENCY / 1000000 * (SLICE_NS / 1000))
// When the machine slept this long, the lost time is not made up.
#define LATE_NS 500000000LL

typedef struct {
    const char *link;
    const char *firmware;
    int probes;
    bool direct;
} options;

static volatile sig_atomic_t asked_to_stop;

static void on_signal(int signal)
{
    (void)signal;
    asked_to_stop = 1;
}

static int64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

// simavr waits here while the processor sleeps; we wait once for each slice instead.
static void sleep_in_no_time(avr_t *avr, avr_cycle_count_t cycles)
{
    (void)avr;
    (void)cycles;
}

static void log_errors(avr_t *avr, const int level, const char *format, va_list arguments)
{
    (void)avr;
    if (level == LOG_ERROR)
        vfprintf(stderr, format, arguments);
}

static avr_t *load(const char *path)
{
    elf_firmware_t firmware = {0};
    if (access(path, R_OK) != 0 || elf_read_firmware(path, &firmware) != 0) {
        fprintf(stderr, "roost-hub-sim: cannot load the firmware %s\n", path);
        return NULL;
    }
    avr_t *avr = avr_make_mcu_by_name("atmega328p");
    if (!avr) {
        fprintf(stderr, "roost-hub-sim: this simavr has no atmega328p\n");
        return NULL;
    }
    avr_init(avr);
    firmware.frequency = FREQUENCY;
    avr_load_firmware(avr, &firmware);
    avr->frequency = FREQUENCY;
    avr->sleep = sleep_in_no_time;
    return avr;
}

// Wait until the clock reaches `until`, obeying standard input. Returns false when it is time to end.
static bool wait_until(int64_t until, command_input *input, i2c_wires *wires)
{
    do {
        int64_t left = until - clock_ns();
        struct timespec timeout = {.tv_nsec = left > 0 ? left % 1000000000LL : 0};
        struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
        int ready = ppoll(&in, 1, &timeout, NULL);
        if (asked_to_stop || (ready > 0 && !commands_service(input, wires)))
            return false;
    } while (clock_ns() < until);
    return true;
}

// Returns whether the end was asked for.
static bool run(avr_t *avr, i2c_wires *wires, serial_pty *pty)
{
    command_input input = {0};
    int64_t slice_end_ns = clock_ns() + SLICE_NS;
    avr_cycle_count_t slice_end = avr->cycle + SLICE_CYCLES;
    for (;;) {
        int state = avr_run(avr);
        if (state == cpu_Done || state == cpu_Crashed) {
            fprintf(stderr, "roost-hub-sim: the firmware stopped\n");
            return false;
        }
        if (avr->cycle < slice_end)
            continue;
        serial_pty_service(pty);
        if (!wait_until(slice_end_ns, &input, wires))
            return true;
        slice_end += SLICE_CYCLES;
        slice_end_ns += SLICE_NS;
        if (clock_ns() - slice_end_ns > LATE_NS)
            slice_end_ns = clock_ns() + SLICE_NS;
    }
}

// hub.elf beside this program.
static const char *default_firmware(void)
{
    static char path[PATH_MAX + sizeof "/hub.elf"];
    ssize_t length = readlink("/proc/self/exe", path, PATH_MAX - 1);
    path[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(path, '/');
    strcpy(slash ? slash + 1 : path, "hub.elf");
    return path;
}

static int usage(void)
{
    fprintf(stderr, "usage: roost-hub-sim --link PATH [--firmware ELF] [--probes 1..8] [--direct]\n"
                    "  --link PATH     symlink to the serial line\n"
                    "  --firmware ELF  firmware to run (default: hub.elf beside this program)\n"
                    "  --probes N      chips (default: 1)\n"
                    "  --direct        no multiplexer: up to 2 chips at 0x44 and 0x45\n");
    return 2;
}

static bool parse(int argc, char **argv, options *out)
{
    static const struct option known[] = {{"link", required_argument, NULL, 'l'},
                                          {"firmware", required_argument, NULL, 'f'},
                                          {"probes", required_argument, NULL, 'p'},
                                          {"direct", no_argument, NULL, 'd'},
                                          {0}};
    *out = (options){.firmware = default_firmware(), .probes = 1};
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (option) {
        case 'l': out->link = optarg; break;
        case 'f': out->firmware = optarg; break;
        case 'p': out->probes = atoi(optarg); break;
        case 'd': out->direct = true; break;
        default: return false;
        }
    }
    return optind == argc && out->link && out->probes >= 1 && out->probes <= (out->direct ? 2 : MAX_PROBES);
}

int main(int argc, char **argv)
{
    options opts;
    if (!parse(argc, argv, &opts))
        return usage();
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    avr_global_logger_set(log_errors);

    avr_t *avr = load(opts.firmware);
    static i2c_wires wires;
    static serial_pty pty;
    if (!avr)
        return 1;
    i2c_wires_attach(&wires, avr, opts.probes, opts.direct);
    if (!serial_pty_attach(&pty, avr, opts.link))
        return 1;
    bool asked = run(avr, &wires, &pty);
    serial_pty_close(&pty);
    return asked ? 0 : 1;
}
