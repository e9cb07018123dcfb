#include "commands.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

// What follows "probe N ".
static bool feel(const char *words, feeling *feels)
{
    bool fail = strcmp(words, "fail") == 0, garble = strcmp(words, "garble") == 0, starve = strcmp(words, "starve") == 0;
    int temperature, humidity;
    char rest;
    if (!fail && !garble && !starve) {
        if (sscanf(words, "%d %d %c", &temperature, &humidity, &rest) != 2)
            return false;
        feels->temperature_centi = temperature;
        feels->humidity_centi = humidity;
    }
    feels->failed = fail;
    feels->garbled = garble;
    feels->starved = starve;
    return true;
}

static bool obey(const char *line, board *all)
{
    int number, rpm, end = 0;
    char rest;
    if (sscanf(line, "probe %d %n", &number, &end) == 1 && end > 0)
        return number >= 1 && number <= all->chips && feel(line + end, &all->feels[number - 1]);
    if (strcmp(line, "hang") == 0) {
        board_hang(all);
        return true;
    }
    if (sscanf(line, "fan %d %d %c", &number, &rpm, &rest) == 2 && number >= 1 && number <= FANS && rpm >= 0) {
        all->fans.each[number - 1].full_rpm = rpm;
        return true;
    }
    return false;
}

static void end_line(command_input *input, board *all)
{
    input->line[input->length] = '\0';
    if (input->too_long || (input->length > 0 && !obey(input->line, all)))
        fprintf(stderr,
                "roost-hub-sim: not a command: '%s'; there is 'probe N <centi-C> <centi-%%>', 'probe N fail|garble|starve', "
                "N 1 to %d, 'fan N <rpm>', N 1 to %d, and 'hang'\n",
                input->line, all->chips, FANS);
    input->length = 0;
    input->too_long = false;
}

bool commands_service(command_input *input, board *all)
{
    char bytes[512];
    ssize_t got = read(STDIN_FILENO, bytes, sizeof bytes);
    if (got == 0)
        return false;
    if (got < 0)
        return errno == EAGAIN || errno == EINTR;
    for (ssize_t i = 0; i < got; i++) {
        if (bytes[i] == '\n')
            end_line(input, all);
        else if (input->length + 1 < sizeof input->line)
            input->line[input->length++] = bytes[i];
        else
            input->too_long = true;
    }
    return true;
}
