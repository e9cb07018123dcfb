// The processor's UART as a pseudo terminal, with a symlink to it.
//
// Nobody needs to read it: what the firmware sends while no reader has it open, or faster than the reader reads, is
// dropped, as on a wire. It may be opened and closed at any time.
#pragma once

#include <sim_avr.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    avr_t *avr;
    int master;
    char slave_path[64];
    const char *link;
    bool has_reader;

    // The UART can take a byte.
    bool uart_ready;
    // Bytes from the host that the UART could not take yet.
    uint8_t pending[64];
    size_t pending_begin, pending_end;

    // Bytes from the firmware, until the next serial_pty_service().
    uint8_t sent[4096];
    size_t sent_length;
} serial_pty;

// Make the terminal and the link and join the UART. Returns false after a message on stderr.
bool serial_pty_attach(serial_pty *pty, avr_t *avr, const char *link);
// Move bytes both ways. Never waits. Call every few milliseconds.
void serial_pty_service(serial_pty *pty);
// Remove the link, if it is still this terminal's.
void serial_pty_close(serial_pty *pty);
