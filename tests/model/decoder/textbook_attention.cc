#include "tests/model/decoder/textbook_attention.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "kernels/base/format.h"
#include "model/architecture/attention_form.h"
#include "tests/kernels/ops/textbook.h"
#include "tests/kernels/ops/vector_exp.h"

namespace ulpscope {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// f of one number, in a strategy's lanes.
double Of(const Textbook& t, void (*f32)(absl::Span<float>),
          void (*f64)(absl::Span<double>), double x) {
  if (t.lane == Format::kF64) {
    f64(absl::MakeSpan(&x, 1));
    return x;
  }
  float narrow = static_cast<float>(x);
  f32(absl::MakeSpan(&narrow, 1));
  return narrow;
}

double Exp(const Textbook& t, double x) {
  return Of(t, &VectorExp, &VectorExp, x);
}
double Exp2(const Textbook& t, double x) {
  return Of(t, &VectorExp2, &VectorExp2, x);
}
double Log(const Textbook& t, double x) {
  return Of(t, &VectorLog, &VectorLog, x);
}

// Single operations in lanes; f64's products and sums of f32 round to f32's.
double Lane(const Textbook& t, double x) { return Rounded(t.lane, x); }

double Fma(const Textbook& t, double a, double b, double c) {
  if (t.lane == Format::kF64) return std::fma(a, b, c);
  return std::fma(static_cast<float>(a), static_cast<float>(b),
                  static_cast<float>(c));
}

double UnroundedDot(const Textbook& t, const std::vector<double>& a,
                    const std::vector<double>& b) {
  const TextbookSum& sum = t.SumOf(a.size());
  return sum.value(sum.products(Rounded(t.operand, a), Rounded(t.operand, b)));
}

double Sum(const Textbook& t, const std::vector<double>& x) {
  return TextbookRowSum(t, x, std::vector<double>(x.size(), 1.0));
}

class Query {
 public:
  explicit Query(const TextbookQuery& query)
      : query_(query), soft_(*query.softmax), av_(*query.av) {
    for (const std::vector<double>& key : query.k) {
      s_.push_back(UnroundedDot(*query.qk, query.q, key));
    }
    result_.scores = s_;
    for (double& score : result_.scores) {
      score = Lane(*query.qk, score * Lane(*query.qk, query.scale));
    }
    for (double& s : s_) s = Lane(soft_, s);
    c_ = !Exp2Form()
             ? Lane(soft_, query.scale)
             : Lane(soft_, Lane(soft_, query.scale) * 1.4426950408889634);
    result_.weights.resize(s_.size());
  }

  TextbookAttention Run() {
    const size_t keys = s_.size();
    if (query_.form.kind == AttentionKind::kSplitKv) {
      RunParts();
      return result_;
    }
    Part all = ggml() ? KeyByKey() : Blocks(0, keys);
    for (double& o : all.o)
      o = Rounded(av_.result, Lane(av_, o * Inverse(all)));
    result_.y = all.o;
    ShowWeights(0, keys, all, 1);
    return result_;
  }

 private:
  struct Part {
    double m = -kInfinity, l = 0;
    std::vector<double> o;
  };

  bool sdpa() const { return query_.form.kind == AttentionKind::kSdpa; }
  bool ggml() const { return query_.form.kind == AttentionKind::kGgml; }
  bool Exp2Form() const { return !sdpa() && !ggml(); }

  size_t BlockKeys() const {
    switch (query_.form.kind) {
      case AttentionKind::kSdpa:
        return 512;
      case AttentionKind::kFlash2:
        return query_.form.block;
      case AttentionKind::kFlash4:
        return 128;
      default:
        return 64;
    }
  }

  // exp((x - m) scale), as the form has it; the key is `i` of `keys` in a
  // block.
  double Weight(double s, double m, size_t i, size_t keys) const {
    if (m == -kInfinity) m = 0;
    if (Exp2Form()) return Exp2(soft_, Fma(soft_, s, c_, -Lane(soft_, m * c_)));
    const double x = Lane(soft_, Lane(soft_, s * c_) - Lane(soft_, m * c_));
    if (ggml() || soft_.lane == Format::kF64 || i >= keys / 16 * 16) {
      return Exp(soft_, x);
    }
    float narrow = static_cast<float>(x);
    if (Has16Bits(soft_.operand)) {
      VectorTorchFastExp(absl::MakeSpan(&narrow, 1));
    } else {
      VectorTorchExpU20(absl::MakeSpan(&narrow, 1));
    }
    return narrow;
  }

  double Alpha(double m, double larger) const {
    if (larger == -kInfinity) larger = 0;
    if (Exp2Form())
      return Exp2(soft_, Lane(soft_, Lane(soft_, m - larger) * c_));
    return Exp(soft_,
               Lane(soft_, Lane(soft_, m * c_) - Lane(soft_, larger * c_)));
  }

