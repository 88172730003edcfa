#include "explorer/diagnosis/diagnosis.h"

#include <algorithm>
#include <cstddef>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "explorer/diagnosis/alignment.h"
#include "explorer/diagnosis/archived_diagnosis.h"
#include "explorer/diagnosis/attempt.h"
#include "explorer/diagnosis/belief.h"
#include "explorer/diagnosis/causes.h"
#include "explorer/diagnosis/describe.h"
#include "explorer/diagnosis/error_rows.h"
#include "explorer/diagnosis/free_runs.h"
#include "explorer/diagnosis/nonfinite.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/replay.h"
#include "explorer/diagnosis/results.h"
#include "explorer/diagnosis/rounding_causes.h"
#include "explorer/diagnosis/search.h"
#include "explorer/diagnosis/traced_values.h"
#include "explorer/error/kept.h"
#include "explorer/error/run.h"
#include "model/architecture/cell.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/weights.h"

namespace ulpscope {
namespace {

// Of a step, in the progress bar.
constexpr size_t kStepParts = 100;

std::optional<double> ShareIdentical(const Residual& r) {
  if (r.elements == 0) return std::nullopt;
  return static_cast<double>(r.identical) / static_cast<double>(r.elements);
}

// All that is known before anything is measured, and is not kept.
void Begin(const Plan& plan, const ReferenceTrace& trace, Diagnosis& d) {
  d.plan = plan.Text();
  d.tokens = trace.tokens;
  d.tokens_are_traces = trace.has_tokens;
  d.not_measured = trace.not_measured;
  d.positions = trace.tokens.size();
  d.num_layers = plan.num_layers();
}

Subject SubjectOfDiagnosis(const Run& run, const Plan& plan,
                           const ReferenceTrace& trace, bool explain_rounding) {
  Subject subject =
      SubjectOf("diagnosis", run, trace.tokens, {{"plan", &plan}});
  if (run.kept == nullptr) return subject;
  subject.version = kDiagnosisVersion;
  subject.is_conclusion = true;
  subject.facts.emplace_back("trace", FingerprintOf(trace));
  subject.facts.emplace_back("explain_rounding",
                             absl::StrCat(explain_rounding));
  // Weights that take more are not tried.
  subject.facts.emplace_back("memory", absl::StrCat(run.memory));
  return subject;
}

class Diagnosing {
 public:
  Diagnosing(const Run& run, const Checkpoint& checkpoint, const Plan& plan,
             const ReferenceTrace& trace, bool explain_rounding)
      : weights_(run.weights),
        plan_(plan),
        trace_(trace),
        explain_rounding_(explain_rounding),
        tokens_(trace.tokens),
        setting_{tokens_, run.memory, run.monitor,
                 [this](double share, absl::string_view what) {
                   ShowProgress(share, what);
                 },
                 run.parallel},
        sets_(run, checkpoint) {}

  absl::StatusOr<Diagnosis> Make(
      const std::function<void(const Diagnosis&)>& on_stage) {
    Begin(plan_, trace_, d_);
    const struct {
      absl::string_view name;
      absl::Status (Diagnosing::*step)();
    } steps[] = {
        {"the alignment", &Diagnosing::AlignTrace},
        {"the hypotheses", &Diagnosing::Search},
        {"the free runs", &Diagnosing::CompareRuns},
        {"the causes", &Diagnosing::NameCauses},
        {"the descriptions", &Diagnosing::Describe},
        {"the table of errors", &Diagnosing::MakeRows},
        {"the rounding's attribution", &Diagnosing::ExplainRounding},
    };
    num_steps_ = std::size(steps);
    for (const auto& step : steps) {
      const absl::Status status = (this->*step.step)();
      if (absl::IsCancelled(status)) {
        d_.stopped_in = std::string(step.name);
        break;
      }
      if (!status.ok()) return status;
      share_ = 0;
      if (++steps_done_ == num_steps_ || !on_stage) continue;
      d_.stopped_in = std::string(steps[steps_done_].name);
      on_stage(d_);
      d_.stopped_in.clear();
    }
    if (d_.stopped_in.empty()) {
      setting_.monitor.OnProgress("diagnosis", 1, 1, "");
    }
    SortCauses();
    return std::move(d_);
  }

 private:
  // A step makes several runs, each from 0 to 1.
  void ShowProgress(double share, absl::string_view what) {
    share_ = std::max(share_, share);
    const double parts = static_cast<double>(kStepParts) * share_;
    const size_t total = num_steps_ * kStepParts;
    const size_t done = steps_done_ * kStepParts + static_cast<size_t>(parts);
    setting_.monitor.OnProgress("diagnosis", std::min(done, total - 1), total,
                                what);
  }

