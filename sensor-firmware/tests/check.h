// Counts checks; a failed one says where and goes on.
#pragma once

#include <iostream>
#include <string>

struct Checks {
  int passed = 0;
  int failed = 0;

  template <class Got, class Want>
  void equal(const Got& got, const Want& want, const std::string& what) {
    if (got == want) {
      ++passed;
      return;
    }
    ++failed;
    std::cerr << "FAILED " << what << ": got " << got << ", want " << want << "\n";
  }
};

void test_vectors(Checks& checks, const std::string& directory);
void test_drivers(Checks& checks);
void test_probes(Checks& checks);
void test_journal(Checks& checks);
void test_outputs(Checks& checks);
void test_hub(Checks& checks);
