#include "fans.h"

#include <avr_ioport.h>
#include <sim_io.h>
#include <stdbool.h>
#include <stdio.h>

// A fan that stands still is looked at again so much later.
#define IDLE_US 10000
#define FULL 10000

// Addresses in the ATmega328P's data space.
enum { DDRB = 0x24, DDRD = 0x2A, TCCR1A = 0x80, ICR1 = 0x86, OCR1A = 0x88, OCR1B = 0x8A, TCCR2A = 0xB0, OCR2A = 0xB3, OCR2B = 0xB4 };

// D9, D10, D11 and D3: the pin's direction, the bit that connects it to its timer, and the register compared with TOP.
static const struct {
    uint16_t direction;
    int bit;
    uint16_t control;
    uint8_t connected;
    uint16_t compare;
    bool wide;
} OUTPUTS[FANS] = {{DDRB, 1, TCCR1A, 0x80, OCR1A, true},
                   {DDRB, 2, TCCR1A, 0x20, OCR1B, true},
                   {DDRB, 3, TCCR2A, 0x80, OCR2A, false},
                   {DDRD, 3, TCCR2A, 0x20, OCR2B, false}};

static uint32_t read_word(const avr_t *avr, uint16_t at)
{
    return avr->data[at] | (uint32_t)avr->data[at + 1] << 8;
}

// A fan whose wire nobody drives turns at full: it pulls the wire up itself.
static int32_t duty_of(const avr_t *avr, int index)
{
    bool is_output = avr->data[OUTPUTS[index].direction] >> OUTPUTS[index].bit & 1;
    if (!is_output || !(avr->data[OUTPUTS[index].control] & OUTPUTS[index].connected))
        return FULL;
    uint32_t top = OUTPUTS[index].wide ? read_word(avr, ICR1) : 255;
    uint32_t compare = OUTPUTS[index].wide ? read_word(avr, OUTPUTS[index].compare) : avr->data[OUTPUTS[index].compare];
    return top == 0 || compare >= top ? FULL : (int32_t)((compare * FULL + top / 2) / top);
}

static avr_cycle_count_t pulse(avr_t *avr, avr_cycle_count_t when, void *param)
{
    struct fan *fan = param;
    int64_t rpm = (int64_t)fan->full_rpm * fan->duty / FULL;
    if (rpm <= 0)
        return when + avr->frequency / 1000000 * IDLE_US;
    fan->level = !fan->level;
    avr_raise_irq(avr_io_getirq(avr, AVR_IOCTL_IOPORT_GETIRQ('C'), fan->index), (uint32_t)fan->level);
    // Two pulses a turn: four edges.
    return when + (avr_cycle_count_t)(avr->frequency * 60LL / (rpm * 4));
}

void fans_attach(fans *all, avr_t *avr)
{
    *all = (fans){.avr = avr};
    for (int i = 0; i < FANS; i++) {
        all->each[i].index = i;
        all->each[i].duty = -1;
        all->each[i].level = 1;
    }
}

void fans_service(fans *all)
{
    for (int i = 0; i < FANS; i++) {
        // A restart of the processor stops what simavr was asked to do later.
        if (avr_cycle_timer_status(all->avr, pulse, &all->each[i]) == 0)
            avr_cycle_timer_register_usec(all->avr, IDLE_US, pulse, &all->each[i]);
        int32_t duty = duty_of(all->avr, i);
        if (duty != all->each[i].duty)
            printf("fan %d duty %d\n", i + 1, (int)duty);
        all->each[i].duty = duty;
    }
}
