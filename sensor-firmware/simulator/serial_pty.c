#define _GNU_SOURCE
#include "serial_pty.h"

#include <avr_uart.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sim_io.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

static void pump_to_uart(serial_pty *pty)
{
    avr_irq_t *input = avr_io_getirq(pty->avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_INPUT);
    // Raising the IRQ may clear uart_ready, through on_uart_full.
    while (pty->uart_ready && pty->pending_begin < pty->pending_end)
        avr_raise_irq(input, pty->pending[pty->pending_begin++]);
}

static void on_uart_sends(struct avr_irq_t *irq, uint32_t byte, void *param)
{
    (void)irq;
    serial_pty *pty = param;
    if (pty->sent_length < sizeof pty->sent)
        pty->sent[pty->sent_length++] = (uint8_t)byte;
}

static void on_uart_ready(struct avr_irq_t *irq, uint32_t value, void *param)
{
    (void)irq;
    (void)value;
    serial_pty *pty = param;
    pty->uart_ready = true;
    pump_to_uart(pty);
}

static void on_uart_full(struct avr_irq_t *irq, uint32_t full, void *param)
{
    (void)irq;
    serial_pty *pty = param;
    pty->uart_ready = full == 0;
}

static bool failed(const char *step, const char *path)
{
    fprintf(stderr, "roost-hub-sim: %s %s: %s\n", step, path, strerror(errno));
    return false;
}

// Throw away what the last reader did not read, so that the next one begins with what is sent then. Opening the slave
// once also makes the kernel tell us, by POLLHUP, that nobody has it open.
static bool flush_slave(serial_pty *pty)
{
    int slave = open(pty->slave_path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (slave < 0)
        return false;
    tcflush(slave, TCIOFLUSH);
    close(slave);
    return true;
}

static bool open_terminal(serial_pty *pty)
{
    pty->master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (pty->master < 0 || grantpt(pty->master) != 0 || unlockpt(pty->master) != 0 ||
        ptsname_r(pty->master, pty->slave_path, sizeof pty->slave_path) != 0)
        return failed("cannot make", "a pseudo terminal");
    // Bytes must pass as they are: no echo, no line ends changed. On Linux this sets the slave's side.
    struct termios settings;
    if (tcgetattr(pty->master, &settings) != 0)
        return failed("cannot read the settings of", pty->slave_path);
    cfmakeraw(&settings);
    cfsetspeed(&settings, B115200);
    if (tcsetattr(pty->master, TCSANOW, &settings) != 0)
        return failed("cannot set", pty->slave_path);
    return flush_slave(pty) || failed("cannot open", pty->slave_path);
}

// Put the link in place in one step, so that nobody sees it missing; never over something that is not a link.
static bool make_link(const serial_pty *pty)
{
    struct stat there;
    if (lstat(pty->link, &there) == 0 && !S_ISLNK(there.st_mode)) {
        errno = EEXIST;
        return failed("will not replace", pty->link);
    }
    char temporary[PATH_MAX];
    int length = snprintf(temporary, sizeof temporary, "%s.%ld", pty->link, (long)getpid());
    if (length < 0 || (size_t)length >= sizeof temporary) {
        errno = ENAMETOOLONG;
        return failed("cannot link", pty->link);
    }
    if (symlink(pty->slave_path, temporary) != 0)
        return failed("cannot link", pty->link);
    if (rename(temporary, pty->link) != 0) {
        failed("cannot link", pty->link);
        unlink(temporary);
        return false;
    }
    return true;
}

bool serial_pty_attach(serial_pty *pty, avr_t *avr, const char *link)
{
    *pty = (serial_pty){.avr = avr, .link = link, .uart_ready = true};
    if (!open_terminal(pty) || !make_link(pty))
        return false;
    // simavr would print the lines itself, and sleep on its own when the firmware polls.
    uint32_t flags = 0;
    avr_ioctl(avr, AVR_IOCTL_UART_SET_FLAGS('0'), &flags);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUTPUT), on_uart_sends, pty);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUT_XON), on_uart_ready, pty);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUT_XOFF), on_uart_full, pty);
    return true;
}

void serial_pty_service(serial_pty *pty)
{
    struct pollfd state = {.fd = pty->master, .events = POLLIN};
    bool had_reader = pty->has_reader;
    pty->has_reader = poll(&state, 1, 0) < 0 || !(state.revents & POLLHUP);

    // The terminal does not block: what it does not take is lost, as on a wire.
    ssize_t taken = pty->has_reader && pty->sent_length > 0 ? write(pty->master, pty->sent, pty->sent_length) : 0;
    (void)taken;
    pty->sent_length = 0;

    if (pty->pending_begin == pty->pending_end && (state.revents & POLLIN)) {
        ssize_t got = read(pty->master, pty->pending, sizeof pty->pending);
        pty->pending_begin = 0;
        pty->pending_end = got > 0 ? (size_t)got : 0;
    }
    pump_to_uart(pty);

    if (had_reader && !pty->has_reader)
        flush_slave(pty);
}

void serial_pty_close(serial_pty *pty)
{
    char target[sizeof pty->slave_path];
    ssize_t length = readlink(pty->link, target, sizeof target);
    if (length > 0 && (size_t)length == strlen(pty->slave_path) && memcmp(target, pty->slave_path, (size_t)length) == 0)
        unlink(pty->link);
    close(pty->master);
}
