// Lines on standard input that change what the chips feel, and how the fans turn:
//
//   probe N <centi-C> <centi-%>    the chip answers and feels this
//   probe N fail                   the chip does not answer
//   probe N garble                 its checksums are wrong (a BME280's id)
//   probe N starve                 it loses its power whenever it measures (a DS18B20: it says 85 C)
//   fan N <rpm>                    the fan turns so fast at full drive, and in proportion to it
//   hang                           the firmware hangs in an endless loop, until its watchdog restarts it
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "board.h"

typedef struct {
    char line[128];
    size_t length;
    bool too_long;
} command_input;

// Read what there is and obey it. Returns false when standard input has ended.
bool commands_service(command_input *input, board *all);
