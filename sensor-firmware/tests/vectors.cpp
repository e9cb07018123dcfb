// The golden vectors, which the host's parser is tested with too.
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "check.h"
#include "crc16.h"
#include "fakes.h"
#include "frame.h"

namespace {

struct Vector {
  std::string input;
  std::string expectation;
};

std::string unescape(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      out += text[i];
      continue;
    }
    switch (text.at(++i)) {
      case 'r': out += '\r'; break;
      case 'n': out += '\n'; break;
      case 'x':
        out += static_cast<char>(std::stoi(text.substr(i + 1, 2), nullptr, 16));
        i += 2;
        break;
      default: out += text[i];
    }
  }
  return out;
}

std::vector<Vector> load(Checks& checks, const std::string& path) {
  std::ifstream file(path);
  std::vector<Vector> out;
  for (std::string line; std::getline(file, line);) {
    const size_t bar = line.find(" | ");
    if (line.empty() || line[0] == '#' || bar == std::string::npos) {
      continue;
    }
    out.push_back({unescape(line.substr(0, bar)), line.substr(bar + 3)});
  }
  checks.equal(out.empty(), false, "vectors in " + path);
  return out;
}

std::string text(const roost::Frame& frame) { return std::string(frame.bytes(), frame.length()); }

// The words of an expectation.
std::vector<std::string> words(const std::string& expectation) {
  std::istringstream in(expectation);
  std::vector<std::string> out;
  for (std::string word; in >> word;) {
    out.push_back(word);
  }
  return out;
}

roost::Measurement measurement(const std::string& temperature, const std::string& humidity) {
  roost::Measurement m = roost::kNoMeasurement;
  m.valid = temperature != "-";
  m.has_humidity = humidity != "-";
  if (m.valid) {
    m.temperature_centi = static_cast<int16_t>(std::stoi(temperature));
  }
  if (m.has_humidity) {
    m.humidity_centi = static_cast<uint16_t>(std::stoi(humidity));
  }
  return m;
}

// The place that is spelled so.
roost::Place place_of(roost::Kind kind, const std::string& spelled) {
  switch (kind) {
    case roost::Kind::kNone: break;
    case roost::Kind::kSht31:
    case roost::Kind::kBme280: {
      const bool behind = spelled.compare(0, 2, "ch") == 0;
      const auto address = static_cast<uint8_t>(std::stoi(spelled.substr(spelled.size() - 2), nullptr, 16));
      return roost::Place::i2c(kind, static_cast<uint8_t>(behind ? spelled[2] - '0' + 1 : 0), address);
    }
    case roost::Kind::kDs18b20: {
      uint8_t rom[8];
      for (size_t i = 0; i < sizeof rom; ++i) {
        rom[i] = static_cast<uint8_t>(std::stoi(spelled.substr(2 * i, 2), nullptr, 16));
      }
      return roost::Place::one_wire(rom);
    }
    case roost::Kind::kDht22: return roost::Place::pin(static_cast<uint8_t>(spelled[3] - '0'));
  }
  return roost::Place::none();
}

std::string written(const std::string& expectation) {
  const std::vector<std::string> w = words(expectation);
  const auto number = [&w](size_t i) { return std::stoul(w.at(i)); };
  const auto byte = [&w](size_t i) { return static_cast<uint8_t>(std::stoul(w.at(i))); };
  const auto seq = static_cast<uint16_t>(number(1));
  if (w[0] == "hello") {
    return text(roost::Frame::hello(seq, byte(2), w[3].c_str(), w[4].c_str()));
  }
  if (w[0] == "ack") {
    return text(roost::Frame::ack(seq, static_cast<roost::AckCode>(byte(2))));
  }
  if (w[0] == "fan") {
    const bool counted = w[4] != "-";
    return text(roost::Frame::fan(seq, byte(2), static_cast<uint16_t>(number(3)), counted,
                                  static_cast<uint16_t>(counted ? number(4) : 0)));
  }
  if (w[0] == "status") {
    return text(roost::Frame::status(seq, static_cast<uint32_t>(number(2)), byte(3), byte(4), w[5] == "1"));
  }
  if (w[0] == "identity") {
    return text(roost::Frame::identity(seq, byte(2), place_of(static_cast<roost::Kind>(byte(3)), w[4])));
  }
  if (w[0] == "setting") {
    return text(roost::Frame::setting(seq, byte(2), static_cast<uint16_t>(number(3))));
  }
  return text(roost::Frame::reading(seq, byte(2), static_cast<roost::Kind>(byte(5)), measurement(w[3], w[4])));
}

// This firmware says the kind of each probe, and never a humidity without a temperature.
bool is_writable(const std::string& expectation) {
  const std::vector<std::string> w = words(expectation);
  return w[0] != "reading" || (w.size() == 6 && !(w[3] == "-" && w[4] != "-"));
}

// From the factory, without a relay board; its general pin 3 drives relay 3.
std::string answer(const std::string& input) {
  Rig rig;
  roost::Settings settings;
  settings.roles[2] = static_cast<uint8_t>(roost::Role::kRelay);
  roost::kSettingsJournal.save(rig.memory, settings);
  rig.start();
  for (char byte : input) {
    rig.hub->receive(byte);
  }
  return rig.sink.text;
}

}  // namespace

void test_vectors(Checks& checks, const std::string& directory) {
  checks.equal(roost::crc16("123456789", 9), 0x6F91, "check value of the checksum");
  int writable = 0;
  for (const Vector& v : load(checks, directory + "/good.txt")) {
    if (is_writable(v.expectation)) {
      ++writable;
      checks.equal(written(v.expectation), v.input, v.expectation);
    }
  }
  checks.equal(writable >= 20, true, "most good frames are ones the hub can write");
  for (const Vector& v : load(checks, directory + "/commands.txt")) {
    const std::string want = v.expectation == "nothing" ? "" : written(v.expectation);
    checks.equal(answer(v.input), want, "answer to " + v.input);
  }
  for (const Vector& v : load(checks, directory + "/bad.txt")) {
    const bool unreadable = v.expectation == "bad_crc" || v.expectation == "too_long";
    if (unreadable) {
      checks.equal(answer(v.input), std::string(), "answer to " + v.input.substr(0, 40));
    }
  }
}
