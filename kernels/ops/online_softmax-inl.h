// The softmax of a fused attention under a strategy.
#if defined(KERNELS_OPS_ONLINE_SOFTMAX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KERNELS_OPS_ONLINE_SOFTMAX_INL_H_
#undef KERNELS_OPS_ONLINE_SOFTMAX_INL_H_
#else
#define KERNELS_OPS_ONLINE_SOFTMAX_INL_H_
#endif

#include <cstddef>
#include <limits>
#include <type_traits>

#include "hwy/base.h"
#include "hwy/highway.h"
#include "kernels/base/dtype.h"
#include "kernels/base/matrix.h"
#include "kernels/ops/exp-inl.h"
#include "kernels/ops/online_softmax.h"
#include "kernels/ops/panels.h"
#include "kernels/ops/softmax-inl.h"
#include "kernels/ops/torch_exp-inl.h"
#include "kernels/strategy/accumulation-inl.h"
#include "kernels/strategy/rounding-inl.h"
#include "kernels/strategy/strategy.h"
#include "kernels/strategy/sum_driver-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ulpscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// One lane, for what a row has one of: by the vectors' instructions, so that
// the compiler has no say in it.
template <typename Lane>
using OneLane = hn::CappedTag<Lane, 1>;

template <typename Lane>
HWY_INLINE Lane FusedMultiplyAdd(Lane a, Lane b, Lane c) {
  const OneLane<Lane> d;
  return hn::GetLane(hn::MulAdd(hn::Set(d, a), hn::Set(d, b), hn::Set(d, c)));
}

// What is subtracted from scores: not the maximum of those that are all -inf.
template <typename Lane>
HWY_INLINE Lane BaseOf(Lane max) {
  return max == -std::numeric_limits<Lane>::infinity() ? Lane{0} : max;
}

// A weights policy of one row and block: the weights of the lanes s, of which
// the last of a block, that do not fill 16 lanes, are the `rest`; and the
// factor of what has an earlier maximum.

// BlockExp::kExp2.
template <typename LaneT>
class Exp2Weights {
 public:
  using Lane = LaneT;

  HWY_INLINE Exp2Weights(double scale, Lane max)
      : factor_(FactorOf(scale)), base_(BaseOf(max)) {
    shift_ = -(base_ * factor_);
  }

  // Whether `larger` is so much larger than `max`.
  static HWY_INLINE bool Exceeds(double scale, Lane larger, Lane max,
                                 double threshold) {
    return (larger - max) * FactorOf(scale) > static_cast<Lane>(threshold);
  }

  template <bool kRest, class D, class V>
  HWY_INLINE V Of(D d, V s) const {
    return Exp2OrNaN(d, hn::MulAdd(s, hn::Set(d, factor_), hn::Set(d, shift_)));
  }

  HWY_INLINE Lane Alpha(Lane earlier) const {
    const OneLane<Lane> d;
    return hn::GetLane(Exp2OrNaN(d, hn::Set(d, (earlier - base_) * factor_)));
  }

 private:
  static HWY_INLINE Lane FactorOf(double scale) {
    constexpr double kLog2E = 1.44269504088896340736;
    return static_cast<Lane>(static_cast<Lane>(scale) * kLog2E);
  }

  Lane factor_, base_, shift_;
};

// Of float lanes, where a policy has a choice.
enum class FastExp { kNone, kTorchU20, kTorch16Bits };

// BlockExp::kTorch and kExp.
template <typename LaneT, FastExp kFast>
class ExpWeights {
 public:
  using Lane = LaneT;

  HWY_INLINE ExpWeights(double scale, Lane max)
      : scale_(static_cast<Lane>(scale)), base_(BaseOf(max) * scale_) {}

  static HWY_INLINE bool Exceeds(double scale, Lane larger, Lane max,
                                 double threshold) {
    return (larger - max) * static_cast<Lane>(scale) >
           static_cast<Lane>(threshold);
  }

  template <bool kRest, class D, class V>
  HWY_INLINE V Of(D d, V s) const {
    const V x = hn::Sub(hn::Mul(s, hn::Set(d, scale_)), hn::Set(d, base_));
    if constexpr (kRest || sizeof(Lane) == 8 || kFast == FastExp::kNone) {
      return ExpOrNaN(d, x);
    } else if constexpr (kFast == FastExp::kTorch16Bits) {
      return TorchFastExp(d, x);
    } else {
      return TorchExpU20(d, x);
    }
  }

