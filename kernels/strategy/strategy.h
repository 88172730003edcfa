#ifndef KERNELS_STRATEGY_STRATEGY_H_
#define KERNELS_STRATEGY_STRATEGY_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "kernels/base/format.h"             // IWYU pragma: export
#include "kernels/strategy/strategy_info.h"  // IWYU pragma: export

namespace ulpscope {

// "matmul", "rmsnorm", "softmax", "elementwise", "residual", "kv".
absl::string_view KernelName(Kernel kernel);

// A strategy: an index into Strategies().
class Strategy {
 public:
  Strategy() = default;  // f32
  explicit constexpr Strategy(size_t index)
      : index_(static_cast<uint8_t>(index)) {}

  size_t index() const { return index_; }
  const StrategyInfo& info() const;
  absl::string_view name() const { return info().name; }
  // Whether `kernel` takes it, on this CPU.
  bool Takes(Kernel kernel) const;

  friend bool operator==(Strategy a, Strategy b) {
    return a.index_ == b.index_;
  }
  friend bool operator!=(Strategy a, Strategy b) { return !(a == b); }
  friend bool operator<(Strategy a, Strategy b) { return a.index_ < b.index_; }

 private:
  uint8_t index_ = 0;
};

// Whether the KV cache, under a strategy that it takes, stores keys and values
// as they were computed: in f32, or in f64 if that is what they are in.
bool StoresAsComputed(Strategy strategy);

// Whether a kernel gives the same bits under two strategies that it takes,
// whatever it reads: they are one, or store keys and values as they are.
bool ComputeTheSame(Kernel kernel, Strategy a, Strategy b);

// Every strategy, from kernels/strategy/accumulation-inl.h; the first is f32.
absl::Span<const StrategyInfo> Strategies();

// By name, for a kernel: an error lists the names that the kernel takes here.
absl::StatusOr<Strategy> FindStrategy(absl::string_view name, Kernel kernel);

// "f32, kahan, bf16": the strategies that `kernel` takes on this CPU.
std::string StrategyNames(Kernel kernel);

}  // namespace ulpscope

#endif  // KERNELS_STRATEGY_STRATEGY_H_
