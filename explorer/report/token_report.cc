#include "explorer/report/token_report.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "explorer/error/windows.h"
#include "explorer/report/frame.h"
#include "explorer/report/markdown.h"
#include "explorer/results/schema.h"
#include "explorer/sweep/ranking.h"
#include "explorer/sweep/sweep.h"

namespace ulpscope {
namespace {

using Row = std::vector<Value>;

// Rows that have this text in a column.
auto Has(const Table& table, absl::string_view column, absl::string_view text) {
  return [at = table.Find(column), text = std::string(text)](const Row& row) {
    return std::get<std::string>(row[at]) == text;
  };
}

std::string WindowsLine(const RunInfo& info,
                        const std::vector<Window>& windows) {
  size_t scored = 0;
  for (const Window& window : windows) {
    scored += window.end_scored - window.first_scored;
  }
  return absl::StrFormat("%s: %s, %d positions scored. The first begins %s\n",
                         info.text.empty() ? "Token ids" : info.text,
                         windows.size() == 1
                             ? "one window"
                             : absl::StrCat(windows.size(), " windows"),
                         scored, FirstTokensText(info, windows[0].tokens));
}

// The tokens of the largest KL divergence, of one plan.
Table Worst(const Table& tokens, const std::string& plan) {
  constexpr size_t kShown = 10;
  Table worst = {tokens.name, tokens.about, tokens.single, tokens.columns, {}};
  absl::c_copy_if(tokens.rows, std::back_inserter(worst.rows),
                  Has(tokens, "plan", plan));
  const size_t kl = tokens.Find("kl_nats");
  absl::c_stable_sort(worst.rows, [kl](const Row& a, const Row& b) {
    const double of_a = std::get<double>(a[kl]), of_b = std::get<double>(b[kl]);
    return std::isnan(of_b) ? false : std::isnan(of_a) || of_a > of_b;
  });
  worst.rows.resize(std::min(worst.rows.size(), kShown));
  return worst;
}

}  // namespace

std::string TextSection(const RunInfo& info, const SweepOptions& options,
                        const PlanResult& shown,
                        const std::set<std::string>& printed,
                        const Results& results) {
  const Table& summaries = results.Find("token_summaries");
  const Table& tokens = results.Find("tokens");
  const size_t scored = summaries.Find("scored_tokens");
  if (absl::c_none_of(summaries.rows, [&](const Row& row) {
        return std::get<int64_t>(row[scored]) > 0;
      })) {
    return "";
  }
  const std::vector<std::string> columns = {
      "plan",
      "perplexity",
      "reference_perplexity",
      "kl_nats±kl_nats_token_error",
      "delta_logp_nats±delta_logp_nats_token_error",
      "delta_logp_rms_nats",
      "delta_logp_max_nats",
      "same_top",
      "flips",
      "flip_margin_max_nats",
      "k3_nats",
      "ratio",
      "off_by_twice"};
  // Of the plans that are printed.
  const auto of_printed = [&, plan = summaries.Find("plan")](const auto& of) {
    return [&printed, plan, of](const Row& row) {
      return of(row) && printed.count(std::get<std::string>(row[plan])) > 0;
    };
  };
  const std::string against = info.against;
  std::string text = absl::StrCat(
      "\n## Tokens, against ", against, "\n\n",
      WindowsLine(info, WindowsOf(options)),
      "d = Δ log p is the log-probability of the token that comes next, minus ",
      "that under ", against,
      "; k3 is the mean of e^d - 1 - d, Mean ratio that of e^abs(d), and ",
      "Off by 2x the share of tokens\nwith abs(d) > ln 2.\n\n",
      Markdown(summaries, columns,
               of_printed(Has(summaries, "positions", "all"))));
  // Where no position is massive, both are the same.
  const auto ordinary = Has(summaries, "positions", "ordinary");
  const size_t positions = summaries.Find("scored_positions");
  int64_t least = INT64_MAX, most = 0;
  for (const Row& row : summaries.rows) {
    least = std::min(least, std::get<int64_t>(row[positions]));
    most = std::max(most, std::get<int64_t>(row[positions]));
  }
  if (least < most) {
    absl::StrAppend(&text,
                    "\nThe same of the positions without a massive "
                    "activation:\n\n",
                    Markdown(summaries, columns, of_printed(ordinary)));
  }
  const Table& percentiles = results.Find("token_percentiles");
  const auto of_shown = Has(percentiles, "plan", shown.plan);
  const auto of_all = Has(percentiles, "positions", "all");
  absl::StrAppend(
      &text, "\nOf `", shown.plan, "`, by share of the tokens:\n\n",
      Markdown(percentiles,
               {"percentile", "kl_nats", "delta_logp_nats", "delta_p"},
               [&](const Row& row) { return of_shown(row) && of_all(row); }),
      "\nIts tokens of the largest KL divergence:\n\n",
      Markdown(Worst(tokens, shown.plan),
               {"window", "position", "text", "kl_nats", "delta_logp_nats",
                "top", "reference_top", "margin_nats", "flip_margin_nats",
                "final_rel_l2", "final_error_share"}));
  return text;
}

}  // namespace ulpscope