  HWY_INLINE Lane Alpha(Lane earlier) const {
    const OneLane<Lane> d;
    return hn::GetLane(ExpOrNaN(d, hn::Set(d, earlier * scale_ - base_)));
  }

 private:
  Lane scale_, base_;
};

template <class Sum, class Weights>
void OnlineRow(const OnlineSoftmaxArgs& args, size_t r) {
  using Lane = typename Sum::Lane;
  const size_t n = args.scores.cols;
  double* const s = args.scores.Row(r);
  const Lane earlier = static_cast<Lane>(args.max[r]);
  // Rounding keeps the order.
  const Lane largest = static_cast<Lane>(RowMax(s, n));
  Lane max = earlier;
  if (largest > earlier &&
      (args.threshold == 0 ||
       Weights::Exceeds(args.scale, largest, earlier, args.threshold))) {
    max = largest;
  }
  const Weights weights(args.scale, max);
  Lane sum[1];
  RowSums<Sum>(
      n,
      [&](auto d, size_t /*row*/, size_t i, auto& sums, auto& c,
          auto... left) HWY_ATTR {
        constexpr bool kRest = sizeof...(left) > 0;
        auto p = weights.template Of<kRest>(d, LoadWidened(d, s + i, left...));
        if constexpr (kRest) {
          p = hn::IfThenElseZero(hn::FirstN(d, left...), p);
        }
        StoreResult(d, p, s + i, left...);
        Sum::Add(d, p, sums, c);
      },
      sum);
  const Lane alpha = weights.Alpha(earlier);
  args.max[r] = max;
  args.alpha[r] = alpha;
  args.sum[r] = FusedMultiplyAdd(static_cast<Lane>(args.sum[r]), alpha, sum[0]);
}

// Calls run(Weights*) with the policy that the arguments ask for.
template <class S, class Run>
HWY_INLINE void ChooseWeights(BlockExp exp, const Run& run) {
  using Lane = LaneOf<S>;
  constexpr FastExp kTorch =
      Has16Bits(S::kInfo.operand) ? FastExp::kTorch16Bits : FastExp::kTorchU20;
  switch (exp) {
    case BlockExp::kExp2:
      return run(static_cast<const Exp2Weights<Lane>*>(nullptr));
    case BlockExp::kTorch:
      return run(static_cast<const ExpWeights<Lane, kTorch>*>(nullptr));
    case BlockExp::kExp:
      return run(static_cast<const ExpWeights<Lane, FastExp::kNone>*>(nullptr));
  }
}

template <class S>
struct OnlineSoftmaxImpl {
  static void Run(const OnlineSoftmaxArgs& args) {
    ChooseSum<S>(args.scores.cols, [&](auto sum) HWY_ATTR {
      ChooseWeights<S>(args.exp, [&](const auto* policy) HWY_ATTR {
        using Weights =
            std::remove_cv_t<std::remove_pointer_t<decltype(policy)>>;
        for (size_t r = 0; r < args.scores.rows; ++r) {
          OnlineRow<decltype(sum), Weights>(args, r);
        }
      });
    });
  }
};

template <class Weights>
void FinalWeightsOf(const OnlineSoftmaxArgs& args, const double* share) {
  using Lane = typename Weights::Lane;
  const size_t n = args.scores.cols;
  const size_t whole = n - n % kRowLanes;
  for (size_t r = 0; r < args.scores.rows; ++r) {
    double* const s = args.scores.Row(r);
    const Weights weights(args.scale, static_cast<Lane>(args.max[r]));
    const Lane sum = static_cast<Lane>(args.sum[r]);
    const Lane of_row =
        share == nullptr ? Lane{1} : static_cast<Lane>(share[r]);
    const auto store = [&](auto d, auto p, double* to, auto... left) HWY_ATTR {
      const auto quotient = hn::Div(p, hn::Set(d, sum));
      StoreResult(d, hn::Mul(quotient, hn::Set(d, of_row)), to, left...);
    };
    ForEachVector<Lane>(whole, [&](auto d, size_t i, auto... left) HWY_ATTR {
      const auto v = LoadWidened(d, s + i, left...);
      store(d, weights.template Of<false>(d, v), s + i, left...);
    });
    ForEachVector<Lane>(
        n - whole, [&](auto d, size_t i, auto... left) HWY_ATTR {
          const auto v = LoadWidened(d, s + whole + i, left...);
          store(d, weights.template Of<true>(d, v), s + whole + i, left...);
        });
  }
}

