// The line's checksum: CRC-16/MCRF4XX (what avr-libc calls _crc_ccitt_update, from 0xFFFF). Check value 6F91.
#pragma once

#include <stdint.h>

namespace roost {

constexpr uint16_t kCrc16Start = 0xFFFF;

inline uint16_t crc16_update(uint16_t crc, uint8_t byte) {
  crc ^= byte;
  for (uint8_t bit = 0; bit < 8; ++bit) {
    crc = (crc & 1) ? static_cast<uint16_t>((crc >> 1) ^ 0x8408) : static_cast<uint16_t>(crc >> 1);
  }
  return crc;
}

inline uint16_t crc16(const char* bytes, uint8_t length) {
  uint16_t crc = kCrc16Start;
  for (uint8_t i = 0; i < length; ++i) {
    crc = crc16_update(crc, static_cast<uint8_t>(bytes[i]));
  }
  return crc;
}

}  // namespace roost
