#include "dht22_chip.h"

#define US 16
#define START_US 1000
#define WARM_UP_US 1000000
// Two seconds, less what two oscillators may differ.
#define PAUSE_US 1980000
// Low and high of the start, and of 40 bits; then low once more.
#define EDGES (2 + 2 * 40 + 1)

static void measure(dht22_chip *chip)
{
    int32_t temperature = chip->feels->temperature_centi / 10, humidity = chip->feels->humidity_centi / 10;
    uint16_t size = (uint16_t)(temperature < 0 ? -temperature : temperature);
    chip->bytes[0] = (uint8_t)(humidity >> 8);
    chip->bytes[1] = (uint8_t)humidity;
    chip->bytes[2] = (uint8_t)(size >> 8 | (temperature < 0 ? 0x80 : 0));
    chip->bytes[3] = (uint8_t)size;
    chip->bytes[4] = (uint8_t)(chip->bytes[0] + chip->bytes[1] + chip->bytes[2] + chip->bytes[3] + (chip->feels->garbled ? 1 : 0));
}

// How long the level that begins with this edge holds.
static avr_cycle_count_t length_us(const dht22_chip *chip, int edge)
{
    if (edge < 2)
        return 80;
    if (edge % 2 == 0)
        return 50;
    int bit = (edge - 2) / 2;
    return chip->bytes[bit / 8] >> (7 - bit % 8) & 1 ? 70 : 27;
}

static avr_cycle_count_t next_edge(avr_t *avr, avr_cycle_count_t when, void *param)
{
    (void)avr;
    dht22_chip *chip = param;
    if (chip->edges == EDGES) {
        chip->answering = false;
        general_pins_pull(chip->pins, chip->pin, false);
        return 0;
    }
    general_pins_pull(chip->pins, chip->pin, chip->edges % 2 == 0);
    return when + length_us(chip, chip->edges++) * US;
}

static void on_edge(void *param, bool low, avr_cycle_count_t now)
{
    dht22_chip *chip = param;
    if (low) {
        chip->fell = now;
        return;
    }
    bool asked = now - chip->fell >= START_US * US;
    if (!asked || chip->answering || chip->feels->failed || now < chip->next_answer)
        return;
    chip->next_answer = now + (avr_cycle_count_t)PAUSE_US * US;
    chip->answering = true;
    chip->edges = 0;
    measure(chip);
    avr_cycle_timer_register(chip->pins->avr, 30 * US, next_edge, chip);
}

bool dht22_init(dht22_chip *chip, general_pins *pins, int pin, const feeling *feels)
{
    *chip = (dht22_chip){
        .pins = pins, .pin = pin, .feels = feels, .next_answer = (avr_cycle_count_t)WARM_UP_US * US};
    return general_pins_add(pins, pin, on_edge, chip);
}
