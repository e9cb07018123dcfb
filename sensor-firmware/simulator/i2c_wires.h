// The wires between the processor's TWI and the chips: a TCA9548A with an SHT31 on each channel, or two SHT31 directly.
#pragma once

#include <sim_avr.h>

#include "sht31_chip.h"

#define MAX_PROBES 8

typedef struct {
    avr_t *avr;
    sht31_chip chips[MAX_PROBES];
    int probes;
    // There is no multiplexer: probe 1 is at 0x44, probe 2 at 0x45.
    bool direct;

    // The multiplexer's register: a bit for each connected channel.
    uint8_t channels;
    // Who acknowledged the address of the running transfer.
    bool multiplexer_selected;
    sht31_chip *selected;
} i2c_wires;

// Join `probes` chips to the processor.
void i2c_wires_attach(i2c_wires *wires, avr_t *avr, int probes, bool direct);
