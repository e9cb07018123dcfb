// Lines on standard input that change what the chips feel:
//
//   probe N <centi-C> <centi-%>    the chip answers and feels this
//   probe N fail                   the chip does not answer
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "i2c_wires.h"

typedef struct {
    char line[128];
    size_t length;
    bool too_long;
} command_input;

// Read what there is and obey it. Returns false when standard input has ended.
bool commands_service(command_input *input, i2c_wires *wires);
