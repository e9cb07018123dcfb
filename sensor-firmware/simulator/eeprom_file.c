#include "eeprom_file.h"

#include <avr_eeprom.h>
#include <errno.h>
#include <sim_io.h>
#include <stdio.h>
#include <string.h>

#define SIZE 1024

static bool failed(const char *step, const char *path)
{
    fprintf(stderr, "roost-hub-sim: cannot %s the EEPROM %s: %s\n", step, path, strerror(errno));
    return false;
}

bool eeprom_file_load(avr_t *avr, const char *path)
{
    uint8_t bytes[SIZE];
    FILE *file = fopen(path, "rb");
    if (!file)
        return errno == ENOENT || failed("open", path);
    size_t got = fread(bytes, 1, SIZE, file);
    fclose(file);
    if (got != SIZE) {
        errno = EINVAL;
        return failed("read", path);
    }
    avr_eeprom_desc_t all = {.ee = bytes, .offset = 0, .size = SIZE};
    avr_ioctl(avr, AVR_IOCTL_EEPROM_SET, &all);
    return true;
}

bool eeprom_file_save(avr_t *avr, const char *path)
{
    uint8_t bytes[SIZE];
    avr_eeprom_desc_t all = {.ee = bytes, .offset = 0, .size = SIZE};
    avr_ioctl(avr, AVR_IOCTL_EEPROM_GET, &all);
    FILE *file = fopen(path, "wb");
    if (!file)
        return failed("create", path);
    bool written = fwrite(bytes, 1, SIZE, file) == SIZE;
    return (fclose(file) == 0 && written) || failed("write", path);
}
