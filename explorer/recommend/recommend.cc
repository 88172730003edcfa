#include "explorer/recommend/recommend.h"

#include <cmath>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "explorer/error/baseline.h"
#include "explorer/error/budget.h"
#include "explorer/error/evaluation.h"
#include "explorer/error/run.h"
#include "explorer/recommend/clock.h"
#include "explorer/recommend/finalists.h"
#include "explorer/recommend/levels.h"
#include "explorer/recommend/plan_search.h"
#include "explorer/recommend/recommendation.h"
#include "explorer/recommend/space.h"
#include "model/architecture/plan.h"

namespace ulpscope {
namespace {

// Entries of which each is undone, in one pass.
constexpr size_t kMostChanges = 24;

class Recommender {
 public:
  using OnStage = std::function<void(const Recommendation&)>;

  Recommender(const Run& run, const RecommendOptions& options, PlanClock& clock,
              const OnStage& on_stage)
      : run_(run),
        options_(options),
        clock_(clock),
        on_stage_(on_stage),
        num_layers_(run.weights.layers.size()),
        f32_(num_layers_),
        reference_(options.against.value_or(Plan::Oracle(num_layers_))) {}

  absl::StatusOr<Recommendation> Find() {
    const absl::Status status = Stages();
    if (absl::IsCancelled(status)) {
      result_.stopped_in = std::string(stage_);
      if (result_.verdict == RecommendVerdict::kUnfinished)
        JudgeUntimed(result_);
      return std::move(result_);
    }
    if (!status.ok()) return status;
    return std::move(result_);
  }

 private:
  // What comes next, after what there is.
  void Begin(absl::string_view stage) {
    stage_ = stage;
    if (!on_stage_) return;
    Recommendation part = result_;
    part.stopped_in = std::string(stage);
    if (part.verdict == RecommendVerdict::kUnfinished) JudgeUntimed(part);
    on_stage_(part);
  }

  absl::Status Stages() {
    model_.axes = SearchAxesOf(run_.weights.config, options_.axes,
                               options_.budget.metric);
    if (model_.axes.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("axes: expected one that changes ",
                       MetricName(options_.budget.metric)));
    }
    absl::Status status = WithBaseline(
        options_.text,
        [&](const Baseline& baseline) { return Search(baseline); });
    if (!status.ok()) return status;
    Begin("the confirmation on the other text");
    status = WithBaseline(options_.other_text, [&](const Baseline& baseline) {
      return Confirm(baseline);
    });
    if (!status.ok()) return status;
    Begin("the timing of the finalists");
    status = TimeFinalists();
    if (!status.ok()) return status;
    Begin("what the plan gives up");
    status = WithBaseline(options_.text, [&](const Baseline& baseline) {
      return FindChanges(baseline);
    });
    if (!status.ok()) return status;
    return MeasureLayers();
  }

  // Calls `use` with the runs of the reference and of f32 on a text; at first
  // without, as all that it takes may be kept.
  absl::Status WithBaseline(
      const Window& text,
      const std::function<absl::Status(const Baseline&)>& use) {
    if (run_.kept != nullptr) {
      const Recommendation before = result_;
      const CostModel model = model_;
      const absl::Status status =
          use(BaselineOf(run_, f32_, reference_, text.tokens));
      if (!absl::IsNotFound(status)) return status;
      result_ = before;
      model_ = model;
    }
    const auto baseline = MakeBaseline(run_, f32_, reference_, text.tokens);
    if (!baseline.ok()) return baseline.status();
    if (!baseline->stopped_in.empty()) {
      return absl::CancelledError(baseline->stopped_in);
    }
    return use(*baseline);
  }

  BudgetMeter MeterOf(const Baseline& baseline, absl::string_view task) {
    return BudgetMeter(run_.Without(baseline.bytes), baseline,
                       options_.budget.metric, task, [this] { return what_; });
  }

  absl::Status Search(const Baseline& baseline) {
    BudgetMeter meter = MeterOf(baseline, "recommend: search");
    Begin("what strategies cost");
    what_ = "strategies";
    absl::Status status =
        FindLevels(options_, run_.monitor, meter, clock_, num_layers_, model_,
                   result_.time_noise, result_.levels);
    if (!status.ok()) return status;
    Begin("the search");
    what_ = "plans";
    PlanSearch search({run_.weights.config, options_.budget, model_,
                       options_.least_gain, options_.search_seconds},
                      meter);
    status = search.Run();
    if (!status.ok() && !absl::IsCancelled(status)) return status;
    result_.measured = search.plans().size();
    result_.passes = meter.num_passes();
    result_.out_of_time = search.out_of_time();
    result_.complete = search.complete();
    // Single strategies everywhere are what everybody would try first.
    std::vector<SearchedPlan> plans = search.plans();
    const bool has_f32 = absl::c_any_of(
        plans, [&](const SearchedPlan& plan) { return plan.plan == f32_; });
    if (status.ok() && !has_f32) {
      const auto error = meter.Measure({f32_});
      if (!error.ok()) return error.status();
      plans.push_back({f32_, model_.f32_seconds, (*error)[0]});
    }
    std::vector<size_t> chosen = FinalistsOf(plans, options_.budget);
    for (size_t i = 0; i < plans.size(); ++i) {
      if (!(plans[i].plan == f32_)) continue;
      if (!absl::c_linear_search(chosen, i)) chosen.push_back(i);
    }
    for (const size_t i : chosen) {
      Finalist& finalist = result_.finalists.emplace_back();
      finalist.plan = plans[i].plan;
      finalist.predicted_ratio = plans[i].seconds / model_.f32_seconds;
      finalist.error = plans[i].error;
      finalist.keeps = plans[i].error <= options_.budget.limit;
      if (finalist.plan == f32_) result_.f32 = result_.finalists.size() - 1;
    }
    return status;
  }

