#include "explorer/tuning/tune.h"

#include <algorithm>
#include <cstddef>
#include <functional>
#include <iterator>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "explorer/error/run.h"
#include "explorer/tuning/wisdom_file.h"
#include "kernels/base/dtype.h"
#include "kernels/base/parallel.h"
#include "kernels/base/steady_clock.h"
#include "kernels/ops/panels.h"
#include "kernels/ops/tuning.h"
#include "kernels/strategy/strategy.h"
#include "kernels/tune/autotuner.h"
#include "kernels/tune/cold_weights.h"
#include "kernels/tune/tuning_search.h"
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

// In the order in which a layer reads them.
constexpr LayerMatrix kLayerMatrices[] = {
    {Op::kQProj, &LayerWeights::q_proj},
    {Op::kKProj, &LayerWeights::k_proj},
    {Op::kVProj, &LayerWeights::v_proj},
    {Op::kOProj, &LayerWeights::o_proj},
    {Op::kGateProj, &LayerWeights::gate_proj},
    {Op::kUpProj, &LayerWeights::up_proj},
    {Op::kDownProj, &LayerWeights::down_proj},
};

// Whether it has the input of the one before. Under the same strategy both are
// then in one parallel region (Decoder::Project).
bool SharesInput(Op op) {
  return op == Op::kKProj || op == Op::kVProj || op == Op::kUpProj;
}

std::string NameOf(const TunableMatMul& matmul) {
  return absl::StrFormat("%s %s %dx%dx%d", matmul.key.strategy.name(),
                         matmul.key.weights.name(), matmul.m, matmul.n,
                         matmul.k);
}

}  // namespace

absl::string_view PhaseName(Phase phase) {
  return phase == Phase::kPrefill ? "prefill" : "decode";
}

std::vector<TunableMatMul> MatMulsOf(const Weights& weights,
                                     const std::vector<Plan>& plans,
                                     size_t prompt_tokens) {
  struct Member {
    Op op;
    PanelsView b;
  };
  std::vector<TunableMatMul> all;
  const auto add = [&all](Strategy strategy, const std::vector<Member>& members,
                          size_t m, const std::pair<size_t, Phase>& of) {
    std::vector<WeightsShape> shapes;
    std::map<Tunings::Key, std::vector<size_t>> places;
    for (size_t i = 0; i < members.size(); ++i) {
      const PanelsView& b = members[i].b;
      shapes.push_back({b.type(), b.n, b.k});
      places[{strategy, kActivations, b.type(), ShapeClass::Of(m, b.n, b.k)}]
          .push_back(i);
    }
    for (const auto& [key, at] : places) {
      auto found = std::find_if(all.begin(), all.end(),
                                [&key = key](const TunableMatMul& has) {
                                  return !(has.key < key) && !(key < has.key);
                                });
      if (found == all.end()) {
        const PanelsView& b = members[at.front()].b;
        found = all.insert(all.end(), {key, m, b.n, b.k, {}, {}, {}});
      }
      found->regions.insert({shapes, at});
      found->serves.insert(of);
      for (const size_t i : at) {
        const std::string name(OpName(members[i].op));
        if (!absl::c_linear_search(found->ops, name)) {
          found->ops.push_back(name);
        }
      }
    }
  };
  for (size_t p = 0; p < plans.size(); ++p) {
    const Plan& plan = plans[p];
    if (plan.emulated()) continue;
    for (size_t i = 0; i < weights.layers.size(); ++i) {
      std::vector<Member> members;
      for (const LayerMatrix& matrix : kLayerMatrices) {
        const Strategy strategy = plan.Get(i + 1, matrix.op);
        members.push_back(
            {matrix.op, (weights.layers[i].*matrix.panels).view()});
        const LayerMatrix* const next = &matrix + 1;
        if (next != std::end(kLayerMatrices) && SharesInput(next->op) &&
            plan.Get(i + 1, next->op) == strategy) {
          continue;
        }
        add(strategy, members, 1, {p, Phase::kDecode});
        add(strategy, members, prompt_tokens, {p, Phase::kPrefill});
        members.clear();
      }
    }
    add(plan.Get(0, Op::kLmHead), {{Op::kLmHead, weights.LmHead().view()}}, 1,
        {p, Phase::kDecode});
  }
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
    return std::tie(a.regions, a.m, a.key.strategy) <
           std::tie(b.regions, b.m, b.key.strategy);
  });
  return all;
}

