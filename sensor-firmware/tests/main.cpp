// Tests of the firmware's headers on this machine: hub-test VECTOR-DIRECTORY.
#include "check.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: hub-test VECTOR-DIRECTORY\n";
    return 2;
  }
  Checks checks;
  test_vectors(checks, argv[1]);
  test_drivers(checks);
  test_probes(checks);
  test_journal(checks);
  test_outputs(checks);
  test_hub(checks);
  std::cout << checks.passed << " passed, " << checks.failed << " failed\n";
  return checks.failed == 0 && checks.passed > 0 ? 0 : 1;
}
