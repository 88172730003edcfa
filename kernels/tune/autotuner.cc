#include "kernels/tune/autotuner.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <limits>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "hwy/base.h"
#include "kernels/base/format.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/base/steady_clock.h"
#include "kernels/measure/random.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/matmul_work.h"
#include "kernels/ops/panels.h"
#include "kernels/ops/tuning.h"
#include "kernels/strategy/strategy.h"
#include "kernels/tune/cold_weights.h"
#include "kernels/tune/matmul_check.h"
#include "kernels/tune/tuning_search.h"

namespace ulpscope {
namespace {

// What is shorter is called several times, each time with other weights.
constexpr double kLeastSeconds = 200e-6;
constexpr size_t kCheckedOutputs = 256;

// As a strategy reads its operands.
double RoundedTo(Format format, double value) {
  const auto single = static_cast<float>(value);
  switch (format) {
    case Format::kF64:
      return value;
    case Format::kF32:
      return double{single};
    case Format::kBF16:
      return double{hwy::F32FromBF16(hwy::BF16FromF32(single))};
    case Format::kF16:
      return double{hwy::F32FromF16(hwy::F16FromF32(single))};
  }
  return value;
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
    for (double& value : a_) value = double{RandomOperand(random, 1)};
    const Matrix<const double> a(a_.data(), m, k);
    for (const Panels& b : weights) {
      c_.emplace_back(m * b.view().n);
      const Format operand = strategy.info().operand;
      checks_.emplace_back(
          a, b.view().n,
          [&](size_t j, double* row) {
            b.CopyRow(j, row);
            for (size_t i = 0; i < k; ++i) row[i] = RoundedTo(operand, row[i]);
          },
          kCheckedOutputs);
      args_.emplace_back();
      args_.back().a = a;
      args_.back().b = b.view();
      args_.back().c = {c_.back().data(), m, b.view().n};
    }
  }

  void Run(const MatMulTuning& tuning) {
    const std::vector<Panels>& weights = region_.weights->Next();
    for (size_t i = 0; i < args_.size(); ++i) args_[i].b = weights[i].view();
    for (const size_t i : region_.tuned) args_[i].tuning = &tuning;
    MatMuls(strategy_, args_, parallel_);
  }

  // Of the tuned ones.
  std::vector<MatMulWork> WorkWith(const MatMulTuning& tuning) const {
    std::vector<MatMulWork> works;
    for (const size_t i : region_.tuned) {
      works.push_back(
          WorkOf(strategy_, args_, i, tuning, parallel_.num_threads()));
    }
    return works;
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
                absl::Span<const TuningRegion> regions, Parallel& parallel,
                const std::function<bool()>& stop)
      : stop_(stop) {
    for (const TuningRegion& region : regions) {
      regions_.emplace_back(strategy, m, region, parallel);
    }
  }

  std::vector<MatMulWork> WorkWith(const MatMulTuning& tuning) const {
    std::vector<MatMulWork> all;
    for (const RegionCall& region : regions_) {
      for (const MatMulWork& work : region.WorkWith(tuning)) {
        all.push_back(work);
      }
    }
    return all;
  }

  bool AreTheSame(const MatMulTuning& a, const MatMulTuning& b) override {
    return WorkWith(a) == WorkWith(b);
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
  bool Stopped() override { return stop_ != nullptr && stop_(); }

 private:
  void Call(const MatMulTuning& tuning) {
    for (RegionCall& region : regions_) region.Run(tuning);
  }

  const std::function<bool()>& stop_;
  std::vector<RegionCall> regions_;
  size_t calls_ = 0;  // per time; 0 before the first
};

}  // namespace

std::vector<TuningChoices> MatMulChoices(absl::Span<const MatMulWork> works,
                                         size_t m, const WeightsShape& b,
                                         size_t threads) {
  std::vector<TuningChoices> choices;
  // Of the values, those from `least` up to `most`.
  const auto add = [&choices](uint32_t MatMulTuning::*parameter, size_t least,
                              size_t most,
                              std::initializer_list<uint32_t> values) {
    TuningChoices added = {parameter, {}};
    for (const uint32_t value : values) {
      if (least <= value && value <= most) added.values.push_back(value);
    }
    choices.push_back(added);
  };
  MatMulWork any;  // what counts for one of them
  bool reads_rows = false;
  for (const MatMulWork& work : works) {
    any.packed = any.packed || work.packed;
    reads_rows = reads_rows || !work.packed;
    any.has_blocks_of_k = any.has_blocks_of_k || work.has_blocks_of_k;
    any.most_panels_in_flight =
        std::max(any.most_panels_in_flight, work.most_panels_in_flight);
    any.most_tile_rows = std::max(any.most_tile_rows, work.most_tile_rows);
  }
  const size_t panels = hwy::DivCeil(b.n, kPanelWidth);
  if (reads_rows) {
    if (any.most_panels_in_flight > 1) {
      add(&MatMulTuning::panels_in_flight, 1,
          std::min(any.most_panels_in_flight, panels), {1, 2, 4});
    }
    // Of blocks, k steps have fewer bytes.
    const size_t least = b.type.blocks != nullptr ? 32 : 16;
    const size_t most = b.type.blocks != nullptr ? 512 : 256;
    add(&MatMulTuning::prefetch_steps, least, std::min(b.k, most),
        {16, 32, 64, 128, 256, 512});
  }
  if (any.packed) {
    if (any.has_blocks_of_k) {
      add(&MatMulTuning::block_steps, 1, b.k,
          {128, 256, 512, 1024, 2048, 4096});
    }
    add(&MatMulTuning::group_panels, 1, panels, {1, 2, 4, 8, 16, 32});
    add(&MatMulTuning::block_rows, 1, m, {24, 48, 96, 192, 384, 512});
    // Tiles of all rows that they can have are the default's.
    add(&MatMulTuning::tile_rows, 1, any.most_tile_rows - 1, {4, 6, 8});
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
                                        double seconds, Parallel& parallel,
                                        const std::function<bool()>& stop) {
  if (strategy.info().emulated()) {
    return absl::InvalidArgumentError(absl::StrCat(
        strategy.name(), " is emulated: its time here says nothing of it"));
  }
  const TuningRegion& first = regions.front();
  const PanelsView b = first.weights->any()[first.tuned.front()].view();
  MatMulSubject subject(strategy, m, regions, parallel, stop);
  return SearchTuning(
      subject,
      MatMulChoices(subject.WorkWith({}), m, {b.type(), b.n, b.k},
                    parallel.num_threads()),
      seconds);
}

}  // namespace ulpscope
