#include "kernels/tune/autotuner.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "hwy/base.h"
#include "kernels/base/aligned_bytes.h"
#include "kernels/base/format.h"
#include "kernels/base/machine_limits.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/base/steady_clock.h"
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

// A region of a decoder, called as a decoder calls it.
class RegionCall {
 public:
  RegionCall(Strategy strategy, size_t m, const TuningRegion& region,
             Parallel& parallel)
      : strategy_(strategy), region_(region), parallel_(parallel) {
    const std::vector<Panels>& weights = region.weights->any();
    const size_t k = weights.front().view().k;
    a_.resize(m * k);
    Random random(2);
    for (double& value : a_) value = double{RandomValue(random, 1)};
    const Matrix<const double> a(a_.data(), m, k);
    for (const Panels& b : weights) {
      c_.emplace_back(m * b.view().n);
      checks_.emplace_back(a, b, kCheckedOutputs);
      args_.emplace_back();
      args_.back().a = a;
      args_.back().c = {c_.back().data(), m, b.view().n};
    }
  }

  void Run(const MatMulTuning& tuning) {
    const std::vector<Panels>& weights = region_.weights->Next();
    for (size_t i = 0; i < args_.size(); ++i) args_[i].b = weights[i].view();
    for (const size_t i : region_.tuned) args_[i].tuning = &tuning;
    MatMuls(strategy_, args_, parallel_);
  }

  // An output that is not written stays NaN.
  void Forget() {
    for (std::vector<double>& c : c_) {
      std::fill(c.begin(), c.end(), std::numeric_limits<double>::quiet_NaN());
    }
  }
  bool IsRight() const {
    for (size_t i = 0; i < checks_.size(); ++i) {
      if (!(checks_[i].WorstOverBound(strategy_, args_[i].c) <= 1)) {
        return false;
      }
    }
    return true;
  }

 private:
  const Strategy strategy_;
  const TuningRegion& region_;
  Parallel& parallel_;
  std::vector<double> a_;
  std::vector<std::vector<double>> c_;
  std::vector<MatMulCheck> checks_;
  std::vector<MatMulArgs> args_;
};

class MatMulSubject : public TuningSubject {
 public:
  MatMulSubject(Strategy strategy, size_t m,
                absl::Span<const TuningRegion> regions, Parallel& parallel) {
    for (const TuningRegion& region : regions) {
      regions_.emplace_back(strategy, m, region, parallel);
    }
  }

  bool IsRight(const MatMulTuning& tuning) override {
    for (RegionCall& region : regions_) region.Forget();
    if (calls_ == 0) Call(tuning);  // its first call gets memory
    const double start = Clock();
    Call(tuning);
    if (calls_ == 0) {
      const double seconds = std::max(Clock() - start, 1e-9);
      calls_ = static_cast<size_t>(std::ceil(kLeastSeconds / seconds));
    }
    return std::all_of(regions_.begin(), regions_.end(),
                       [](const RegionCall& r) { return r.IsRight(); });
  }

  double Time(const MatMulTuning& tuning) override {
    const size_t calls = std::max<size_t>(calls_, 1);
    const double start = Clock();
    for (size_t i = 0; i < calls; ++i) Call(tuning);
    return std::max(Clock() - start, 1e-9) / static_cast<double>(calls);
  }

  double Clock() override { return SteadySeconds(); }

 private:
  void Call(const MatMulTuning& tuning) {
    for (RegionCall& region : regions_) region.Run(tuning);
  }

  std::vector<RegionCall> regions_;
  size_t calls_ = 0;  // per time; 0 before the first
};

}  // namespace

absl::StatusOr<ColdWeights> ColdWeights::Make(
    absl::Span<const WeightsShape> region, size_t model_bytes,
    Parallel& parallel) {
  std::vector<AlignedBytes> values;
  for (const WeightsShape& shape : region) {
    const size_t size = DTypeSize(shape.dtype);
    const size_t count = shape.n * shape.k;
    values.push_back(TryAllocateAlignedBytes(count * size));
    if (values.back() == nullptr) {
      return absl::ResourceExhaustedError(
          absl::StrCat("no memory for ", count * size, " bytes of weights"));
    }
    Random random(1);
    for (size_t i = 0; i < count; ++i) {
      StoreAs(shape.dtype, RandomValue(random, 0.04),
              values.back().get() + i * size);
    }
  }
  ColdWeights weights;
  size_t copies = 1;
  while (weights.copies_.size() < copies) {
    std::vector<Panels> copy;
    size_t bytes = 0;
    for (size_t i = 0; i < region.size(); ++i) {
      auto panels = Panels::Pack(region[i].dtype, values[i].get(), region[i].n,
                                 region[i].k, parallel);
      if (!panels.ok()) return panels.status();
      bytes += panels->bytes();
      copy.push_back(*std::move(panels));
    }
    copies = std::max<size_t>(1, ColdBytes(model_bytes) / bytes);
    weights.copies_.push_back(std::move(copy));
  }
  return weights;
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
                                        absl::Span<const TuningRegion> regions,
                                        double seconds, Parallel& parallel) {
  const TuningRegion& first = regions.front();
  const PanelsView b = first.weights->any()[first.tuned.front()].view();
  MatMulSubject subject(strategy, m, regions, parallel);
  return SearchTuning(
      subject, MatMulChoices(m, b.n, b.k, parallel.num_threads()), seconds);
}

}  // namespace ulpscope
