// What a simulated probe feels, and what is wrong with it.
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    // Hundredths of a degree Celsius, hundredths of a percent.
    int32_t temperature_centi;
    int32_t humidity_centi;
    // It does not answer at all.
    bool failed;
    // Its checksums are wrong. A BME280 has none: it answers with another chip's id.
    bool garbled;
    // A DS18B20 loses its power whenever it measures, and says its power-on value.
    bool starved;
} feeling;

// What a room feels: 22 C, 45 %.
#define ROOM ((feeling){.temperature_centi = 2200, .humidity_centi = 4500})
