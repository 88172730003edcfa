#include "explorer/tuning/proof.h"

#include <algorithm>
#include <cstddef>
#include <set>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "explorer/error/evaluation.h"
#include "explorer/error/run.h"
#include "explorer/tuning/tune.h"
#include "kernels/ops/tuning.h"
#include "kernels/tune/tuning_search.h"
#include "model/architecture/plan.h"

namespace ulpscope {
namespace {

bool Serves(const TunableMatMul& matmul, size_t plan) {
  return absl::c_any_of(matmul.serves,
                        [plan](const auto& of) { return of.first == plan; });
}

std::vector<double> RatiosOf(const std::vector<double>& a,
                             const std::vector<double>& b) {
  std::vector<double> ratios;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    ratios.push_back(a[i] / b[i]);
  }
  return ratios;
}

void Append(const std::vector<double>& from, std::vector<double>& to) {
  to.insert(to.end(), from.begin(), from.end());
}

// A plan's two proofs.
struct ProvenPlan {
  size_t plan;
  Proof prefill, decode;
};

void Judge(double tokens, bool whole, Proof& proof) {
  proof.tuned_rate = RateOf(proof.tuned_seconds, tokens);
  proof.default_rate = RateOf(proof.default_seconds, tokens);
  const std::vector<double> ratios =
      RatiosOf(proof.tuned_seconds, proof.default_seconds);
  proof.speedup = RateOf(ratios, 1);
  if (whole) proof.gains = IsFaster(ratios);
}

absl::Status TimeRounds(const ProofOptions& options, const Tunings& tunings,
                        const TimeTuned& time, Monitor& monitor,
                        std::vector<ProvenPlan>& all) {
  constexpr absl::string_view kTask = "proving";
  const Tunings none;
  const size_t total = options.max_rounds * all.size();
  double spent = 0;
  for (size_t round = 0; round < options.max_rounds; ++round) {
    if (round >= kLeastProofRounds && spent > options.seconds) break;
    for (size_t i = 0; i < all.size(); ++i) {
      monitor.OnProgress(kTask, round * all.size() + i, total,
                         all[i].prefill.plan);
      // What runs second finds caches and clocks as the first left them.
      for (const bool with : {round % 2 == 0, round % 2 != 0}) {
        if (monitor.stopped()) return absl::CancelledError("stopped");
        TimedRun timed;
        const absl::Status status =
            time(options.plans[all[i].plan], with ? tunings : none, timed);
        spent += timed.seconds;
        auto& [plan, prefill, decode] = all[i];
        Append(timed.timing.prefill,
               with ? prefill.tuned_seconds : prefill.default_seconds);
        Append(timed.timing.decode,
               with ? decode.tuned_seconds : decode.default_seconds);
        if (!status.ok()) return status;
      }
    }
  }
  monitor.OnProgress(kTask, total, total, "");
  return absl::OkStatus();
}

}  // namespace

std::vector<size_t> DistinctPlans(const std::vector<TunableMatMul>& matmuls,
                                  size_t num_plans) {
  std::set<std::vector<std::pair<size_t, Phase>>> seen;
  std::vector<size_t> distinct;
  for (size_t plan = 0; plan < num_plans; ++plan) {
    std::vector<std::pair<size_t, Phase>> runs;
    for (size_t i = 0; i < matmuls.size(); ++i) {
      for (const Phase phase : {Phase::kPrefill, Phase::kDecode}) {
        if (matmuls[i].serves.count({plan, phase}) > 0) {
          runs.emplace_back(i, phase);
        }
      }
    }
    if (seen.insert(runs).second) distinct.push_back(plan);
  }
  return distinct;
}

absl::Status ProveTunings(const ProofOptions& options,
                          const std::vector<size_t>& plans,
                          const Tunings& tunings, const TimeTuned& time,
                          Monitor& monitor, std::vector<TunedMatMul>& tuned,
                          std::vector<Proof>& proofs) {
  std::vector<ProvenPlan> all;
  for (const size_t plan : plans) {
    if (absl::c_none_of(tuned, [plan](const TunedMatMul& t) {
          return Serves(t.matmul, plan);
        })) {
      continue;
    }
    ProvenPlan& proven = all.emplace_back();
    proven.plan = plan;
    proven.prefill.plan = proven.decode.plan = options.plans[plan].Text();
    proven.prefill.phase = Phase::kPrefill;
    proven.decode.phase = Phase::kDecode;
  }
  const absl::Status status = TimeRounds(options, tunings, time, monitor, all);
  std::set<std::pair<size_t, Phase>> gaining;
  for (auto& [plan, prefill, decode] : all) {
    Judge(static_cast<double>(options.prompt.size()), status.ok(), prefill);
    Judge(1, status.ok(), decode);
    for (const Proof* proof : {&prefill, &decode}) {
      if (proof->gains.value_or(false)) gaining.emplace(plan, proof->phase);
    }
    proofs.push_back(std::move(prefill));
    proofs.push_back(std::move(decode));
  }
  if (!status.ok()) return status;
  for (TunedMatMul& one : tuned) {
    one.kept = one.result.best == MatMulTuning() ||
               absl::c_any_of(one.matmul.serves, [&gaining](const auto& of) {
                 return gaining.count(of) > 0;
               });
  }
  return absl::OkStatus();
}

}  // namespace ulpscope