template <class S>
struct FinalWeightsImpl {
  static void Run(const OnlineSoftmaxArgs& args, const double* share) {
    ChooseWeights<S>(args.exp, [&](const auto* policy) HWY_ATTR {
      FinalWeightsOf<std::remove_cv_t<std::remove_pointer_t<decltype(policy)>>>(
          args, share);
    });
  }
};

template <typename Lane>
void PartSharesOf(double scale, Matrix<const double> maxima,
                  Matrix<const double> sums, Matrix<double> shares) {
  constexpr Lane kInfinity = std::numeric_limits<Lane>::infinity();
  const OneLane<Lane> d;
  const auto exp = [d](Lane x) HWY_ATTR {
    return hn::GetLane(ExpOrNaN(d, hn::Set(d, x)));
  };
  const auto log = [d](Lane x) HWY_ATTR {
    return hn::GetLane(LogOrNaN(d, hn::Set(d, x)));
  };
  for (size_t r = 0; r < shares.cols; ++r) {
    Lane most = -kInfinity;
    for (size_t i = 0; i < shares.rows; ++i) {
      const Lane sum = static_cast<Lane>(sums.Row(i)[r]);
      const Lane whole =
          sum == 0 ? -kInfinity
                   : FusedMultiplyAdd(static_cast<Lane>(maxima.Row(i)[r]),
                                      static_cast<Lane>(scale), log(sum));
      shares.Row(i)[r] = whole;
      if (whole > most) most = whole;
    }
    if (most == -kInfinity) most = 0;
    Lane sum = 0;
    for (size_t i = 0; i < shares.rows; ++i) {
      sum += exp(static_cast<Lane>(shares.Row(i)[r]) - most);
    }
    const Lane whole = sum == 0 ? kInfinity : log(sum) + most;
    for (size_t i = 0; i < shares.rows; ++i) {
      double& share = shares.Row(i)[r];
      share = exp(static_cast<Lane>(share) - whole);
    }
  }
}

template <class S>
struct PartSharesImpl {
  static void Run(double scale, Matrix<const double> maxima,
                  Matrix<const double> sums, Matrix<double> shares) {
    PartSharesOf<LaneOf<S>>(scale, maxima, sums, shares);
  }
};

// One row, key by key.
template <typename Lane>
void WeighKeys(const OnlineSoftmaxArgs& args, size_t r, double* factors) {
  const OneLane<Lane> d;
  const auto exp = [d](Lane x) HWY_ATTR {
    return hn::GetLane(ExpOrNaN(d, hn::Set(d, x)));
  };
  const Lane scale = static_cast<Lane>(args.scale);
  Lane max = static_cast<Lane>(args.max[r]) * scale;
  Lane sum = static_cast<Lane>(args.sum[r]);
  double* const s = args.scores.Row(r);
  for (size_t i = 0; i < args.scores.cols; ++i) {
    const Lane unscaled = static_cast<Lane>(s[i]);
    const Lane score = unscaled * scale;
    Lane factor = 1, weight = 1;
    if (score > max) {
      factor = exp(max - score);
      max = score;
      args.max[r] = unscaled;
    } else {
      weight = exp(score - max);
    }
    sum = FusedMultiplyAdd(sum, factor, weight);
    factors[i] = factor;
    s[i] = weight;
  }
  args.sum[r] = sum;
}

template <class S>
struct WeighKeyByKeyImpl {
  static void Run(const OnlineSoftmaxArgs& args, Matrix<double> factors) {
    for (size_t r = 0; r < args.scores.rows; ++r) {
      WeighKeys<LaneOf<S>>(args, r, factors.Row(r));
    }
  }
};

