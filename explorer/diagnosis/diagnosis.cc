#include "explorer/diagnosis/diagnosis.h"

#include <algorithm>
#include <cstddef>
#include <functional>
#include <memory>
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
#include "explorer/diagnosis/arithmetic.h"
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

// Hypotheses that an unlikelier arithmetic may need to explain everything.
constexpr size_t kFewCauses = 2;
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
      Attempt attempt;
      attempt.reading = reading;
      const absl::Status status = Try(attempt);
      if (!status.ok()) return status;
      if (attempt_.aligned == nullptr || IsBetter(attempt, attempt_)) {
        attempt_ = std::move(attempt);
      }
      if (IsExplained(attempt_.search.after)) break;
    }
    d_.alignment.state_shift = attempt_.reading.state_shift;
    d_.alignment.last_state_normed = attempt_.reading.last_state_normed;
    const Belief& belief = attempt_.search.belief;
    d_.tried = attempt_.search.tried;
    d_.arithmetic = attempt_.arithmetic;
    d_.arithmetic.name = belief.preset;
    d_.arithmetic.plan = belief.plan.Text();
    d_.arithmetic.stored_rounded = belief.stored_rounded;
    for (const Point& point : attempt_.aligned->points()) {
      if (point.tells_format()) ++d_.arithmetic.points_that_tell;
    }
    FillPoints();
    return absl::OkStatus();
  }

  // What comes of one reading of the trace.
  struct Attempt {
    Alignment::Reading reading;
    std::unique_ptr<AlignedTrace> aligned;
    Arithmetic arithmetic;
    std::vector<std::string> closest;
    SearchResult search;
  };

  // Values that were computed in f32 and kept in 16 bits, but for one group of
  // ops after the other that runs in 16 bits: that is the 16-bit arithmetic.
  static bool IsPatchwork(const Belief& belief) {
    return belief.stored_rounded &&
           absl::c_count_if(belief.accepted, [](const Hypothesis& hypothesis) {
             return !hypothesis.plan_entry.empty() && hypothesis.coarser;
           }) >= 2;
  }

  static bool IsExplained(const Fit& fit) {
    return fit.explained == fit.points.size();
  }

  static bool IsBetter(const Attempt& a, const Attempt& b) {
    // The points are the same, but for their places.
    const size_t left_a =
        a.search.after.points.size() - a.search.after.explained;
    const size_t left_b =
        b.search.after.points.size() - b.search.after.explained;
    if (left_a != left_b) return left_a < left_b;
    return a.search.after.mean_log2 < b.search.after.mean_log2;
  }

  // Under the likeliest arithmetic; if that leaves something unexplained, under
  // the others that could have made the values, of which one is taken if it
  // explains everything.
  absl::Status Try(Attempt& attempt) {
    attempt.aligned = std::make_unique<AlignedTrace>(
        *values_, d_.num_layers, attempt.reading.state_shift,
        attempt.reading.last_state_normed);
    const AlignedTrace& aligned = *attempt.aligned;
    auto found = FindArithmetic(setting_, sets_, aligned, {});
    if (!found.ok()) return found.status();
    attempt.arithmetic = found->arithmetic;
    attempt.closest = found->closest;
    std::vector<Belief> beliefs = {found->belief};
    beliefs.insert(beliefs.end(), found->alternatives.begin(),
                   found->alternatives.end());
    for (const Belief& belief : beliefs) {
      auto result = SearchHypotheses(setting_, sets_, aligned, belief);
      if (!result.ok()) return result.status();
      if (IsPatchwork(result->belief) && beliefs.size() > 1) continue;
      const bool first = attempt.search.after.points.empty();
      const bool all = IsExplained(result->after);
      if (first || (all && result->belief.accepted.size() <= kFewCauses)) {
        attempt.search = *std::move(result);
      }
      if (all) break;
    }
    return LookAgain(attempt);
  }

  // A cause may have hidden what the arithmetic is.
  absl::Status LookAgain(Attempt& attempt) {
    if (attempt.search.belief.accepted.empty()) return absl::OkStatus();
    auto found = FindArithmetic(setting_, sets_, *attempt.aligned,
                                attempt.search.belief.accepted);
    if (!found.ok()) return found.status();
    if (found->belief.preset == attempt.search.belief.preset &&
        found->belief.stored_rounded == attempt.search.belief.stored_rounded) {
      return absl::OkStatus();
    }
    Belief bare = BeliefIn(found->belief.preset, d_.num_layers);
    bare.stored_rounded = found->belief.stored_rounded;
    auto result = SearchHypotheses(setting_, sets_, *attempt.aligned, bare);
    if (!result.ok()) return result.status();
    if (IsPatchwork(result->belief)) return absl::OkStatus();
    const size_t now = attempt.search.after.explained;
    if (result->after.explained > now ||
        (result->after.explained == now &&
         result->belief.accepted.size() <=
             attempt.search.belief.accepted.size() &&
         result->after.mean_log2 < attempt.search.after.mean_log2)) {
      attempt.search = *std::move(result);
    }
    return absl::OkStatus();
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
      if (result.still_differs && !d_.first_unexplained.has_value()) {
        d_.first_unexplained = i;
      }
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
    auto causes = CausesOf(setting_, sets_, *values_, *attempt_.aligned,
                           attempt_.search, d_.alignment);
    if (!causes.ok()) return causes.status();
    d_.causes = *std::move(causes);
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
    if (!explain_rounding_ || !d_.explained() || d_.differs()) {
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