  Part Blocks(size_t first, size_t end) {
    const size_t width = query_.q.size();
    Part part;
    part.o.assign(width, 0.0);
    for (size_t at = first; at < end; at += BlockKeys()) {
      const size_t keys = std::min(BlockKeys(), end - at);
      double larger = part.m;
      for (size_t i = 0; i < keys; ++i) {
        if (s_[at + i] > larger) larger = s_[at + i];
      }
      const bool grows = larger > part.m;
      if (query_.form.kind == AttentionKind::kFlash4 &&
          !(Lane(soft_, Lane(soft_, larger - part.m) * c_) >
            Lane(soft_, query_.form.threshold))) {
        larger = part.m;
      }
      if (grows) ++(larger > part.m ? result_.taken : result_.left);
      std::vector<double> p;
      for (size_t i = 0; i < keys; ++i) {
        p.push_back(Weight(s_[at + i], larger, i, keys));
      }
      const double alpha = Alpha(part.m, larger);
      part.l = Fma(soft_, part.l, alpha, Sum(soft_, p));
      part.m = larger;
      for (size_t d = 0; d < width; ++d) {
        std::vector<double> column;
        for (size_t i = 0; i < keys; ++i) column.push_back(query_.v[at + i][d]);
        const double pv = UnroundedDot(av_, p, column);
        const double a = Lane(av_, alpha);
        part.o[d] = sdpa() ? Lane(av_, Lane(av_, part.o[d] * a) + pv)
                           : Fma(av_, part.o[d], a, pv);
      }
    }
    return part;
  }

  double ToF16(double x) const {
    return av_.operand == Format::kF16 ? Rounded(Format::kF16, x) : x;
  }

  // x is the scaled score, m the largest of them.
  Part KeyByKey() {
    const size_t width = query_.q.size();
    Part part;
    part.o.assign(width, 0.0);
    double m = -kInfinity;
    for (size_t j = 0; j < s_.size(); ++j) {
      const double x = Lane(soft_, s_[j] * c_);
      double factor = 1, weight = 1;
      if (x > m) {
        factor = Exp(soft_, Lane(soft_, m - x));
        m = x;
        part.m = s_[j];
      } else {
        weight = Exp(soft_, Lane(soft_, x - m));
      }
      part.l = Fma(soft_, part.l, factor, weight);
      for (size_t d = 0; d < width; ++d) {
        const double scaled = ToF16(Lane(av_, part.o[d] * Lane(av_, factor)));
        part.o[d] = ToF16(Fma(av_, Rounded(av_.operand, query_.v[j][d]),
                              Lane(av_, weight), scaled));
      }
    }
    return part;
  }

  double Inverse(const Part& part) const {
    const double l = Lane(av_, part.l);
    return l == 0 ? 1 : Lane(av_, 1 / l);
  }

  void ShowWeights(size_t first, size_t end, const Part& part, double share) {
    for (size_t i = first; i < end; ++i) {
      const double p = Weight(s_[i], part.m, i - first, end - first);
      result_.weights[i] = Lane(soft_, Lane(soft_, p / part.l) * share);
    }
  }

  void RunParts() {
    const size_t keys = s_.size();
    const size_t blocks = (keys + 63) / 64;
    const size_t each =
        (blocks + query_.form.parts - 1) / query_.form.parts * 64;
    std::vector<Part> parts;
    std::vector<double> lses;
    double most = -kInfinity;
    for (size_t at = 0; at < keys; at += each) {
      Part part = Blocks(at, std::min(keys, at + each));
      for (double& o : part.o) o = Lane(av_, o * Inverse(part));
      const double lse = part.l == 0
                             ? -kInfinity
                             : Fma(soft_, part.m, Lane(soft_, query_.scale),
                                   Log(soft_, part.l));
      lses.push_back(lse);
      if (lse > most) most = lse;
      parts.push_back(std::move(part));
    }
    if (most == -kInfinity) most = 0;
    double sum = 0;
    for (const double lse : lses) {
      sum = Lane(soft_, sum + Exp(soft_, Lane(soft_, lse - most)));
    }
    const double all =
        sum == 0 ? kInfinity : Lane(soft_, Log(soft_, sum) + most);
    std::vector<double> y(query_.q.size(), 0.0);
    for (size_t i = 0; i < parts.size(); ++i) {
      const double share = Exp(soft_, Lane(soft_, lses[i] - all));
      for (size_t d = 0; d < y.size(); ++d) {
        y[d] = Fma(av_, parts[i].o[d], Lane(av_, share), y[d]);
      }
      ShowWeights(i * each, std::min(keys, (i + 1) * each), parts[i], share);
    }
    result_.y = Rounded(av_.result, y);
  }

  const TextbookQuery& query_;
  const Textbook& soft_;
  const Textbook& av_;
  std::vector<double> s_;
  double c_ = 0;
  TextbookAttention result_;
};

}  // namespace

TextbookAttention Attended(const TextbookQuery& query) {
  return Query(query).Run();
}

}  // namespace ulpscope
