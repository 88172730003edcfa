#include "explorer/tuning/tune.h"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "explorer/error/run.h"
#include "kernels/base/dtype.h"
#include "kernels/base/parallel.h"
#include "kernels/ops/panels.h"
#include "kernels/ops/tuning.h"
#include "kernels/strategy/strategy.h"
#include "kernels/tune/autotuner.h"
#include "kernels/tune/tuning_search.h"
#include "kernels/tune/wisdom.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"

namespace ulpscope {
namespace {

// The decoder's.
constexpr DType kActivations = DType::kF64;

struct LayerMatrix {
  Op op;
  Panels LayerWeights::*panels;
};

constexpr LayerMatrix kLayerMatrices[] = {
    {Op::kQProj, &LayerWeights::q_proj},
    {Op::kKProj, &LayerWeights::k_proj},
    {Op::kVProj, &LayerWeights::v_proj},
    {Op::kOProj, &LayerWeights::o_proj},
    {Op::kGateProj, &LayerWeights::gate_proj},
    {Op::kUpProj, &LayerWeights::up_proj},
    {Op::kDownProj, &LayerWeights::down_proj},
};

// What decides which ColdWeights it is tuned with.
auto WeightsOf(const TunableMatMul& matmul) {
  return std::make_tuple(matmul.key.weights, matmul.n, matmul.k);
}

std::string NameOf(const TunableMatMul& matmul) {
  return absl::StrFormat("%s %s %dx%dx%d", matmul.key.strategy.name(),
                         DTypeName(matmul.key.weights), matmul.m, matmul.n,
                         matmul.k);
}

}  // namespace

std::vector<TunableMatMul> MatMulsOf(const Weights& weights,
                                     const std::vector<Plan>& plans,
                                     size_t prompt_tokens) {
  std::vector<TunableMatMul> all;
  const auto add = [&all](Strategy strategy, Op op, const PanelsView& b,
                          size_t m) {
    const Tunings::Key key = {strategy, kActivations, b.dtype,
                              ShapeClass::Of(m, b.n, b.k)};
    auto found = std::find_if(all.begin(), all.end(), [&key](const auto& has) {
      return !(has.key < key) && !(key < has.key);
    });
    if (found == all.end()) {
      found = all.insert(all.end(), {key, m, b.n, b.k, {}});
    }
    const std::string name(OpName(op));
    if (std::find(found->ops.begin(), found->ops.end(), name) ==
        found->ops.end()) {
      found->ops.push_back(name);
    }
  };
  for (const Plan& plan : plans) {
    for (const LayerMatrix& matrix : kLayerMatrices) {
      for (size_t i = 0; i < weights.layers.size(); ++i) {
        const PanelsView b = (weights.layers[i].*matrix.panels).view();
        const Strategy strategy = plan.Get(i + 1, matrix.op);
        add(strategy, matrix.op, b, 1);
        add(strategy, matrix.op, b, prompt_tokens);
      }
    }
    add(plan.Get(0, Op::kLmHead), Op::kLmHead, weights.LmHead().view(), 1);
  }
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
    return std::make_tuple(WeightsOf(a), a.m, a.key.strategy) <
           std::make_tuple(WeightsOf(b), b.m, b.key.strategy);
  });
  return all;
}

size_t CountKnown(const Tunings& tunings,
                  const std::vector<TunableMatMul>& matmuls) {
  return static_cast<size_t>(std::count_if(
      matmuls.begin(), matmuls.end(), [&tunings](const TunableMatMul& matmul) {
        return tunings.known().count(matmul.key) > 0;
      }));
}

void EraseKnown(const Tunings& tunings, std::vector<TunableMatMul>& matmuls) {
  matmuls.erase(std::remove_if(matmuls.begin(), matmuls.end(),
                               [&tunings](const TunableMatMul& matmul) {
                                 return tunings.known().count(matmul.key) > 0;
                               }),
                matmuls.end());
}

absl::StatusOr<std::vector<TunedMatMul>> RunTune(
    const std::vector<TunableMatMul>& matmuls, const TuneOptions& options,
    Wisdom& wisdom, Monitor& monitor, Parallel& parallel) {
  const Machine machine = Machine::This(parallel.num_threads());
  const Parallel::Awake awake(parallel);  // as plans are timed
  const absl::Time start = absl::Now();
  constexpr absl::string_view kTask = "tuning";
  std::vector<TunedMatMul> tuned;
  std::unique_ptr<ColdWeights> weights;
  double preparing = 0;
  for (size_t i = 0; i < matmuls.size(); ++i) {
    const TunableMatMul& matmul = matmuls[i];
    monitor.OnProgress(kTask, i, matmuls.size(), NameOf(matmul));
    if (i == 0 || WeightsOf(matmul) != WeightsOf(matmuls[i - 1])) {
      const absl::Time packing = absl::Now();
      weights = nullptr;  // before there are others
      weights =
          std::make_unique<ColdWeights>(matmul.key.weights, matmul.n, matmul.k,
                                        options.model_bytes, parallel);
      preparing += absl::ToDoubleSeconds(absl::Now() - packing);
    }
    const double spent = absl::ToDoubleSeconds(absl::Now() - start) - preparing;
    const double share = std::max(0.0, options.seconds - spent) /
                         static_cast<double>(matmuls.size() - i);
    const auto result =
        TuneMatMul(matmul.key.strategy, matmul.m, *weights, share, parallel);
    if (!result.ok()) {
      return absl::Status(
          result.status().code(),
          absl::StrCat(NameOf(matmul), ": ", result.status().message()));
    }
    wisdom.Set(machine, matmul.key, result->best);
    if (!options.wisdom_path.empty()) {
      const absl::Status saved = wisdom.Save(options.wisdom_path);
      if (!saved.ok()) return saved;
    }
    tuned.push_back({matmul, *result});
  }
  monitor.OnProgress(kTask, matmuls.size(), matmuls.size(), "");
  return tuned;
}

}  // namespace ulpscope
