// Four fans of four wires: driven by the firmware's PWM, they turn by their drive and pulse their tachometers twice a turn.
// A drive that changed is said on standard output, in hundredths of a percent:
//
//   fan N duty DUTY
#pragma once

#include <sim_avr.h>

#define FANS 4

typedef struct {
    avr_t *avr;
    struct fan {
        int index;
        // Turns a minute at full drive.
        int32_t full_rpm;
        // Hundredths of a percent; -1: not said yet.
        int32_t duty;
        int level;
    } each[FANS];
} fans;

// Join the fans, all standing still, to the processor.
void fans_attach(fans *all, avr_t *avr);
// Take over how the firmware drives them. Call every few milliseconds.
void fans_service(fans *all);
