#ifndef KERNELS_TUNE_WISDOM_H_
#define KERNELS_TUNE_WISDOM_H_

#include <cstddef>
#include <map>
#include <string>
#include <tuple>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kernels/ops/tuning.h"

namespace ulpscope {

// What a tuning is measured on. On another machine it says nothing.
struct Machine {
  std::string cpu;     // CpuName()
  std::string target;  // KernelTarget()
  size_t threads = 1;  // of the Parallel
  int kernel_version = Tunings::kKernelVersion;

  // This machine with that many threads.
  static Machine This(size_t threads);

  friend bool operator<(const Machine& a, const Machine& b) {
    return std::tie(a.cpu, a.target, a.threads, a.kernel_version) <
           std::tie(b.cpu, b.target, b.threads, b.kernel_version);
  }
};

// What a program has learned about the speed of kernels and keeps in a file:
// JSON, as nlohmann::json prints it with an indent of 1, of
//   {"checksum": "<16 hex digits>",  of all that follows this line
//    "format": "ulpscope wisdom 1",
//    "machines": [{"cpu":, "target":, "threads":, "kernel_version":,
//                  "matmul": {"f32/F64/BF16/1x1024x1024": {"tile_rows":, ...}},
//                 ...]}
// where a kernel's name is strategy/activations/weights/shape class. Anything
// that Text() would not have written is refused as a whole.
class Wisdom {
 public:
  // Of no machine.
  Wisdom() = default;

  // Reads a file; one that does not exist is empty wisdom. DataLoss, naming the
  // file and what is wrong with it, for anything but intact wisdom.
  static absl::StatusOr<Wisdom> Load(const std::string& path);
  // The same from a file's text.
  static absl::StatusOr<Wisdom> Parse(absl::string_view text,
                                      absl::string_view path);

  // What is known of a machine; null if nothing.
  const Tunings* Find(const Machine& machine) const;
  void Set(const Machine& machine, const Tunings::Key& key,
           const MatMulTuning& tuning) {
    tunings_[machine].Set(key, tuning);
  }

  size_t num_machines() const { return tunings_.size() + others_.size(); }

  std::string Text() const;

  // Adds what is known here to the file, or replaces it where both know a
  // kernel; what the file knows besides stays. The file is replaced as a whole
  // by a rename, so that it is never seen half written, and on an error is as
  // it was. A file that is not intact wisdom is kept as PATH.bad. Missing
  // folders are created.
  absl::Status Save(const std::string& path) const;

 private:
  // Of this kernel version.
  std::map<Machine, Tunings> tunings_;
  // Of others: the JSON of their kernels, which only they can judge.
  std::map<Machine, std::string> others_;
};

// Where wisdom is kept unless the user says otherwise: ulpscope/wisdom.json
// under $XDG_CACHE_HOME, or under $HOME/.cache; "" if neither is set.
std::string DefaultWisdomPath();

}  // namespace ulpscope

#endif  // KERNELS_TUNE_WISDOM_H_
