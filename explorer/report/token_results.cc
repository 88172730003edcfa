#include "explorer/report/token_results.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "explorer/error/metrics.h"
#include "explorer/error/token_errors.h"
#include "explorer/error/token_summary.h"
#include "explorer/error/windows.h"
#include "explorer/report/error_fields.h"
#include "explorer/report/run_info.h"
#include "explorer/results/schema.h"
#include "explorer/sweep/ranking.h"
#include "explorer/sweep/sweep.h"
#include "kernels/measure/norms.h"

namespace ulpscope {
namespace {

constexpr size_t kWorstTokens = 10;  // of each of several plans
constexpr size_t kTextAround = 8;    // tokens on either side

struct WindowRow {
  const Window* window;
  size_t number;
  std::optional<std::vector<size_t>> massive;
};

struct WindowErrors {
  const PlanResult* plan;
  size_t window;
  const TraceMetrics* metrics;
};

struct Summary {
  const PlanResult* plan;
  const char* positions;
  TokenSummary of;
};

struct Percentile {
  const Summary* summary;
  const TokenPercentile* of;
};

struct TokenRow {
  const PlanResult* plan;
  const Window* window;
  size_t window_number, position;
  const TokenErrors* errors;
  double squared_error;  // of the plan's final hidden states, all windows
  std::optional<std::string> text;
};

const char kPlanAbout[] = "The plan's canonical text.";
const char kWindowAbout[] = "Of the table `windows`, from 1.";
const char kPositionsAbout[] =
    "\"all\" that are scored, or \"ordinary\": those without a massive "
    "activation.";

// The mean, and its standard errors.
template <typename Row, typename Of>
void AppendEstimate(Fields<Row>& fields, const std::string& name,
                    const std::string& title, Unit unit,
                    const std::string& about, bool optional, Of of) {
  const auto add = [&](const std::string& suffix, const std::string& what,
                       const std::string& heading, auto get) {
    Field<Row> field(
        name + suffix, heading, unit, about + what, [of, get](const Row& row) {
          const Estimate* estimate = of(row);
          return estimate == nullptr ? std::nullopt : get(*estimate);
        });
    if (suffix.empty()) field.column.optional = optional;
    fields.push_back(std::move(field));
  };
  add("", ", the mean.", title,
      [](const Estimate& e) { return std::optional<double>(e.mean); });
  add("_token_error",
      ": standard error of the mean, if every token were a draw of its own.",
      "", [](const Estimate& e) { return e.token_error; });
  add("_replicate_error",
      ": the same over prompts, or over the windows of a single one.", "",
      [](const Estimate& e) { return e.replicate_error; });
}

Fields<WindowRow> WindowFields() {
  using W = WindowRow;
  const auto n = Unit::kNone;
  return {
      {"window", "Window", n, "From 1.", [](const W& w) { return w.number; }},
      {"prompt_name", "Prompt", n, "What it is a part of.",
       [](const W& w) { return w.window->prompt; }},
      {"begin", "Begin", n, "Its first token's place in that, from 0.",
       [](const W& w) { return w.window->begin; }},
      {"window_tokens", "", n, "Its tokens.",
       [](const W& w) { return w.window->tokens; }},
      {"first_scored", "", n,
       "The first position whose next token is scored; those before are "
       "context.",
       [](const W& w) { return w.window->first_scored; }},
      {"end_scored", "", n, "Behind the last of them.",
       [](const W& w) { return w.window->end_scored; }},
      {"massive_positions", "Massive at", n,
       "Positions with a massive activation after some layer; null if no "
       "plan was measured on it.",
       [](const W& w) { return w.massive; }}};
}

Fields<WindowErrors> WindowErrorFields() {
  using W = WindowErrors;
  const auto final_error = [](double ErrorMetrics::*figure) {
    return [figure](const W& w) {
      return w.metrics->complete()
                 ? std::optional<double>(w.metrics->final_hidden().*figure)
                 : std::nullopt;
    };
  };
  const auto of_logits = [](double LogitMetrics::*figure) {
    return [figure](const W& w) {
      return w.metrics->complete()
                 ? std::optional<double>((*w.metrics->logits).*figure)
                 : std::nullopt;
    };
  };
  return {{"plan", "Plan", Unit::kNone, kPlanAbout,
           [](const W& w) { return w.plan->plan; }},
          {"window", "Window", Unit::kNone, kWindowAbout,
           [](const W& w) { return w.window; }},
          {"final_rmse", "Final RMSE", Unit::kActivation,
           "Of the final hidden state.", final_error(&ErrorMetrics::rmse)},
          {"final_rel_l2", "Rel L2", Unit::kRelative, "The same, relative.",
           final_error(&ErrorMetrics::rel_l2)},
          {"ordinary_final_rel_l2", "Rel L2, ordinary", Unit::kRelative,
           "The same at positions without a massive activation.",
           [](const W& w) { return OrdinaryRelL2(*w.metrics); }},
          {"kl_nats", "KL (nats)", Unit::kNats,
           "Mean KL(reference || plan) of the next token.",
           of_logits(&LogitMetrics::kl)},
          {"top1_agreement", "Top-1", Unit::kShare,
           "Share of positions with the reference's likeliest token.",
           of_logits(&LogitMetrics::top1_agreement)}};
}

Fields<Summary> SummaryFields() {
  using S = Summary;
  using T = TokenSummary::Text;
  const auto n = Unit::kNone;
  const auto text = [](const S& s) -> const T* {
    return s.of.text.has_value() ? &*s.of.text : nullptr;
  };
  Fields<S> fields = {
      {"plan", "Plan", n, kPlanAbout, [](const S& s) { return s.plan->plan; }},
      {"positions", "Positions", n, kPositionsAbout,
       [](const S& s) { return std::string(s.positions); }},
      {"scored_positions", "", n, "How many.",
       [](const S& s) { return s.of.positions; }},
      {"scored_tokens", "", n,
       "Those whose next token the window has, of which log-probabilities are.",
       [text](const S& s) {
         const T* t = text(s);
         return t == nullptr ? size_t{0} : t->tokens;
       }}};
  const auto estimate = [&](const std::string& name, const std::string& title,
                            Unit unit, const std::string& about,
                            Estimate T::*of) {
    AppendEstimate(fields, name, title, unit, about, true,
                   [text, of](const S& s) -> const Estimate* {
                     const T* t = text(s);
                     return t == nullptr ? nullptr : &(t->*of);
                   });
  };
  const auto figure = [&](const char* name, const char* title, Unit unit,
                          const char* about, double T::*of) {
    fields.emplace_back(name, title, unit, about, [text, of](const S& s) {
      const T* t = text(s);
      return t == nullptr ? std::nullopt : std::optional<double>(t->*of);
    });
  };
  figure("perplexity", "Perplexity", n,
         "exp(-mean log-probability) of the text's tokens, under the plan.",
         &T::perplexity);
  figure("reference_perplexity", "Reference's", n,
         "The same under what errors are against.", &T::reference_perplexity);
  estimate("logp_nats", "", Unit::kNats,
           "Log-probability of the token that comes next, under the plan",
           &T::logp);
  estimate("reference_logp_nats", "", Unit::kNats,
           "The same under what errors are against", &T::reference_logp);
  AppendEstimate(fields, "kl_nats", "KL (nats)", Unit::kNats,
                 "KL(reference || plan) of the next token", false,
                 [](const S& s) { return &s.of.kl; });
  estimate("delta_logp_nats", "Mean Δ log p", Unit::kNats,
           "d, the log-probability of the next token minus the reference's",
           &T::delta_logp);
  figure("delta_logp_rms_nats", "RMS Δ log p", Unit::kNats,
         "Root of the mean of d squared.", &T::delta_logp_rms);
  figure("delta_logp_max_nats", "Max", Unit::kNats, "Largest |d|.",
         &T::delta_logp_max_abs);
  estimate("delta_p", "", Unit::kShare,
           "The probability of the next token minus the reference's",
           &T::delta_p);
  figure("delta_p_rms", "RMS Δp", Unit::kShare, "Root of its mean square.",
         &T::delta_p_rms);
  AppendEstimate(fields, "same_top", "Same top", Unit::kShare,
                 "Share of positions with the reference's likeliest token",
                 false, [](const S& s) { return &s.of.same_top; });
  const Fields<S> flips = {
      {"flips", "Flips", n, "Positions with another likeliest token.",
       [](const S& s) { return s.of.flips; }},
      {"flip_margin_mean_nats", "", Unit::kNats,
       "Over the flips: by how much the reference finds the plan's token less "
       "likely than its own, the mean; null without a flip.",
       [](const S& s) { return s.of.flip_margin_mean; }},
      {"flip_margin_max_nats", "Largest flip margin", Unit::kNats,
       "The largest of that.", [](const S& s) { return s.of.flip_margin_max; }},
      {"worst_rank", "", n,
       "Largest place of the reference's likeliest token among the plan's.",
       [](const S& s) { return s.of.worst_rank; }}};
  fields.insert(fields.end(), flips.begin(), flips.end());
  estimate("k3_nats", "k3", Unit::kNats,
           "e^d - 1 - d, Schulman's estimate of the KL divergence", &T::k3);
  estimate("ratio", "Mean ratio", Unit::kRatio, "e^|d|", &T::ratio);
  estimate("off_by_twice", "Off by 2x", Unit::kShare,
           "Share of tokens whose probability is off by more than a factor of "
           "two",
           &T::off_by_twice);
  return fields;
}

Fields<Percentile> PercentileFields() {
  using P = Percentile;
  return {{"plan", "Plan", Unit::kNone, kPlanAbout,
           [](const P& p) { return p.summary->plan->plan; }},
          {"positions", "Positions", Unit::kNone, kPositionsAbout,
           [](const P& p) { return std::string(p.summary->positions); }},
          {"percentile", "%", Unit::kNone,
           "Share of tokens with at most that: \"100\" is the largest.",
           [](const P& p) { return absl::StrFormat("%g", p.of->percent); }},
          {"kl_nats", "KL (nats)", Unit::kNats, "KL(reference || plan).",
           [](const P& p) { return p.of->kl; }},
          {"delta_logp_nats", "Δ log p", Unit::kNats,
           "d of `token_summaries`; null if no token comes next.",
           [](const P& p) { return p.of->delta_logp; }},
          {"delta_p", "Δp", Unit::kShare, "The same of probabilities.",
           [](const P& p) { return p.of->delta_p; }}};
}

// An id that is NaN is none: there is no prediction.
std::optional<int64_t> IdOf(double id) {
  if (std::isnan(id)) return std::nullopt;
  return static_cast<int64_t>(id);
}

Fields<TokenRow> TokenFields() {
  using T = TokenRow;
  const auto n = Unit::kNone;
  const auto at = [](std::vector<double> TokenErrors::*figures) {
    return [figures](const T& t) { return (t.errors->*figures)[t.position]; };
  };
  const auto next = [](std::vector<double> TokenErrors::*figures) {
    return [figures](const T& t) {
      const std::vector<double>& of = t.errors->*figures;
      return t.position < of.size() ? std::optional<double>(of[t.position])
                                    : std::nullopt;
    };
  };
  return {
      {"plan", "Plan", n, kPlanAbout, [](const T& t) { return t.plan->plan; }},
      {"window", "Window", n, kWindowAbout,
       [](const T& t) { return t.window_number; }},
      {"position", "Position", n, "In the window, from 0.",
       [](const T& t) { return t.position; }},
      {"token", "Token", n, "The token there.",
       [](const T& t) { return t.window->tokens[t.position]; }},
      {"next_token", "Next", n, "The one behind it; null at the end.",
       [](const T& t) {
         return t.position + 1 < t.window->tokens.size()
                    ? std::optional<int32_t>(t.window->tokens[t.position + 1])
                    : std::nullopt;
       }},
      {"text", "Text", n,
       "The text around it, with the next token in brackets; null without a "
       "tokenizer. A comment: what was run are the ids.",
       [](const T& t) { return t.text; }},
      {"massive", "", n, "Whether it has a massive activation.",
       [](const T& t) { return t.errors->massive[t.position] != 0; }},
      {"kl_nats", "KL (nats)", Unit::kNats, "KL(reference || plan).",
       at(&TokenErrors::kl)},
      {"logp_nats", "log p", Unit::kNats,
       "Log-probability of the next token under the plan.",
       next(&TokenErrors::logp)},
      {"reference_logp_nats", "Reference's", Unit::kNats,
       "The same under what errors are against.",
       next(&TokenErrors::reference_logp)},
      {"delta_logp_nats", "Δ log p", Unit::kNats, "Their difference.",
       [](const T& t) {
         return t.position < t.errors->logp.size()
                    ? std::optional<double>(
                          t.errors->logp[t.position] -
                          t.errors->reference_logp[t.position])
                    : std::nullopt;
       }},
      {"top", "Top", n, "The plan's likeliest next token; null if it is NaN.",
       [](const T& t) { return IdOf(t.errors->top[t.position]); }},
      {"reference_top", "Reference's top", n, "The reference's.",
       [](const T& t) { return IdOf(t.errors->reference_top[t.position]); }},
      {"margin_nats", "Margin", Unit::kNats,
       "Of the reference: log-probability of its likeliest token minus that of "
       "the second.",
       at(&TokenErrors::margin)},
      {"flip_margin_nats", "Flip margin", Unit::kNats,
       "The same minus that of the plan's likeliest: 0 where they agree.",
       at(&TokenErrors::flip_margin)},
      {"reference_top_rank", "", n,
       "Place of the reference's likeliest among the plan's, from 1; NaN where "
       "a logit is.",
       at(&TokenErrors::rank)},
      {"logits_max_abs", "", Unit::kActivation,
       "Largest absolute error of the logits.", at(&TokenErrors::max_abs)},
      {"final_rel_l2", "Rel L2", Unit::kRelative,
       "Of the final hidden state there.",
       [](const T& t) {
         return RatioOrZero(t.errors->error_l2[t.position],
                            t.errors->reference_l2[t.position]);
       }},
      {"final_error_share", "Share of error", Unit::kShare,
       "Of the squared error of the final hidden states of all positions.",
       [](const T& t) {
         const double l2 = t.errors->error_l2[t.position];
         return RatioOrZero(l2 * l2, t.squared_error);
       }}};
}

// The last tokens up to a position, and the next one in brackets.
std::optional<std::string> TextAround(const RunInfo& info, const Window& window,
                                      size_t position) {
  if (!info.text_of) return std::nullopt;
  const auto tokens = absl::MakeConstSpan(window.tokens);
  const size_t first = position + 1 - std::min(position + 1, kTextAround);
  const std::string before =
      info.text_of(tokens.subspan(first, position + 1 - first));
  if (position + 1 == tokens.size()) return absl::StrCat(before, "[]");
  return absl::StrCat(
      before, "[", info.text_of(tokens.subspan(position + 1, 1)), "]",
      info.text_of(tokens.subspan(
          position + 2, std::min(kTextAround, tokens.size() - position - 2))));
}

std::vector<TokenRow> TokenRows(const RunInfo& info,
                                const std::vector<Window>& windows,
                                const SweepResult& result) {
  std::vector<TokenRow> rows;
  for (const PlanResult& plan : result.plans) {
    std::vector<TokenRow> of_plan;
    double squared_error = 0;
    for (size_t w = 0; w < plan.windows.size(); ++w) {
      if (!plan.windows[w].tokens.has_value()) continue;
      const TokenErrors& errors = *plan.windows[w].tokens;
      for (const double l2 : errors.error_l2) squared_error += l2 * l2;
      const size_t end = std::min(windows[w].end_scored, errors.positions());
      for (size_t p = windows[w].first_scored; p < end; ++p) {
        of_plan.push_back(
            {&plan, &windows[w], w + 1, p, &errors, 0, std::nullopt});
      }
    }
    if (result.plans.size() > 1 && of_plan.size() > kWorstTokens) {
      std::partial_sort(
          of_plan.begin(), of_plan.begin() + kWorstTokens, of_plan.end(),
          [](const TokenRow& a, const TokenRow& b) {
            const double of_a = a.errors->kl[a.position],
                         of_b = b.errors->kl[b.position];
            if (of_a != of_b && !(std::isnan(of_a) && std::isnan(of_b))) {
              return std::isnan(of_a) || of_a > of_b;
            }
            return std::make_pair(a.window_number, a.position) <
                   std::make_pair(b.window_number, b.position);
          });
      of_plan.erase(of_plan.begin() + kWorstTokens, of_plan.end());
    }
    for (TokenRow& row : of_plan) {
      row.squared_error = squared_error;
      row.text = TextAround(info, *row.window, row.position);
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

std::vector<WindowRow> WindowRows(const std::vector<Window>& windows,
                                  const SweepResult& result) {
  std::vector<WindowRow> rows;
  for (size_t w = 0; w < windows.size(); ++w) {
    WindowRow& row = rows.emplace_back();
    row.window = &windows[w];
    row.number = w + 1;
    for (const PlanResult& plan : result.plans) {
      if (plan.windows.size() <= w || !plan.windows[w].tokens) continue;
      const std::vector<double>& massive = plan.windows[w].tokens->massive;
      row.massive.emplace();
      for (size_t p = 0; p < massive.size(); ++p) {
        if (massive[p] != 0) row.massive->push_back(p);
      }
      break;
    }
  }
  return rows;
}

std::vector<Summary> SummariesOf(const std::vector<Window>& windows,
                                 const SweepResult& result) {
  std::vector<Summary> summaries;
  for (const PlanResult& plan : result.plans) {
    std::vector<const TokenErrors*> errors;
    for (const TraceMetrics& metrics : plan.windows) {
      if (metrics.tokens.has_value()) errors.push_back(&*metrics.tokens);
    }
    if (errors.empty() || errors.size() < windows.size()) continue;
    for (const auto& [positions, name] :
         {std::make_pair(Positions::kAll, "all"),
          std::make_pair(Positions::kOrdinary, "ordinary")}) {
      auto summary = Summarize(errors, windows, positions);
      if (summary.has_value()) {
        summaries.push_back({&plan, name, *std::move(summary)});
      }
    }
  }
  return summaries;
}

}  // namespace

std::vector<Table> TokenTables(const RunInfo& info, const SweepOptions& options,
                               const SweepResult& result) {
  const std::vector<Window> windows = WindowsOf(options);
  std::vector<WindowErrors> window_errors;
  for (const PlanResult& plan : result.plans) {
    for (size_t w = 0; w < plan.windows.size(); ++w) {
      window_errors.push_back({&plan, w + 1, &plan.windows[w]});
    }
  }
  const std::vector<Summary> summaries = SummariesOf(windows, result);
  std::vector<Percentile> percentiles;
  for (const Summary& summary : summaries) {
    for (const TokenPercentile& of : summary.of.percentiles) {
      percentiles.push_back({&summary, &of});
    }
  }
  return TablesOf(
      MakeTable("windows", "The parts of the text, each run from position 0.",
                WindowFields(), WindowRows(windows, result)),
      MakeTable("window_errors", "Every plan on each window.",
                WindowErrorFields(), window_errors),
      MakeTable("token_summaries",
                "Every plan's next-token distributions over the text.",
                SummaryFields(), summaries),
      MakeTable("token_percentiles", "How the same are distributed.",
                PercentileFields(), percentiles),
      MakeTable("tokens",
                "Scored tokens: all of a single plan; of each of several, "
                "those of the largest KL divergence, the largest first.",
                TokenFields(), TokenRows(info, windows, result)));
}

}  // namespace ulpscope