  absl::Status Confirm(const Baseline& baseline) {
    BudgetMeter meter = MeterOf(baseline, "recommend: confirmation");
    what_ = "finalists";
    std::vector<Plan> plans;
    for (const Finalist& finalist : result_.finalists) {
      plans.push_back(finalist.plan);
    }
    const auto errors = meter.Measure(plans);
    if (!errors.ok()) return errors.status();
    for (size_t i = 0; i < plans.size(); ++i) {
      Finalist& finalist = result_.finalists[i];
      finalist.other_error = (*errors)[i];
      finalist.confirmed = (*errors)[i] <= options_.budget.limit;
    }
    return absl::OkStatus();
  }

  absl::Status TimeFinalists() {
    std::vector<Plan> plans;
    for (const Finalist& finalist : result_.finalists) {
      plans.push_back(finalist.plan);
    }
    const auto timed =
        TimeInRounds(clock_, run_.monitor, "timing finalists", plans,
                     options_.phase, {3, 20, options_.timing_seconds / 2});
    if (!timed.ok()) return timed.status();
    JudgeFinalists(*timed, options_.text.tokens.size(), result_);
    return run_.monitor.stopped() ? absl::CancelledError("in its rounds")
                                  : absl::OkStatus();
  }

  absl::Status FindChanges(const Baseline& baseline) {
    const Plan& plan = result_.finalists[*result_.chosen].plan;
    std::vector<PlanDifference> differences =
        DifferencesOf(run_.weights.config, plan, f32_);
    if (differences.empty()) return absl::OkStatus();
    const double seconds = model_.SecondsOf(run_.weights.config, plan);
    std::vector<Plan> without;
    for (const PlanDifference& difference : differences) {
      without.push_back(WithCells(plan, difference.cells, Strategy()));
      PlanChange& change = result_.changes.emplace_back();
      change.entry = difference.entry;
      change.predicted_ratio =
          model_.SecondsOf(run_.weights.config, without.back()) / seconds;
    }
    std::vector<size_t> order(without.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    // Those that move the time the most, either way.
    const auto moved = [&](size_t i) {
      return std::fabs(result_.changes[i].predicted_ratio - 1);
    };
    absl::c_stable_sort(
        order, [&](size_t a, size_t b) { return moved(a) > moved(b); });
    if (order.size() > kMostChanges) order.resize(kMostChanges);
    std::vector<Plan> run;
    std::vector<PlanChange> changes;
    for (const size_t i : order) {
      run.push_back(without[i]);
      changes.push_back(result_.changes[i]);
    }
    result_.changes.clear();
    BudgetMeter meter = MeterOf(baseline, "recommend: what is given up");
    what_ = "entries";
    const auto errors = meter.Measure(run);
    if (!errors.ok()) return errors.status();
    for (size_t i = 0; i < run.size(); ++i) {
      changes[i].error_without = (*errors)[i];
    }
    result_.changes = std::move(changes);
    return absl::OkStatus();
  }

  // Layer by layer, on both texts.
  absl::Status MeasureLayers() {
    std::vector<Plan> plans = {result_.finalists[*result_.chosen].plan};
    if (!(plans[0] == f32_)) plans.push_back(f32_);
    const size_t count = plans.size();
    plans.push_back(reference_);
    const std::vector<Window> windows = {options_.text, options_.other_text};
    std::vector<ErrorQuery> queries;
    for (size_t w = 0; w < windows.size(); ++w) {
      for (size_t p = 0; p < count; ++p) queries.push_back({p, count, w});
    }
    auto errors = MeasureErrors(run_, plans, windows, queries);
    if (!errors.ok()) return errors.status();
    for (size_t q = 0; q < queries.size(); ++q) {
      result_.layers.push_back({plans[queries[q].plan].Text(),
                                queries[q].window == 0 ? "search" : "other",
                                std::move((*errors)[q])});
    }
    return run_.monitor.stopped() ? absl::CancelledError("in its layers")
                                  : absl::OkStatus();
  }

  const Run run_;
  const RecommendOptions& options_;
  PlanClock& clock_;
  const OnStage& on_stage_;
  const size_t num_layers_;
  const Plan f32_, reference_;
  CostModel model_;
  std::string what_;
  absl::string_view stage_ = "the reference's run";
  Recommendation result_;
};

}  // namespace

absl::StatusOr<Recommendation> Recommend(
    const Run& run, const RecommendOptions& options, PlanClock& clock,
    const std::function<void(const Recommendation&)>& on_stage) {
  return Recommender(run, options, clock, on_stage).Find();
}

}  // namespace ulpscope
