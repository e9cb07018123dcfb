#include "general_pins.h"

#include <avr_ioport.h>
#include <sim_io.h>
#include <stdio.h>

enum { PORT_B, PORT_D };

// Port and bit of each general pin.
static const struct {
    int port, bit;
} PLACES[GENERAL_PINS] = {{PORT_D, 2}, {PORT_D, 4}, {PORT_D, 5}, {PORT_D, 6},
                          {PORT_D, 7}, {PORT_B, 0}, {PORT_B, 4}, {PORT_B, 5}};
static const char NAMES[] = {'B', 'D'};

// Chips hear what changed at a port.
static void look(general_pins *pins, int port)
{
    for (int i = 0; i < GENERAL_PINS; i++) {
        bool low = pins->ports[port].direction & ~pins->ports[port].output & 1 << PLACES[i].bit;
        if (PLACES[i].port == port && pins->pins[i].listener && pins->pins[i].pulled_low != low) {
            pins->pins[i].pulled_low = low;
            pins->pins[i].listener(pins->pins[i].chip, low, pins->avr->cycle);
        }
    }
}

void general_pins_service(general_pins *pins)
{
    for (int i = 0; i < GENERAL_PINS; i++) {
        if (pins->pins[i].listener)
            continue;
        uint8_t mask = (uint8_t)(1 << PLACES[i].bit);
        bool is_output = pins->ports[PLACES[i].port].direction & mask;
        bool is_high = pins->ports[PLACES[i].port].output & mask;
        const char *state = !is_output ? "input" : is_high ? "high" : "low";
        if (pins->pins[i].told != state)
            printf("pin %d %s\n", i + 1, state);
        pins->pins[i].told = state;
    }
}

// The processor's input: simavr takes it from here whenever the firmware changes a direction, and at once by the IRQ.
static void set_input(general_pins *pins, int port)
{
    avr_ioport_external_t external = {.name = NAMES[port] & 0x7F,
                                      .mask = pins->ports[port].lines,
                                      .value = pins->ports[port].lines & ~pins->ports[port].driven_low};
    avr_ioctl(pins->avr, AVR_IOCTL_IOPORT_SET_EXTERNAL(NAMES[port]), &external);
}

#define ON_CHANGE(name, port, field)                                                                                    \
    static void name(struct avr_irq_t *irq, uint32_t value, void *param)                                                \
    {                                                                                                                   \
        (void)irq;                                                                                                      \
        general_pins *pins = param;                                                                                     \
        pins->ports[port].field = (uint8_t)value;                                                                       \
        look(pins, port);                                                                                               \
    }
ON_CHANGE(on_direction_b, PORT_B, direction)
ON_CHANGE(on_direction_d, PORT_D, direction)
ON_CHANGE(on_output_b, PORT_B, output)
ON_CHANGE(on_output_d, PORT_D, output)

void general_pins_attach(general_pins *pins, avr_t *avr)
{
    *pins = (general_pins){.avr = avr};
    for (int i = 0; i < GENERAL_PINS; i++)
        pins->pins[i].told = "input";
    static const avr_irq_notify_t ON_DIRECTION[] = {on_direction_b, on_direction_d};
    static const avr_irq_notify_t ON_OUTPUT[] = {on_output_b, on_output_d};
    for (int port = 0; port < 2; port++) {
        uint32_t control = AVR_IOCTL_IOPORT_GETIRQ(NAMES[port]);
        avr_irq_register_notify(avr_io_getirq(avr, control, IOPORT_IRQ_DIRECTION_ALL), ON_DIRECTION[port], pins);
        avr_irq_register_notify(avr_io_getirq(avr, control, IOPORT_IRQ_REG_PORT), ON_OUTPUT[port], pins);
    }
}

bool general_pins_add(general_pins *pins, int pin, line_listener listener, void *chip)
{
    if (pin < 1 || pin > GENERAL_PINS || pins->pins[pin - 1].listener)
        return false;
    pins->pins[pin - 1].listener = listener;
    pins->pins[pin - 1].chip = chip;
    pins->ports[PLACES[pin - 1].port].lines |= (uint8_t)(1 << PLACES[pin - 1].bit);
    general_pins_pull(pins, pin, false);
    return true;
}

void general_pins_pull(general_pins *pins, int pin, bool low)
{
    int port = PLACES[pin - 1].port, bit = PLACES[pin - 1].bit;
    uint8_t mask = (uint8_t)(1 << bit);
    if (low)
        pins->ports[port].driven_low |= mask;
    else
        pins->ports[port].driven_low &= (uint8_t)~mask;
    set_input(pins, port);
    // While the firmware pulls the line low itself, the level is taken when it lets go.
    if (!(pins->ports[port].direction & mask))
        avr_raise_irq(avr_io_getirq(pins->avr, AVR_IOCTL_IOPORT_GETIRQ(NAMES[port]), bit), !low);
}
