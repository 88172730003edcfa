#ifndef TESTS_EXPLORER_APP_RUN_EXPLORER_H_
#define TESTS_EXPLORER_APP_RUN_EXPLORER_H_

#include <string>
#include <vector>

#include "absl/time/time.h"

namespace ulpscope {

// The file's bytes; none if it is not there.
std::string Read(const std::string& path);

struct Outcome {
  int exit_code = -1;
  std::string out, err;
};

// Runs the program, which finds no user's wisdom; `arguments` as for a shell.
// Its output goes to files, or stdout to `out_path`, which is not read back.
Outcome Explorer(const std::string& arguments,
                 const std::string& out_path = "");

// Starts the program as from a terminal, waits until `marker` is on its stderr
// and then for `delay`, and sends it the signal.
Outcome StopExplorer(const std::vector<std::string>& arguments,
                     const std::string& marker, int signal_number,
                     absl::Duration delay = absl::ZeroDuration());

}  // namespace ulpscope

#endif  // TESTS_EXPLORER_APP_RUN_EXPLORER_H_