  absl::Status AlignTrace() {
    auto values = TracedValues::Of(trace_, setting_.monitor, setting_.parallel);
    if (!values.ok()) return values.status();
    values_.emplace(*std::move(values));
    auto alignment = Align(setting_, weights_, *values_);
    if (!alignment.ok()) return alignment.status();
    d_.alignment = *std::move(alignment);
    // With the tokens that were run, all else can still be compared.
    for (const Alignment::OtherToken& other : d_.alignment.other_tokens) {
      if (other.found >= 0) tokens_[other.position] = other.found;
    }
    return absl::OkStatus();
  }

  // The reading of the alignment; if it leaves something unexplained, the
  // others that are open.
  absl::Status Search() {
    const Alignment& alignment = d_.alignment;
    std::vector<Alignment::Reading> readings = {
        {alignment.state_shift, alignment.last_state_normed}};
    readings.insert(readings.end(), alignment.others.begin(),
                    alignment.others.end());
    for (const Alignment::Reading& reading : readings) {
      auto attempt =
          TryReading(setting_, sets_, *values_, reading, alignment.states_are);
      if (!attempt.ok()) return attempt.status();
      if (attempt_.aligned == nullptr || IsBetter(*attempt, attempt_)) {
        attempt_ = *std::move(attempt);
      }
      if (IsExplained(attempt_.search.after)) break;
    }
    d_.alignment.state_shift = attempt_.reading.state_shift;
    d_.alignment.last_state_normed = attempt_.reading.last_state_normed;
    d_.tried = attempt_.search.tried;
    FillArithmetic();
    FillPoints();
    return absl::OkStatus();
  }

  void FillArithmetic() {
    const Belief& belief = attempt_.search.belief;
    d_.arithmetic = attempt_.arithmetic;
    d_.arithmetic.name = belief.preset;
    d_.arithmetic.plan = belief.plan.Text();
    d_.arithmetic.stored_rounded = belief.stored_rounded;
    if (attempt_.ratio_with_causes.has_value()) {
      d_.arithmetic.run_ratio = attempt_.ratio_with_causes->of_points;
    }
    d_.arithmetic.agrees_with_run = attempt_.agrees_with_run();
    for (const Point& point : attempt_.aligned->points()) {
      if (point.tells_format()) ++d_.arithmetic.points_that_tell;
    }
  }

  void FillPoints() {
    d_.finite_values = CountFinite(*attempt_.aligned);
    for (size_t i = 0; i < attempt_.aligned->points().size(); ++i) {
      const Point& point = attempt_.aligned->points()[i];
      const PointFit& before = attempt_.search.before.points[i];
      const PointFit& after = attempt_.search.after.points[i];
      const Residual& r = attempt_.search.before.residuals[i];
      const Residual& with = attempt_.search.after.residuals[i];
      PointResult result;
      result.layer = point.layer;
      result.op = point.op;
      result.name = point.tensor->name;
      result.stored_as = point.tensor->stored_as;
      if (point.any_finite) result.held_by = point.held_by;
      result.elements = r.elements;
      result.judged = point.judged;
      if (point.judged) {
        result.allowed = before.allowed;
        if (r.elements > 0) result.distance = before.distance;
        if (with.elements > 0) result.distance_with_causes = after.distance;
      }
      result.without_outstanding = before.usual;
      result.tolerance = before.tolerance;
      result.identical = ShareIdentical(r);
      result.identical_with_causes = ShareIdentical(with);
      result.differs = !before.explained;
      result.still_differs = !after.explained;
      result.not_reproduced = attempt_.search.after.bit_for_bit &&
                              after.explained && !after.reproduced;
      if (result.not_reproduced && !d_.first_not_reproduced.has_value()) {
        d_.first_not_reproduced = i;
      }
      result.nonfinite = point.nonfinite;
      result.nan = point.nan;
      Count(point.nonfinite, i, d_.trace_nonfinite);
      if (point.any_finite) result.closest = attempt_.closest[i];
      if (result.differs && !d_.first_difference.has_value()) {
        d_.first_difference = i;
      }
      // What is not finite on one side alone is no other way to compute it.
      result.without_effect = result.still_differs && with.nonfinite == 0 &&
                              attempt_.is_without_effect();
      std::optional<size_t>& first_left = result.without_effect
                                              ? d_.first_without_effect
                                              : d_.first_unexplained;
      if (result.still_differs && !first_left.has_value()) first_left = i;
      d_.points.push_back(std::move(result));
    }
  }

  absl::Status CompareRuns() {
    auto runs = CompareFreeRuns(setting_, sets_, plan_, *attempt_.aligned,
                                attempt_.search.belief);
    if (!runs.ok()) return runs.status();
    d_.states = std::move(runs->states);
    d_.ours_nonfinite = runs->ours_nonfinite;
    d_.nearer_to_oracle = runs->nearer_to_oracle;
    return absl::OkStatus();
  }

