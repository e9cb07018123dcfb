// roost-hub-sim: the hub's real firmware in simavr, its chips simulated, its serial line on a pseudo terminal.
//
//   roost-hub-sim --link PATH [--firmware hub.elf] [--probes N] [--direct] [--chip KIND@PLACE]... [--eeprom FILE]
//
// Standard input: what the chips feel (commands.h). Standard output: what the firmware does to pins and fans, a line for
// each change (general_pins.h, fans.h, pcf8574_chip.h).
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

#include "board.h"
#include "commands.h"
#include "eeprom_file.h"
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
    const char *eeprom;
    // SHT31 for --probes; -1: not said.
    int probes;
    bool direct;
    const char *chips[MAX_CHIPS];
    int chip_count;
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
static bool wait_until(int64_t until, command_input *input, board *all)
{
    do {
        int64_t left = until - clock_ns();
        struct timespec timeout = {.tv_nsec = left > 0 ? left % 1000000000LL : 0};
        struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
        int ready = ppoll(&in, 1, &timeout, NULL);
        if (asked_to_stop || (ready > 0 && !commands_service(input, all)))
            return false;
    } while (clock_ns() < until);
    return true;
}

// Returns whether the end was asked for.
static bool run(avr_t *avr, board *all, serial_pty *pty)
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
        board_service(all);
        if (!wait_until(slice_end_ns, &input, all))
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
    fprintf(stderr, "usage: roost-hub-sim --link PATH [--firmware ELF] [--probes 1..8] [--direct] [--chip KIND@PLACE]...\n"
                    "                     [--eeprom FILE]\n"
                    "  --link PATH     symlink to the serial line\n"
                    "  --firmware ELF  firmware to run (default: hub.elf beside this program)\n"
                    "  --probes N      SHT31, each behind a channel of a multiplexer (default: 1 when there is no --chip)\n"
                    "  --direct        no multiplexer: up to 2 of them, at 0x44 and 0x45\n"
                    "  --chip CHIP     another chip: sht31@0x45, bme280@ch3/0x76, pcf8574@0x20, dht22@pin2 or\n"
                    "                  ds18b20@pin1/00000A1B2C3D, with its serial number\n"
                    "  --eeprom FILE   keep the EEPROM in this file from run to run\n");
    return 2;
}

static bool parse(int argc, char **argv, options *out)
{
    static const struct option known[] = {{"link", required_argument, NULL, 'l'},
                                          {"firmware", required_argument, NULL, 'f'},
                                          {"probes", required_argument, NULL, 'p'},
                                          {"direct", no_argument, NULL, 'd'},
                                          {"chip", required_argument, NULL, 'c'},
                                          {"eeprom", required_argument, NULL, 'e'},
                                          {0}};
    *out = (options){.firmware = default_firmware(), .probes = -1};
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (option) {
        case 'l': out->link = optarg; break;
        case 'f': out->firmware = optarg; break;
        case 'p': out->probes = atoi(optarg); break;
        case 'd': out->direct = true; break;
        case 'e': out->eeprom = optarg; break;
        case 'c':
            if (out->chip_count == MAX_CHIPS)
                return false;
            out->chips[out->chip_count++] = optarg;
            break;
        default: return false;
        }
    }
    bool said = out->probes != -1;
    if (!said)
        out->probes = out->chip_count == 0 ? 1 : 0;
    return optind == argc && out->link && out->probes >= (said ? 1 : 0) &&
           out->probes <= (out->direct ? 2 : MAX_PROBES);
}

static bool wire(board *all, const options *opts)
{
    if (!board_add_probes(all, opts->probes, opts->direct))
        return false;
    for (int i = 0; i < opts->chip_count; i++) {
        if (!board_add(all, opts->chips[i])) {
            fprintf(stderr, "roost-hub-sim: no such chip, or its place is taken: %s\n", opts->chips[i]);
            return false;
        }
    }
    return true;
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
    setvbuf(stdout, NULL, _IOLBF, 0);
    avr_global_logger_set(log_errors);

    avr_t *avr = load(opts.firmware);
    static board all;
    static serial_pty pty;
    if (!avr)
        return 1;
    board_attach(&all, avr);
    if (!wire(&all, &opts))
        return 2;
    if (opts.eeprom && !eeprom_file_load(avr, opts.eeprom))
        return 1;
    if (!serial_pty_attach(&pty, avr, opts.link))
        return 1;
    bool asked = run(avr, &all, &pty);
    serial_pty_close(&pty);
    bool kept = !opts.eeprom || eeprom_file_save(avr, opts.eeprom);
    return asked && kept ? 0 : 1;
}