// Channels that a panel of values has side by side.
template <class S, typename T>
void AddValuesOf(Matrix<const double> weights, Matrix<const double> factors,
                 const PanelsView& values, Matrix<double> y) {
  using Lane = LaneOf<S>;
  constexpr Format kOperand = S::kInfo.operand;
  constexpr bool kF16Sums =
      kOperand == Format::kF16 || std::is_same_v<T, hwy::float16_t>;
  const T* const data = static_cast<const T*>(values.data);
  for (size_t r = 0; r < y.rows; ++r) {
    const double* const weight = weights.Row(r);
    const double* const factor = factors.Row(r);
    // Panels are whole, and vectors divide them.
    ForEachVector<Lane>(y.cols, [&](auto d, size_t c, auto... left) HWY_ATTR {
      const T* v =
          data + c / kPanelWidth * values.panel_stride + c % kPanelWidth;
      auto sum = hn::Zero(d);
      for (size_t i = 0; i < weights.cols; ++i, v += kPanelWidth) {
        sum = hn::Mul(sum, hn::Set(d, static_cast<Lane>(factor[i])));
        if constexpr (kF16Sums) sum = RoundToF16(d, sum);
        sum = hn::MulAdd(LoadOperand<kOperand>(d, v, left...),
                         hn::Set(d, static_cast<Lane>(weight[i])), sum);
        if constexpr (kF16Sums) sum = RoundToF16(d, sum);
      }
      StoreResult(d, sum, y.Row(r) + c, left...);
    });
  }
}

template <class S>
struct AddKeyByKeyImpl {
  static void Run(Matrix<const double> weights, Matrix<const double> factors,
                  const PanelsView& values, Matrix<double> y) {
    switch (values.dtype) {
      case DType::kF64:
        return AddValuesOf<S, double>(weights, factors, values, y);
      case DType::kF32:
        return AddValuesOf<S, float>(weights, factors, values, y);
      case DType::kF16:
        return AddValuesOf<S, hwy::float16_t>(weights, factors, values, y);
      case DType::kBF16:
        return AddValuesOf<S, hwy::bfloat16_t>(weights, factors, values, y);
    }
  }
};

template <typename Lane>
void ScaleAndAddLanes(Matrix<const double> x, const double* factors, bool fused,
                      Matrix<const double> z, Matrix<double> y) {
  for (size_t r = 0; r < y.rows; ++r) {
    const Lane factor = static_cast<Lane>(factors[r]);
    ForEachVector<Lane>(y.cols, [&](auto d, size_t i, auto... left) HWY_ATTR {
      const auto a = LoadWidened(d, x.Row(r) + i, left...);
      const auto b = hn::Set(d, factor);
      const auto c = LoadWidened(d, z.Row(r) + i, left...);
      const auto sum = fused ? hn::MulAdd(a, b, c) : hn::Add(hn::Mul(a, b), c);
      StoreResult(d, sum, y.Row(r) + i, left...);
    });
  }
}

template <class S>
struct ScaleAndAddImpl {
  static void Run(Matrix<const double> x, const double* factors, bool fused,
                  Matrix<const double> z, Matrix<double> y) {
    ScaleAndAddLanes<LaneOf<S>>(x, factors, fused, z, y);
  }
};

template <typename Lane, Format kResult>
void DivideBySumsTo(Matrix<const double> x, const double* sums, bool unrounded,
                    Matrix<double> y) {
  const OneLane<Lane> one;
  for (size_t r = 0; r < y.rows; ++r) {
    const Lane sum = static_cast<Lane>(sums[r]);
    const Lane inverse =
        sum == 0
            ? Lane{1}
            : hn::GetLane(hn::Div(hn::Set(one, Lane{1}), hn::Set(one, sum)));
    ForEachVector<Lane>(y.cols, [&](auto d, size_t i, auto... left) HWY_ATTR {
      auto value =
          hn::Mul(LoadWidened(d, x.Row(r) + i, left...), hn::Set(d, inverse));
      if (!unrounded) value = RoundTo<kResult>(d, value);
      StoreResult(d, value, y.Row(r) + i, left...);
    });
  }
}

template <class S>
struct DivideBySumsImpl {
  static void Run(Matrix<const double> x, const double* sums, bool unrounded,
                  Matrix<double> y) {
    DivideBySumsTo<LaneOf<S>, S::kInfo.result>(x, sums, unrounded, y);
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
