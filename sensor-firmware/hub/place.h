// Which chip: its kind, and where it is or who it is. What a probe's number is bound to.
#pragma once

#include <stdint.h>
#include <string.h>

namespace roost {

constexpr uint8_t kMaxProbes = 8;

// Numbers as on the line.
enum class Kind : uint8_t { kNone = 0, kSht31 = 1, kBme280 = 2, kDs18b20 = 3, kDht22 = 4 };

struct Place {
  Kind kind;
  // SHT31, BME280: channel (0: the hub's own bus, else the multiplexer's channel + 1), address. DS18B20: the number in the
  // chip. DHT22: the general pin. The rest is 0.
  uint8_t code[8];

  static Place none() { return Place{Kind::kNone, {}}; }

  static Place i2c(Kind kind, uint8_t channel, uint8_t address) {
    Place place = {kind, {}};
    place.code[0] = channel;
    place.code[1] = address;
    return place;
  }

  static Place one_wire(const uint8_t* rom) {
    Place place = {Kind::kDs18b20, {}};
    memcpy(place.code, rom, sizeof place.code);
    return place;
  }

  static Place pin(uint8_t pin) {
    Place place = {Kind::kDht22, {}};
    place.code[0] = pin;
    return place;
  }

  bool operator==(const Place& other) const {
    return kind == other.kind && memcmp(code, other.code, sizeof code) == 0;
  }
};

// A place as the line spells it: "0x44", "ch3/0x44", "28FF641E8216C3A1" or "pin2".
class PlaceText {
 public:
  explicit PlaceText(const Place& place) {
    switch (place.kind) {
      case Kind::kNone: break;
      case Kind::kSht31:
      case Kind::kBme280:
        if (place.code[0] != 0) {
          put("ch");
          put(static_cast<char>('0' + place.code[0] - 1));
          put("/");
        }
        put("0x");
        hex(place.code[1]);
        break;
      case Kind::kDs18b20:
        for (uint8_t byte : place.code) {
          hex(byte);
        }
        break;
      case Kind::kDht22:
        put("pin");
        put(static_cast<char>('0' + place.code[0]));
        break;
    }
    text_[length_] = '\0';
  }

  const char* c_str() const { return text_; }

 private:
  void hex(uint8_t byte) {
    put("0123456789ABCDEF"[byte >> 4]);
    put("0123456789ABCDEF"[byte & 0xF]);
  }
  void put(const char* text) {
    while (*text != '\0') {
      put(*text++);
    }
  }
  void put(char byte) { text_[length_++] = byte; }

  char text_[2 * sizeof Place::code + 1];
  uint8_t length_ = 0;
};

}  // namespace roost
