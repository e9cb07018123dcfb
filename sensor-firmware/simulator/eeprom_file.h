// The processor's EEPROM, kept in a file while it has no power.
#pragma once

#include <sim_avr.h>
#include <stdbool.h>

// Take the EEPROM over from a file; one that is not there is an EEPROM from the factory. Returns false after a message.
bool eeprom_file_load(avr_t *avr, const char *path);
// Write the EEPROM to a file. Returns false after a message.
bool eeprom_file_save(avr_t *avr, const char *path);
