#include "explorer/report/tune_results.h"

#include <cstddef>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "explorer/error/evaluation.h"
#include "explorer/report/error_fields.h"
#include "explorer/report/frame.h"
#include "explorer/report/markdown.h"
#include "explorer/results/schema.h"
#include "explorer/tuning/proof.h"
#include "explorer/tuning/tune.h"
#include "kernels/ops/tuning.h"

namespace ulpscope {
namespace {

std::string Shape(size_t m, size_t n, size_t k) {
  return absl::StrFormat("%dx%dx%d", m, n, k);
}

Fields<TunedMatMul> TuningFields() {
  using T = TunedMatMul;
  const auto n = Unit::kNone;
  const auto s = Unit::kSeconds;
  return {
      {"strategy", "Strategy", n, "Of the MatMul.",
       [](const T& t) { return t.matmul.key.strategy.name(); }},
      {"weights", "Weights", n, "The type that they are stored in.",
       [](const T& t) { return t.matmul.key.weights.name(); }},
      {"shape", "m x n x k", n, "Of the first MatMul that it is of.",
       [](const T& t) { return Shape(t.matmul.m, t.matmul.n, t.matmul.k); }},
      {"shape_class", "Shape class", n, "Shapes that share the tuning.",
       [](const T& t) {
         const ShapeClass& shape = t.matmul.key.shape;
         return Shape(shape.m, shape.n, shape.k);
       }},
      {"ops", "Ops", n, "That compute it.",
       [](const T& t) { return t.matmul.ops; }},
      {"default_seconds", "Default (s)", s, "Median without a tuning.",
       [](const T& t) { return t.result.default_seconds; }},
      {"best_seconds", "Best (s)", s, "Median of what was chosen.",
       [](const T& t) { return t.result.best_seconds; }},
      {"worst_seconds", "Worst (s)", s, "Median of the slowest one tried.",
       [](const T& t) { return t.result.worst_seconds; }},
      {"default_by_best", "Default/best", Unit::kRatio, "What tuning gains.",
       [](const T& t) {
         return t.result.default_seconds / t.result.best_seconds;
       }},
      {"worst_by_best", "Worst/best", Unit::kRatio, "What it can cost.",
       [](const T& t) {
         return t.result.worst_seconds / t.result.best_seconds;
       }},
      {"tried", "Tried", n, "Tunings that were timed.",
       [](const T& t) { return t.result.candidates; }},
      {"complete", "All", n,
       "Whether all parameters were tried before the time was over.",
       [](const T& t) { return t.result.complete; }},
      {"wrong", "Wrong", n,
       "Tunings outside of the strategy's error bound, which do not count.",
       [](const T& t) { return t.result.wrong; }},
      {"chosen", "Chosen", n, "The tuning.",
       [](const T& t) { return TuningText(t.result.best); }},
      {"kept", "Kept", n,
       "Whether the tuning is kept: not if it serves no phase of a plan that "
       "gains, as proofs have it; the default is kept instead.",
       &T::kept}};
}

constexpr char kPhaseAbout[] =
    "\"prefill\" (the prompt) or \"decode\" (one token after it).";

Fields<Proof> ProofFields() {
  using P = Proof;
  const auto n = Unit::kNone;
  Fields<P> fields = {
      {"plan", "Plan", n, "Canonical text of the plan.", &P::plan},
      {"phase", "Phase", n, kPhaseAbout,
       [](const P& p) { return PhaseName(p.phase); }}};
  AppendSpread(fields, "tuned_tokens_per_second", "Tuned tok/s",
               Unit::kTokensPerSecond,
               "Speed with all tunings that are known and found",
               [](const P& p) { return p.tuned_rate; });
  AppendSpread(fields, "default_tokens_per_second", "Default tok/s",
               Unit::kTokensPerSecond, "Speed without any tuning",
               [](const P& p) { return p.default_rate; });
  AppendSpread(fields, "speedup", "Default/tuned", Unit::kRatio,
               "Seconds without the tunings by seconds with them, pair by pair",
               [](const P& p) { return p.speedup; });
  fields.emplace_back("runs", "Runs", n, "That were timed with the tunings.",
                      [](const P& p) { return p.tuned_seconds.size(); });
  fields.emplace_back(
      "gains", "Gains", n,
      "Whether the tunings gain beyond the noise; null if that was stopped.",
      &P::gains);
  return fields;
}

// A run of a proof.
struct ProofRun {
  const Proof* proof;
  const char* kind;
  size_t run;
  double seconds;
};

Fields<ProofRun> ProofRunFields() {
  using R = ProofRun;
  const auto n = Unit::kNone;
  return {{"plan", "Plan", n, "Canonical text of the plan.",
           [](const R& r) { return r.proof->plan; }},
          {"phase", "Phase", n, kPhaseAbout,
           [](const R& r) { return PhaseName(r.proof->phase); }},
          {"kind", "Kind", n,
           "\"tuned\" with the tunings, \"default\" without any.",
           [](const R& r) { return std::string(r.kind); }},
          {"run", "Run", n,
           "From 1, in the order of time; tuned and default are pairs.",
           [](const R& r) { return r.run; }},
          {"seconds", "Seconds", Unit::kSeconds, "What it took.",
           [](const R& r) { return r.seconds; }}};
}

}  // namespace

Results TuneResults(const RunInfo& info, const TuneOutcome& outcome) {
  std::vector<ProofRun> runs;
  for (const Proof& proof : outcome.proofs) {
    const auto add = [&](const char* kind, const std::vector<double>& all) {
      for (size_t i = 0; i < all.size(); ++i) {
        runs.push_back({&proof, kind, i + 1, all[i]});
      }
    };
    add("tuned", proof.tuned_seconds);
    add("default", proof.default_seconds);
  }
  return {"tune",
          {ContextTable(info, outcome.stopped_in),
           MakeTable("tunings", "Every MatMul that was tuned.", TuningFields(),
                     outcome.tuned),
           MakeTable("proofs",
                     "The model with the tunings and without: of plans that "
                     "run the same MatMuls, the first.",
                     ProofFields(), outcome.proofs),
           MakeTable("proof_timings", "Every run that was timed for a proof.",
                     ProofRunFields(), runs)}};
}

std::string TuneReport(const RunInfo& info, const Results& results) {
  const Table& context = results.tables[0];
  const Value& stopped = context.rows[0][context.Find("stopped_in")];
  const auto* const stopped_in = std::get_if<std::string>(&stopped);
  std::string text =
      ReportHead("ulpscope: tuned kernels", info, ".",
                 stopped_in != nullptr ? *stopped_in : "") +
      "\n" +
      Markdown(results.Find("tunings"),
               {"strategy", "weights", "shape", "shape_class", "ops",
                "default_seconds", "best_seconds", "worst_seconds",
                "default_by_best", "worst_by_best", "tried", "complete",
                "wrong", "chosen", "kept"}) +
      "\nAll: `*` where all parameters were tried before the share of "
      "--timing_seconds was over. Wrong: tunings outside of the strategy's "
      "error bound, which do not count. Kept: `*` but where the tuning serves "
      "nothing that gains below.\n";
  const Table& proofs = results.Find("proofs");
  if (!proofs.rows.empty()) {
    text += "\nThe model with the tunings and without, in turn:\n\n" +
            Markdown(proofs,
                     {"phase", "plan",
                      "tuned_tokens_per_second±tuned_tokens_per_second_half_"
                      "iqr",
                      "default_tokens_per_second±default_tokens_per_second_"
                      "half_iqr",
                      "speedup±speedup_half_iqr", "runs", "gains"}) +
            "\nGains: `*` where the runs with the tunings are faster by more "
            "than the noise. Of plans that run the same MatMuls, the first.\n";
  }
  return text + ReportTail(info);
}

}  // namespace ulpscope
