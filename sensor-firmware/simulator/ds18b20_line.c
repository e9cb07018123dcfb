#include "ds18b20_line.h"

#include <stdio.h>
#include <string.h>

#define US 16
#define RESET_US 480
#define MEASURE_US 750000

enum { CONVERT = 0x44, READ_SCRATCHPAD = 0xBE, MATCH_ROM = 0x55, SEARCH_ROM = 0xF0 };

// CRC-8, polynomial 0x31 reflected, from 0.
static uint8_t crc8(const uint8_t *bytes, int count)
{
    uint8_t crc = 0;
    for (int i = 0; i < count; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (uint8_t)(crc & 1 ? crc >> 1 ^ 0x8C : crc >> 1);
    }
    return crc;
}

// Sixteenths of a degree; what the chip cannot measure stops at its end.
static int16_t raw_of(int32_t centi)
{
    int32_t raw = (centi * 16 + (centi < 0 ? -50 : 50)) / 100;
    return (int16_t)(raw < -55 * 16 ? -55 * 16 : raw > 125 * 16 ? 125 * 16 : raw);
}

static void store(ds18b20_chip *chip, int16_t raw)
{
    uint8_t bytes[9] = {(uint8_t)raw, (uint8_t)((uint16_t)raw >> 8), 0x4B, 0x46, 0x7F, 0xFF, 0x0C, 0x10};
    memcpy(chip->scratchpad, bytes, sizeof bytes);
}

static void finish_measurement(ds18b20_chip *chip, avr_cycle_count_t now)
{
    if (chip->measuring && now >= chip->ready) {
        chip->measuring = false;
        store(chip, chip->feels->starved ? 85 * 16 : raw_of(chip->feels->temperature_centi));
    }
    chip->scratchpad[8] = crc8(chip->scratchpad, 8) ^ (chip->feels->garbled ? 1 : 0);
}

static bool bit_of(const uint8_t *bytes, int bit)
{
    return bytes[bit / 8] >> (bit % 8) & 1;
}

// The bit this chip would send now. One that sends nothing leaves the line high.
static bool sends(const ds18b20_line *line, const ds18b20_chip *chip)
{
    if (!chip->listens)
        return true;
    if (line->state == LINE_READ && line->bits < 72)
        return bit_of(chip->scratchpad, line->bits);
    if (line->state == LINE_SEARCH && line->turn < 2)
        return bit_of(chip->rom, line->bits) == (line->turn == 0);
    return true;
}

static avr_cycle_count_t let_go(avr_t *avr, avr_cycle_count_t when, void *param)
{
    (void)avr;
    (void)when;
    ds18b20_line *line = param;
    general_pins_pull(line->pins, line->pin, false);
    return 0;
}

static avr_cycle_count_t show_presence(avr_t *avr, avr_cycle_count_t when, void *param)
{
    (void)when;
    ds18b20_line *line = param;
    general_pins_pull(line->pins, line->pin, true);
    avr_cycle_timer_register(avr, 120 * US, let_go, line);
    return 0;
}

static void reset(ds18b20_line *line, avr_cycle_count_t now)
{
    bool present = false;
    line->state = LINE_COMMAND;
    line->command = 0;
    line->bits = 0;
    for (int i = 0; i < line->count; i++) {
        ds18b20_chip *chip = &line->chips[i];
        chip->listens = !chip->feels->failed;
        present = present || chip->listens;
        finish_measurement(chip, now);
    }
    if (present)
        avr_cycle_timer_register(line->pins->avr, 30 * US, show_presence, line);
}

static void obey(ds18b20_line *line, avr_cycle_count_t now)
{
    line->bits = 0;
    line->turn = 0;
    switch (line->command) {
    case MATCH_ROM: line->state = LINE_MATCH; break;
    case SEARCH_ROM: line->state = LINE_SEARCH; break;
    case READ_SCRATCHPAD: line->state = LINE_READ; break;
    case CONVERT:
        for (int i = 0; i < line->count; i++) {
            if (line->chips[i].listens) {
                line->chips[i].measuring = true;
                line->chips[i].ready = now + (avr_cycle_count_t)MEASURE_US * US;
            }
        }
        line->state = LINE_IDLE;
        break;
    default: line->state = LINE_IDLE;
    }
    line->command = 0;
}

// Chips whose number has another bit here listen no more.
static void choose(ds18b20_line *line, bool bit)
{
    for (int i = 0; i < line->count; i++)
        line->chips[i].listens = line->chips[i].listens && bit_of(line->chips[i].rom, line->bits) == bit;
    line->bits++;
}

static void take_bit(ds18b20_line *line, bool bit, avr_cycle_count_t now)
{
    switch (line->state) {
    case LINE_LOST:
    case LINE_IDLE: break;
    case LINE_COMMAND:
        line->command |= (uint8_t)(bit << line->bits);
        if (++line->bits == 8)
            obey(line, now);
        break;
    case LINE_MATCH:
        choose(line, bit);
        if (line->bits == 64) {
            line->state = LINE_COMMAND;
            line->bits = 0;
        }
        break;
    case LINE_SEARCH:
        if (line->turn == 2)
            choose(line, bit);
        line->turn = (line->turn + 1) % 3;
        if (line->bits == 64)
            line->state = LINE_IDLE;
        break;
    case LINE_READ: line->bits++; break;
    }
}

static void lose(ds18b20_line *line, const char *what, avr_cycle_count_t cycles)
{
    if (line->state != LINE_LOST)
        fprintf(stderr, "roost-hub-sim: the 1-Wire line at pin %d: %s of %d us\n", line->pin, what, (int)(cycles / US));
    line->state = LINE_LOST;
}

static void on_edge(void *param, bool low, avr_cycle_count_t now)
{
    ds18b20_line *line = param;
    if (low) {
        // A bit takes at least 60 us, and 1 us to the next.
        if (line->state != LINE_LOST && now - line->fell < 61 * US)
            lose(line, "a bit", now - line->fell);
        line->fell = now;
        bool high = true;
        for (int i = 0; i < line->count; i++)
            high = high && sends(line, &line->chips[i]);
        if (!high) {
            general_pins_pull(line->pins, line->pin, true);
            avr_cycle_timer_register(line->pins->avr, 30 * US, let_go, line);
        }
        return;
    }
    avr_cycle_count_t held = now - line->fell;
    if (held >= RESET_US * US)
        reset(line, now);
    else if (held <= 15 * US || (held >= 60 * US && held <= 120 * US))
        take_bit(line, held <= 15 * US, now);
    else
        lose(line, "a pulse", held);
}

bool ds18b20_line_init(ds18b20_line *line, general_pins *pins, int pin)
{
    *line = (ds18b20_line){.pins = pins, .pin = pin, .state = LINE_LOST};
    return general_pins_add(pins, pin, on_edge, line);
}

bool ds18b20_line_add(ds18b20_line *line, uint64_t serial, const feeling *feels)
{
    if (line->count == MAX_DS18B20)
        return false;
    ds18b20_chip *chip = &line->chips[line->count++];
    *chip = (ds18b20_chip){.feels = feels, .rom = {0x28}};
    for (int i = 0; i < 6; i++)
        chip->rom[1 + i] = (uint8_t)(serial >> (8 * i));
    chip->rom[7] = crc8(chip->rom, 7);
    store(chip, 85 * 16);
    return true;
}
