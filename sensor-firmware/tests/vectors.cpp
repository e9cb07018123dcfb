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

std::string written(const std::string& expectation) {
  std::istringstream words(expectation);
  std::string kind, a, b, c, d;
  words >> kind >> a >> b >> c >> d;
  const auto seq = static_cast<uint16_t>(std::stoul(a));
  if (kind == "hello") {
    return text(roost::Frame::hello(seq, static_cast<uint8_t>(std::stoul(b)), c.c_str(), d.c_str()));
  }
  if (kind == "ack") {
    return text(roost::Frame::ack(seq, static_cast<roost::AckCode>(std::stoul(b))));
  }
  roost::Measurement m = roost::kNoMeasurement;
  if (c != "-" && d != "-") {
    m = {true, static_cast<int16_t>(std::stoi(c)), static_cast<uint16_t>(std::stoi(d))};
  }
  return text(roost::Frame::reading(seq, static_cast<uint8_t>(std::stoul(b)), m));
}

// A hub of one chip never leaves a single field of a reading empty: it has both values or none.
bool is_writable(const std::string& expectation) {
  std::istringstream words(expectation);
  std::string kind, seq, probe, temperature, humidity;
  words >> kind >> seq >> probe >> temperature >> humidity;
  return kind != "reading" || (temperature == "-") == (humidity == "-");
}

std::string answer(const std::string& input) {
  FakeBus bus;
  FakeSink sink;
  roost::Hub hub(bus, sink);
  for (char byte : input) {
    hub.receive(byte);
  }
  return sink.text;
}

}  // namespace

void test_vectors(Checks& checks, const std::string& directory) {
  checks.equal(roost::crc16("123456789", 9), 0x6F91, "check value of the checksum");
  for (const Vector& v : load(checks, directory + "/good.txt")) {
    if (is_writable(v.expectation)) {
      checks.equal(written(v.expectation), v.input, v.expectation);
    }
  }
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