  absl::Status NameCauses() {
    auto causes = ComparisonsOf(setting_, sets_, *values_, *attempt_.aligned,
                                attempt_.search.belief, d_.alignment);
    if (!causes.ok()) return causes.status();
    d_.causes = *std::move(causes);
    d_.causes.insert(d_.causes.end(), attempt_.causes.begin(),
                     attempt_.causes.end());
    return absl::OkStatus();
  }

  absl::Status Describe() {
    const AlignedTrace& aligned = *attempt_.aligned;
    const Belief& belief = attempt_.search.belief;
    auto theirs = FirstNonFiniteOf(setting_, sets_, aligned, belief);
    if (!theirs.ok()) return theirs.status();
    d_.trace_first_nonfinite = *std::move(theirs);
    if (d_.ours_nonfinite.has_value()) {
      auto ours = FirstNonFiniteOf(setting_, sets_, plan_);
      if (!ours.ok()) return ours.status();
      d_.ours_first_nonfinite = *std::move(ours);
    }
    auto described =
        DescribePoints(setting_, sets_, aligned, belief, d_.points);
    if (!described.ok()) return described.status();
    d_.descriptions = *std::move(described);
    return absl::OkStatus();
  }

  absl::Status MakeRows() {
    std::set<size_t> differing;
    for (const PointResult& point : d_.points) {
      if (!point.differs) continue;
      differing.insert(OrderOf({point.layer, point.op}, d_.num_layers).first);
    }
    auto rows = MakeErrorRows(setting_, weights_, plan_, trace_,
                              *attempt_.aligned, differing);
    if (!rows.ok()) return rows.status();
    d_.rows = *std::move(rows);
    return absl::OkStatus();
  }

  // Of a 16-bit arithmetic and nothing else: why its rounding comes to what it
  // does.
  absl::Status ExplainRounding() {
    const bool another_way = absl::c_any_of(d_.causes, [](const auto& cause) {
      return cause.kind == CauseKind::kEquivalent;
    });
    if (!explain_rounding_ || !d_.explained() || d_.differs() || another_way) {
      return absl::OkStatus();
    }
    auto rounding = AttributeRounding(setting_, sets_, *attempt_.aligned,
                                      attempt_.search, d_.states);
    if (!rounding.ok()) return rounding.status();
    d_.rounding = std::move(rounding->verdict);
    d_.causes.insert(d_.causes.end(), rounding->causes.begin(),
                     rounding->causes.end());
    return absl::OkStatus();
  }

  // As their first points run.
  void SortCauses() {
    const auto order = [this](const DiagnosedCause& cause) {
      return OrderOf({cause.first_layer, cause.first_op}, d_.num_layers);
    };
    absl::c_stable_sort(d_.causes,
                        [&](const DiagnosedCause& a, const DiagnosedCause& b) {
                          return order(a) < order(b);
                        });
  }

  const Weights& weights_;
  const Plan& plan_;
  const ReferenceTrace& trace_;
  const bool explain_rounding_;
  std::vector<int32_t> tokens_;  // that the trace was run on
  const ReplaySetting setting_;
  WeightSets sets_;
  std::optional<TracedValues> values_;
  Attempt attempt_;  // that was taken
  Diagnosis d_;
  size_t num_steps_ = 0;
  size_t steps_done_ = 0;
  double share_ = 0;  // of the step's runs
};

}  // namespace

absl::StatusOr<Diagnosis> Diagnose(
    const Run& run, const Checkpoint& checkpoint, const Plan& plan,
    const ReferenceTrace& trace, bool explain_rounding,
    const std::function<void(const Diagnosis&)>& on_stage) {
  if (plan.num_layers() != run.weights.layers.size()) {
    return absl::InvalidArgumentError("a plan for another number of layers");
  }
  if (trace.tokens.empty() || trace.empty()) {
    return absl::InvalidArgumentError("a trace without tokens or tensors");
  }
  const Subject subject =
      SubjectOfDiagnosis(run, plan, trace, explain_rounding);
  const auto is_whole = [&](const Diagnosis& diagnosis) {
    return IsWhole(diagnosis, plan.num_layers(), trace.tokens.size());
  };
  Diagnosis kept;
  if (Recall(run.kept, subject, kept, is_whole)) {
    Begin(plan, trace, kept);
    return kept;
  }
  auto made =
      Diagnosing(run, checkpoint, plan, trace, explain_rounding).Make(on_stage);
  if (made.ok() && made->stopped_in.empty()) {
    Retain(run.kept, subject, *made);
  }
  return made;
}

}  // namespace ulpscope
