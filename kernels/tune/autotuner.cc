#include "kernels/tune/autotuner.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "hwy/base.h"
#include "kernels/base/aligned_bytes.h"
#include "kernels/base/format.h"
#include "kernels/base/machine_limits.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/measure/random.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/panels.h"
#include "kernels/ops/tuning.h"
#include "kernels/strategy/strategy.h"
#include "kernels/tune/matmul_check.h"
#include "kernels/tune/tuning_search.h"

namespace ulpscope {
namespace {

constexpr size_t kMiB = size_t{1} << 20;
// What is shorter is called several times, each time with other weights.
constexpr double kLeastSeconds = 200e-6;
constexpr size_t kCheckedOutputs = 256;

size_t ColdBytes(size_t model_bytes) {
  const long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
  const size_t wanted =
      std::clamp(static_cast<size_t>(std::max(cache, 0L)) / 4 * 5, 256 * kMiB,
                 1024 * kMiB);
  return std::min({model_bytes, wanted, AvailableMemory() / 8});
}

// Of f16 and of bf16, so that every operand format holds it.
float RandomValue(Random& random, double scale) {
  const hwy::float16_t half =
      hwy::F16FromF32(static_cast<float>(random.Uniform(-scale, scale)));
  return hwy::F32FromBF16(hwy::BF16FromF32(hwy::F32FromF16(half)));
}

// An element of the type, which holds RandomValue's.
void StoreAs(DType dtype, float value, unsigned char* to) {
  const auto store = [to](const auto& element) {
    std::memcpy(to, &element, sizeof(element));
  };
  switch (dtype) {
    case DType::kF64:
      store(double{value});
      break;
    case DType::kF32:
      store(value);
      break;
    case DType::kF16:
      store(hwy::F16FromF32(value));
      break;
    case DType::kBF16:
      store(hwy::BF16FromF32(value));
      break;
  }
}

class MatMulSubject : public TuningSubject {
 public:
  MatMulSubject(Strategy strategy, size_t m, ColdWeights& weights,
                Parallel& parallel)
      : strategy_(strategy),
        weights_(weights),
        parallel_(parallel),
        n_(weights.any().view().n),
        m_(m),
        a_(RandomActivations(m * weights.any().view().k)),
        c_(m * n_),
        check_(a(), weights.any(), kCheckedOutputs) {}

  bool IsRight(const MatMulTuning& tuning) override {
    // An output that is not written stays NaN.
    std::fill(c_.begin(), c_.end(), std::numeric_limits<double>::quiet_NaN());
    if (calls_ == 0) Call(tuning);  // its first call gets memory
    const double start = Clock();
    Call(tuning);
    if (calls_ == 0) {
      const double seconds = std::max(Clock() - start, 1e-9);
      calls_ = static_cast<size_t>(std::ceil(kLeastSeconds / seconds));
    }
    return check_.WorstOverBound(strategy_, {c_.data(), m_, n_}) <= 1;
  }

  double Time(const MatMulTuning& tuning) override {
    const size_t calls = std::max<size_t>(calls_, 1);
    const double start = Clock();
    for (size_t i = 0; i < calls; ++i) Call(tuning);
    return std::max(Clock() - start, 1e-9) / static_cast<double>(calls);
  }

  double Clock() override {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double>(now).count();
  }

 private:
  static std::vector<double> RandomActivations(size_t count) {
    std::vector<double> values(count);
    Random random(2);
    for (double& value : values) value = double{RandomValue(random, 1)};
    return values;
  }

  Matrix<const double> a() const { return {a_.data(), m_, a_.size() / m_}; }

  void Call(const MatMulTuning& tuning) {
    MatMulArgs args;
    args.a = a();
    args.b = weights_.Next().view();
    args.c = {c_.data(), m_, n_};
    args.tuning = &tuning;
    MatMul(strategy_, args, parallel_);
  }

  const Strategy strategy_;
  ColdWeights& weights_;
  Parallel& parallel_;
  const size_t n_, m_;
  const std::vector<double> a_;
  std::vector<double> c_;
  const MatMulCheck check_;
  size_t calls_ = 0;  // per time; 0 before the first
};

}  // namespace

ColdWeights::ColdWeights(DType dtype, size_t n, size_t k, size_t model_bytes,
                         Parallel& parallel) {
  const size_t size = DTypeSize(dtype);
  const AlignedBytes values = AllocateAlignedBytes(n * k * size);
  Random random(1);
  for (size_t i = 0; i < n * k; ++i) {
    StoreAs(dtype, RandomValue(random, 0.04), values.get() + i * size);
  }
  copies_.emplace_back(dtype, values.get(), n, k, parallel);
  const size_t count =
      std::max<size_t>(1, ColdBytes(model_bytes) / copies_[0].bytes());
  while (copies_.size() < count) {
    copies_.emplace_back(dtype, values.get(), n, k, parallel);
  }
}

std::vector<TuningChoices> MatMulChoices(size_t m, size_t n, size_t k,
                                         size_t threads) {
  std::vector<TuningChoices> choices;
  // Of the values, those up to `most`.
  const auto add = [&choices](uint32_t MatMulTuning::*parameter, size_t most,
                              std::initializer_list<uint32_t> values) {
    TuningChoices added = {parameter, {}};
    for (const uint32_t value : values) {
      if (value <= most) added.values.push_back(value);
    }
    choices.push_back(added);
  };
  if (m < kBlockedRows) {
    add(&MatMulTuning::panels_in_flight, n / kPanelWidth, {1, 2, 4});
    add(&MatMulTuning::prefetch_steps, k, {16, 32, 64, 128, 256});
  } else {
    add(&MatMulTuning::block_steps, k, {128, 256, 512, 1024, 2048, 4096});
    add(&MatMulTuning::group_panels, n / kPanelWidth, {1, 2, 4, 8, 16, 32});
    add(&MatMulTuning::block_rows, m, {24, 48, 96, 192, 384, 512});
    add(&MatMulTuning::tile_rows, m, {4, 6, 8});
  }
  TuningChoices fewer = {&MatMulTuning::threads, {}};
  for (uint32_t count = 1; count < threads; count *= 2) {
    fewer.values.push_back(count);
  }
  choices.push_back(fewer);
  return choices;
}

absl::StatusOr<TuningResult> TuneMatMul(Strategy strategy, size_t m,
                                        ColdWeights& weights, double seconds,
                                        Parallel& parallel) {
  const PanelsView b = weights.any().view();
  MatMulSubject subject(strategy, m, weights, parallel);
  return SearchTuning(
      subject, MatMulChoices(m, b.n, b.k, parallel.num_threads()), seconds);
}

}  // namespace ulpscope
