// The hub over time.
#include "hub.h"

#include <cstdio>

#include "check.h"
#include "fakes.h"

namespace {

size_t count(const std::string& text, const std::string& part) {
  size_t found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++found;
  }
  return found;
}

// Run for `ms` from `start`, which may wrap.
std::string run(roost::Hub& hub, FakeSink& sink, uint32_t start, uint32_t ms) {
  sink.text.clear();
  for (uint32_t i = 0; i < ms; ++i) {
    hub.tick(start + i);
  }
  return sink.text;
}

void every_probe_each_second(Checks& checks) {
  FakeBus bus;
  bus.multiplexer = true;
  for (int channel = 0; channel < 8; ++channel) {
    bus.chips[FakeBus::behind(channel)];
  }
  FakeSink sink;
  roost::Hub hub(bus, sink);
  const std::string text = run(hub, sink, UINT32_MAX - 5000, 10000);
  checks.equal(text.compare(0, 5, "$H,0,"), 0, "hello comes first");
  checks.equal(count(text, "$R,"), 80U, "8 probes in 10 seconds, over the clock's wrap");
  checks.equal(count(text, "$H,"), 1U, "hello in 10 seconds");
}

void silence_of_a_chip(Checks& checks) {
  FakeBus bus;
  FakeSink sink;
  roost::Hub hub(bus, sink);
  checks.equal(count(run(hub, sink, 0, 3000), "$R,"), 0U, "no chip, no reading");
  bus.chips[0x44];
  checks.equal(count(run(hub, sink, 3000, 2000), ",2500,5000*"), 2U, "it is found");
  bus.chips[0x44].answers = false;
  const std::string text = run(hub, sink, 5000, 2000);
  checks.equal(count(text, ",1,,*"), 2U, "empty fields when it fails");
  checks.equal(count(text, "2500"), 0U, "no old value");
}

void a_full_line(Checks& checks) {
  FakeBus bus;
  FakeSink sink;
  roost::Hub hub(bus, sink);
  run(hub, sink, 0, 100);
  sink.text.clear();
  sink.free = 0;
  const std::string query = "$Q,7*";
  uint16_t crc = roost::crc16("Q,7", 3);
  char tail[8];
  snprintf(tail, sizeof tail, "%04X\r\n", crc);
  for (char byte : query + tail) {
    hub.receive(byte);
  }
  hub.tick(101);
  checks.equal(sink.text, std::string(), "nothing is sent without room");
  sink.free = 63;
  hub.tick(102);
  checks.equal(count(sink.text, "$H,"), 1U, "the hello follows when there is room");
}

}  // namespace

void test_hub(Checks& checks) {
  every_probe_each_second(checks);
  silence_of_a_chip(checks);
  a_full_line(checks);
}
