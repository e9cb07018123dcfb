#include "i2c_wires.h"

#include <avr_twi.h>
#include <stddef.h>
#include <sim_io.h>

#define MULTIPLEXER 0x70

static uint64_t now_us(const i2c_wires *wires)
{
    return wires->avr->cycle / (wires->avr->frequency / 1000000);
}

static void answer(i2c_wires *wires, uint8_t kind, uint8_t address, uint8_t data)
{
    avr_irq_t *input = avr_io_getirq(wires->avr, AVR_IOCTL_TWI_GETIRQ(0), TWI_IRQ_INPUT);
    avr_raise_irq(input, avr_twi_irq_msg(kind, address, data));
}

// The chip that acknowledges an address, if any. Two would collide; nobody wires a hub so.
static i2c_chip *select_chip(i2c_wires *wires, uint8_t address, bool reading)
{
    for (int i = 0; i < wires->count; i++) {
        i2c_chip *chip = wires->chips[i];
        bool reached = chip->channel == 0 || (wires->channels >> (chip->channel - FIRST_CHANNEL) & 1);
        if (reached && chip->address == address && chip->select(chip, reading, now_us(wires)))
            return chip;
    }
    return NULL;
}

static void on_start(i2c_wires *wires, uint8_t address_and_direction)
{
    uint8_t address = address_and_direction >> 1;
    wires->multiplexer_selected = wires->has_multiplexer && address == MULTIPLEXER;
    wires->selected = select_chip(wires, address, address_and_direction & 1);
    if (wires->multiplexer_selected || wires->selected)
        answer(wires, TWI_COND_ACK, address_and_direction, 1);
}

static void on_write(i2c_wires *wires, uint8_t address, uint8_t byte)
{
    if (wires->multiplexer_selected)
        wires->channels = byte;
    else if (wires->selected)
        wires->selected->write(wires->selected, byte, now_us(wires));
    else
        return;
    answer(wires, TWI_COND_ACK, address, 1);
}

static void on_read(i2c_wires *wires, uint8_t address)
{
    if (wires->multiplexer_selected)
        answer(wires, TWI_COND_READ, address, wires->channels);
    else if (wires->selected)
        answer(wires, TWI_COND_READ, address, wires->selected->read(wires->selected));
}

static void on_transfer(struct avr_irq_t *irq, uint32_t value, void *param)
{
    (void)irq;
    i2c_wires *wires = param;
    avr_twi_msg_irq_t message = {.u.v = value};
    uint8_t kind = message.u.twi.msg, address = message.u.twi.addr;
    if (kind & TWI_COND_STOP) {
        wires->multiplexer_selected = false;
        wires->selected = NULL;
    }
    if (kind & TWI_COND_START)
        on_start(wires, address);
    if (kind & TWI_COND_WRITE)
        on_write(wires, address, message.u.twi.data);
    if (kind & TWI_COND_READ)
        on_read(wires, address);
}

void i2c_wires_attach(i2c_wires *wires, avr_t *avr)
{
    *wires = (i2c_wires){.avr = avr};
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_TWI_GETIRQ(0), TWI_IRQ_OUTPUT), on_transfer, wires);
}

bool i2c_wires_add(i2c_wires *wires, i2c_chip *chip)
{
    if (wires->count == MAX_I2C_CHIPS)
        return false;
    wires->chips[wires->count++] = chip;
    wires->has_multiplexer = wires->has_multiplexer || chip->channel >= FIRST_CHANNEL;
    return true;
}
