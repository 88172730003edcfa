#ifndef TESTS_EXPLORER_APP_RUN_EXPLORER_H_
#define TESTS_EXPLORER_APP_RUN_EXPLORER_H_

#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"

namespace ulpscope {

// The file's bytes; none if it is not there.
std::string Read(const std::string& path);

// Little of everything that has to run.
inline constexpr char kQuick[] =
    " --model=synthetic:tiny --tokens=3 --timing_seconds=0 --threads=2 ";

struct Outcome {
  int exit_code = -1;  // of a program that a signal ended, minus its number
  std::string out, err;
  // What it computed after StopExplorer's signal, all threads together: unlike
  // the time that passed, it depends little on what else the machine does.
  absl::Duration cpu_after_signal;
};

// Runs the program, which finds no user's wisdom; `arguments` as for a shell.
// Its output goes to files, or stdout to `out_path`, which is not read back.
// `before` is a shell's command before it, as "ulimit -f 8".
Outcome Explorer(const std::string& arguments, const std::string& out_path = "",
                 const std::string& before = ":");

// The program as a build would give it in which AddResidual rounds f32's sums
// once more (planted_rounding.cc).
Outcome PlantedExplorer(const std::string& arguments);

// Starts the program as from a terminal, waits until `ready`, which is asked
// every few milliseconds, and sends it the signal; none if it ends before.
Outcome StopExplorerWhen(const std::vector<std::string>& arguments,
                         absl::FunctionRef<bool()> ready, int signal_number);

// When `marker`, which has to appear, has been on its stderr for `delay`.
Outcome StopExplorer(const std::vector<std::string>& arguments,
                     const std::string& marker, int signal_number,
                     absl::Duration delay = absl::ZeroDuration());

}  // namespace ulpscope

#endif  // TESTS_EXPLORER_APP_RUN_EXPLORER_H_
