#include "explorer/diagnosis/traced_values.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "explorer/diagnosis/results.h"
#include "explorer/error/run.h"
#include "kernels/base/format.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "model/trace/reference_trace.h"

namespace ulpscope {
namespace {

// Values that are looked at between two questions whether to stop: some tens of
// milliseconds on one thread.
constexpr size_t kValuesAtOnce = size_t{1} << 20;

// Whether `x` is a multiple of the spacing that a format with so many bits of
// precision and this smallest spacing has at it, and not too large for it.
bool Holds(double x, int precision, int least_exponent, double largest) {
  if (x == 0) return true;
  if (std::fabs(x) > largest) return false;
  int exponent = 0;
  std::frexp(x, &exponent);
  const int spacing = std::max(exponent - precision, least_exponent);
  const double multiple = std::ldexp(x, -spacing);
  return multiple == std::trunc(multiple);
}

bool HoldsBF16(double x) { return Holds(x, 8, -133, 0x1.FEp127); }
bool HoldsF16(double x) { return Holds(x, 11, -24, 65504); }
bool HoldsF32(double x) {
  return static_cast<double>(static_cast<float>(x)) == x;
}

// kStandsOut.
double StandsOutFrom(const double* row, size_t n) {
  std::vector<double> magnitudes;
  for (size_t i = 0; i < n; ++i) {
    if (std::isfinite(row[i])) magnitudes.push_back(std::fabs(row[i]));
  }
  if (magnitudes.empty()) return std::numeric_limits<double>::infinity();
  const auto middle =
      magnitudes.begin() + static_cast<ptrdiff_t>(magnitudes.size() / 2);
  std::nth_element(magnitudes.begin(), middle, magnitudes.end());
  return *middle > 0 ? kStandsOut * *middle
                     : std::numeric_limits<double>::infinity();
}

// The coarsest that holds what both hold.
HeldBy Both(HeldBy a, HeldBy b) {
  if (a == b || b == HeldBy::kBF16AndF16) return a;
  if (a == HeldBy::kBF16AndF16) return b;
  return a == HeldBy::kF64 || b == HeldBy::kF64 ? HeldBy::kF64 : HeldBy::kF32;
}

// Rows at the same time, sums in their order. Scores and probabilities have no
// scale of their own, from which one could stand out.
absl::StatusOr<TensorValues> ValuesOf(const TracedTensor& tensor,
                                      bool is_scores, Monitor& monitor,
                                      Parallel& parallel) {
  const Matrix<double> rows = tensor.rows.view();
  TensorValues values;
  values.held_by = HeldBy::kBF16AndF16;
  values.stands_out_from.assign(rows.rows,
                                std::numeric_limits<double>::infinity());
  std::vector<HeldBy> held_by(rows.rows);
  const size_t at_once =
      std::max<size_t>(1, kValuesAtOnce / std::max<size_t>(1, rows.cols));
  for (size_t begin = 0; begin < rows.rows; begin += at_once) {
    if (monitor.stopped()) return absl::CancelledError("stopped");
    const size_t count = std::min(at_once, rows.rows - begin);
    parallel.For(count, [&](size_t i) {
      const double* const row = rows.Row(begin + i);
      held_by[begin + i] = FormatHolding({row, 1, rows.cols});
      if (!is_scores) {
        values.stands_out_from[begin + i] = StandsOutFrom(row, rows.cols);
      }
    });
    for (size_t r = begin; r < begin + count; ++r) {
      values.held_by = Both(values.held_by, held_by[r]);
      for (size_t c = 0; c < rows.cols; ++c) {
        const double x = rows.Row(r)[c];
        if (!std::isfinite(x)) {
          ++values.nonfinite;
          if (std::isnan(x)) ++values.nan;
          continue;
        }
        values.any_finite = true;
        values.squares += x * x;
        if (std::fabs(x) < values.stands_out_from[r]) {
          values.usual_squares += x * x;
        }
      }
    }
  }
  return values;
}

}  // namespace

HeldBy FormatHolding(Matrix<const double> rows) {
  bool bf16 = true, f16 = true;
  for (size_t r = 0; r < rows.rows; ++r) {
    const double* const row = rows.Row(r);
    for (size_t c = 0; c < rows.cols; ++c) {
      const double x = row[c];
      if (!std::isfinite(x)) continue;
      if (!HoldsF32(x)) return HeldBy::kF64;
      bf16 = bf16 && HoldsBF16(x);
      f16 = f16 && HoldsF16(x);
    }
  }
  return bf16 && f16 ? HeldBy::kBF16AndF16
         : bf16      ? HeldBy::kBF16
         : f16       ? HeldBy::kF16
                     : HeldBy::kF32;
}

double UnitRoundoffOf(HeldBy held_by) {
  switch (held_by) {
    case HeldBy::kBF16AndF16:
    case HeldBy::kBF16:
      return 0x1p-8;
    case HeldBy::kF16:
      return 0x1p-11;
    case HeldBy::kF32:
      return 0x1p-24;
    case HeldBy::kF64:
      return 0x1p-53;
  }
  return 0;
}

bool Holds(Format format, HeldBy held_by) {
  switch (held_by) {
    case HeldBy::kBF16AndF16:
      return true;
    case HeldBy::kBF16:
      return format != Format::kF16;
    case HeldBy::kF16:
      return format != Format::kBF16;
    case HeldBy::kF32:
      return format == Format::kF32 || format == Format::kF64;
    case HeldBy::kF64:
      return format == Format::kF64;
  }
  return false;
}

absl::StatusOr<TracedValues> TracedValues::Of(const ReferenceTrace& trace,
                                              Monitor& monitor,
                                              Parallel& parallel) {
  TracedValues all(trace);
  const auto add = [&](const auto& tensors, bool are_scores) -> absl::Status {
    for (const auto& [place, tensor] : tensors) {
      auto values = ValuesOf(tensor, are_scores, monitor, parallel);
      if (!values.ok()) return values.status();
      all.values_.emplace(&tensor, *std::move(values));
    }
    return absl::OkStatus();
  };
  absl::Status status = add(trace.outputs, false);
  if (status.ok()) status = add(trace.scores, true);
  if (status.ok()) status = add(trace.states, false);
  if (!status.ok()) return status;
  return all;
}

}  // namespace ulpscope
