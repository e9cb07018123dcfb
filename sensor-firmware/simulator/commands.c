#include "commands.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool obey(const char *line, i2c_wires *wires)
{
    int probe, temperature, humidity, end = 0;
    if (sscanf(line, "probe %d %n", &probe, &end) != 1 || end == 0 || probe < 1 || probe > wires->probes)
        return false;
    sht31_chip *chip = &wires->chips[probe - 1];
    if (strcmp(line + end, "fail") == 0) {
        chip->failed = true;
        return true;
    }
    char rest;
    if (sscanf(line + end, "%d %d %c", &temperature, &humidity, &rest) != 2)
        return false;
    chip->temperature_centi = temperature;
    chip->humidity_centi = humidity;
    chip->failed = false;
    return true;
}

static void end_line(command_input *input, i2c_wires *wires)
{
    input->line[input->length] = '\0';
    if (input->too_long || (input->length > 0 && !obey(input->line, wires)))
        fprintf(stderr, "roost-hub-sim: not a command: '%s'; there is 'probe N <centi-C> <centi-%%>' and 'probe N fail', N 1 to %d\n",
                input->line, wires->probes);
    input->length = 0;
    input->too_long = false;
}

bool commands_service(command_input *input, i2c_wires *wires)
{
    char bytes[512];
    ssize_t got = read(STDIN_FILENO, bytes, sizeof bytes);
    if (got == 0)
        return false;
    if (got < 0)
        return errno == EAGAIN || errno == EINTR;
    for (ssize_t i = 0; i < got; i++) {
        if (bytes[i] == '\n')
            end_line(input, wires);
        else if (input->length + 1 < sizeof input->line)
            input->line[input->length++] = bytes[i];
        else
            input->too_long = true;
    }
    return true;
}