void EraseKnown(const Tunings& tunings, std::vector<TunableMatMul>& matmuls) {
  matmuls.erase(std::remove_if(matmuls.begin(), matmuls.end(),
                               [&tunings](const TunableMatMul& matmul) {
                                 return tunings.known().count(matmul.key) > 0;
                               }),
                matmuls.end());
}

WisdomUse UseOf(const WisdomFile& file,
                const std::vector<TunableMatMul>& matmuls) {
  WisdomUse use = {file.path(), 0, matmuls.size(), file.reason()};
  if (matmuls.empty()) {
    use.reason = "no plan is timed";
    return use;
  }
  if (file.tunings() == nullptr) return use;
  std::vector<TunableMatMul> unknown = matmuls;
  EraseKnown(*file.tunings(), unknown);
  use.known = matmuls.size() - unknown.size();
  if (use.known == 0) {
    use.reason = absl::StrCat(file.path(), " knows none of these MatMuls");
  }
  return use;
}

absl::Status RunTune(const std::vector<TunableMatMul>& matmuls,
                     const TuneOptions& options, WisdomFile& file,
                     Monitor& monitor, Parallel& parallel,
                     std::vector<TunedMatMul>& tuned) {
  const Parallel::Awake awake(parallel);  // as plans are timed
  const double start = SteadySeconds();
  const std::function<bool()> stop = StopOf(monitor);
  constexpr absl::string_view kTask = "tuning";
  // What the others of a region run with.
  const Tunings* const before = parallel.tunings();
  Tunings known = before != nullptr ? *before : Tunings();
  parallel.set_tunings(&known);
  const absl::Cleanup restore = [&] { parallel.set_tunings(before); };
  absl::Status kept;
  std::map<std::vector<WeightsShape>, ColdWeights> weights;
  double preparing = 0;
  for (size_t i = 0; i < matmuls.size(); ++i) {
    if (monitor.stopped()) return absl::CancelledError();
    const TunableMatMul& matmul = matmuls[i];
    monitor.OnProgress(kTask, i, matmuls.size(), NameOf(matmul));
    const auto fail = [&matmul](const absl::Status& status) {
      if (absl::IsCancelled(status)) return status;
      return absl::Status(status.code(),
                          absl::StrCat(NameOf(matmul), ": ", status.message()));
    };
    const double packing = SteadySeconds();
    for (auto it = weights.begin(); it != weights.end();) {
      const bool needed = absl::c_any_of(matmul.regions, [&it](const auto& r) {
        return r.weights == it->first;
      });
      it = needed ? std::next(it) : weights.erase(it);
    }
    std::vector<TuningRegion> regions;
    for (const TunableMatMul::Region& region : matmul.regions) {
      if (weights.count(region.weights) == 0) {
        auto cold = ColdWeights::Make(region.weights, options.model_bytes,
                                      parallel, stop);
        if (!cold.ok()) return fail(cold.status());
        weights.emplace(region.weights, *std::move(cold));
      }
      regions.push_back({&weights.at(region.weights), region.places});
    }
    preparing += SteadySeconds() - packing;
    const double spent = SteadySeconds() - start - preparing;
    const double share = std::max(0.0, options.seconds - spent) /
                         static_cast<double>(matmuls.size() - i);
    const auto result = TuneMatMul(matmul.key.strategy, matmul.m, regions,
                                   share, parallel, stop);
    if (!result.ok()) return fail(result.status());
    known.Set(matmul.key, result->best);
    tuned.push_back({matmul, *result});
    kept = file.Keep(matmul.key, result->best);
  }
  monitor.OnProgress(kTask, matmuls.size(), matmuls.size(), "");
  return kept;
}

}  // namespace ulpscope
