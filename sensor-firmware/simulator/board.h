// The hub with everything that is wired to it.
//
// Chips are numbered in the order in which they are added; `--probes N` are the first N. A chip's number is what standard
// input calls it by. The firmware gives numbers of its own.
#pragma once

#include "bme280_chip.h"
#include "dht22_chip.h"
#include "ds18b20_line.h"
#include "fans.h"
#include "feeling.h"
#include "general_pins.h"
#include "i2c_wires.h"
#include "pcf8574_chip.h"
#include "sht31_chip.h"

#define MAX_CHIPS 24
#define MAX_PROBES 8

typedef struct {
    i2c_wires i2c;
    general_pins pins;
    fans fans;
    feeling feels[MAX_CHIPS];
    int chips;
    sht31_chip sht31[MAX_CHIPS];
    bme280_chip bme280[MAX_CHIPS];
    pcf8574_chip pcf8574[MAX_CHIPS];
    dht22_chip dht22[GENERAL_PINS];
    ds18b20_line lines[GENERAL_PINS];
    bool has_line[GENERAL_PINS];
} board;

void board_attach(board *all, avr_t *avr);
// Let the firmware hang: its interrupts run, the rest does not.
void board_hang(board *all);
// Say what the firmware did to pins and fans. Call every few milliseconds.
void board_service(board *all);
// One to eight SHT31, each behind a channel of the multiplexer, or one or two at 0x44 and 0x45.
bool board_add_probes(board *all, int probes, bool direct);
// A chip by its kind and place: sht31@0x45, bme280@ch3/0x76, pcf8574@0x20, ds18b20@pin1/00000A1B2C3D, dht22@pin2.
// Returns false when there is no such kind or place, or it is taken.
bool board_add(board *all, const char *chip);
