#ifndef EXPLORER_TUNING_WISDOM_H_
#define EXPLORER_TUNING_WISDOM_H_

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

// What was learned about the speed of kernels, and its text in a file: JSON, as
// nlohmann::json prints it with an indent of 1, of
//   {"checksum": "<16 hex digits>",  of all that follows this line
//    "format": "ulpscope wisdom 1",
//    "machines": [{"cpu":, "target":, "threads":, "kernel_version":,
//                  "matmul": {"f32/F64/BF16/1x1024x1024": {"tile_rows":, ...}},
//                 ...]}
// where a kernel's name is strategy/activations/weights/shape class, weights a
// type of elements or of blocks ("Q4_K"). Anything that Text() would not have
// written is refused as a whole.
class Wisdom {
 public:
  // Of no machine.
  Wisdom() = default;

  // Reads a file's text. DataLoss, naming `path` and what is wrong, for
  // anything but intact wisdom.
  static absl::StatusOr<Wisdom> Parse(absl::string_view text,
                                      absl::string_view path);

  // What is known of a machine; null if nothing.
  const Tunings* Find(const Machine& machine) const;
  void Set(const Machine& machine, const Tunings::Key& key,
           const MatMulTuning& tuning) {
    tunings_[machine].Set(key, tuning);
  }

  // Adds what `other` knows of this kernel version, which wins where both know
  // a kernel.
  void Add(const Wisdom& other);

  size_t num_machines() const { return tunings_.size() + others_.size(); }

  std::string Text() const;

 private:
  // Of this kernel version.
  std::map<Machine, Tunings> tunings_;
  // Of others: the JSON of their kernels, which only they can judge.
  std::map<Machine, std::string> others_;
};

}  // namespace ulpscope

#endif  // EXPLORER_TUNING_WISDOM_H_
