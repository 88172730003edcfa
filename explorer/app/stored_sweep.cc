#include "explorer/app/stored_sweep.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "explorer/error/archived_metrics.h"
#include "explorer/error/evaluation.h"
#include "explorer/error/metrics.h"
#include "explorer/error/token_errors.h"
#include "explorer/report/run_info.h"
#include "explorer/report/sweep_results.h"
#include "explorer/results/results_csv.h"
#include "explorer/store/record.h"
#include "explorer/sweep/ranking.h"
#include "explorer/sweep/sweep.h"
#include "model/architecture/plan.h"

namespace ulpscope {
namespace {

// What a record of the store is of; sorted, the tokens alone come first.
struct Sequence {
  std::string model;
  std::vector<int32_t> tokens;

  bool operator<(const Sequence& other) const {
    return std::make_pair(model, tokens.size()) <
               std::make_pair(other.model, other.tokens.size()) ||
           (model == other.model && tokens.size() == other.tokens.size() &&
            tokens < other.tokens);
  }
};

// Empty if the text, which is untrusted, is none.
std::vector<int32_t> TokensOf(absl::string_view text) {
  std::vector<int32_t> tokens;
  for (const absl::string_view word : absl::StrSplit(text, ',')) {
    if (!absl::SimpleAtoi(word, &tokens.emplace_back())) return {};
  }
  return tokens;
}

Sequence SequenceOf(const Record& record) {
  return {std::string(record.Input("model")), TokensOf(record.Input("tokens"))};
}

bool IsOfVersion(const Record& record, absl::string_view kind, int version) {
  return record.kind == kind &&
         record.Input("version") == absl::StrCat(version);
}

bool IsOf(const Record& record, const StoredSubject& subject) {
  const auto is = [](const std::string& wanted, absl::string_view found) {
    return wanted.empty() || wanted == found;
  };
  const absl::string_view tokens = record.Input("tokens");
  // Errors against another plan than the oracle name it.
  return is(subject.run, record.run) && record.Input("against").empty() &&
         is(subject.model_fingerprint, record.Input("model")) &&
         (subject.prompt.empty() || tokens == subject.prompt ||
          (record.kind == "error" && tokens == subject.token));
}

// Which of several a user means, by the runs that measured them.
absl::Status Ambiguous(const std::string& name,
                       const std::vector<const Record*>& errors) {
  constexpr size_t kMostShown = 8;
  constexpr size_t kMostTokens = 40;  // of their text
  std::set<std::string> runs;
  for (const Record* record : errors) {
    const absl::string_view tokens = record->Input("tokens");
    runs.insert(absl::StrCat(name, "@", record->run, " (",
                             record->Host("model"), ", tokens ",
                             tokens.substr(0, kMostTokens),
                             tokens.size() > kMostTokens ? "..." : "", ")"));
  }
  const size_t shown = std::min(runs.size(), kMostShown);
  return absl::InvalidArgumentError(absl::StrCat(
      name,
      ": expected errors on one model's token and prompt, found several; name "
      "what one run measured, such as ",
      absl::StrJoin(runs.begin(), std::next(runs.begin(), shown), ", "),
      shown < runs.size() ? ", ..." : ""));
}

// What times depend on, and which times they are.
std::string MachineOf(const Record& record) {
  std::string text;
  for (const char* const name :
       {"cpu", "target", "threads", "tuning", "build", "decode_steps"}) {
    absl::StrAppend(&text, record.Input(name), "\n");
  }
  return text;
}

size_t NumberOf(absl::string_view text) {
  size_t number = 0;
  return absl::SimpleAtoi(text, &number) ? number : 0;
}

// Keeps the newer one.
void Take(const Record& record, const Record*& kept) {
  if (kept == nullptr || record.time >= kept->time) kept = &record;
}

using PlansByText = std::map<std::string, PlanResult>;

absl::StatusOr<PlansByText> PlansWithErrors(
    const std::vector<const Record*>& errors, const std::string& token,
    const std::string& prompt) {
  // By plan, on the token and on the prompt.
  std::map<std::string, std::pair<const Record*, const Record*>> newest;
  for (const Record* record : errors) {
    auto& [on_token, on_prompt] = newest[std::string(record->Input("plan"))];
    if (record->Input("tokens") == token) Take(*record, on_token);
    if (record->Input("tokens") == prompt) Take(*record, on_prompt);
  }
  PlansByText plans;
  for (const auto& [text, records] : newest) {
    PlanResult& plan = plans[text];
    plan.plan = text;
    for (const auto& [record, metrics] :
         {std::make_pair(records.first, &plan.token),
          std::make_pair(records.second, &plan.prompt)}) {
      if (record == nullptr) continue;
      auto result = ResultOf<TraceMetrics>(*record);
      if (!result.ok()) return result.status();
      *metrics = *std::move(result);
      if (metrics->tokens.has_value()) {
        metrics->logits = LogitMetricsOf(*metrics->tokens, 0, SIZE_MAX);
      }
    }
    if (records.second != nullptr) plan.windows = {plan.prompt};
    // A record says how many layers the plan is of. What this CPU does not
    // take it does not emulate either.
    const auto parsed = Plan::Parse(
        text, std::max(plan.token.layers.size(), plan.prompt.layers.size()));
    plan.emulated = parsed.ok() && parsed->emulated();
  }
  return plans;
}

// Times of one machine, the newest's; returns a record of it, null for none.
const Record* AddTimes(const std::vector<const Record*>& times,
                       const std::string& prompt, PlansByText& plans) {
  const Record* newest = nullptr;
  for (const Record* record : times) {
    if (record->Input("tokens") == prompt) Take(*record, newest);
  }
  std::map<std::pair<std::string, size_t>, const Record*> rounds;  // by plan
  for (const Record* record : times) {
    if (record->Input("tokens") != prompt ||
        MachineOf(*record) != MachineOf(*newest)) {
      continue;
    }
    Take(*record, rounds[{std::string(record->Input("plan")),
                          NumberOf(record->Input("round"))}]);
  }
  for (const auto& [of, record] : rounds) {
    const auto timed = ResultOf<TimedRun>(*record);
    const auto plan = plans.find(of.first);
    if (timed.ok() && plan != plans.end()) {
      plan->second.timing.Append(timed->timing);
    }
  }
  return newest;
}

// Of the tables without what is not known of them.
void Drop(const std::set<std::string>& columns, Table& table) {
  for (size_t c = table.columns.size(); c-- > 0;) {
    if (columns.count(table.columns[c].name) == 0) continue;
    table.columns.erase(table.columns.begin() + static_cast<ptrdiff_t>(c));
    for (std::vector<Value>& row : table.rows) {
      row.erase(row.begin() + static_cast<ptrdiff_t>(c));
    }
  }
}

// The context's text in that column; empty if it has none.
std::string TextOf(const Results& results, absl::string_view column) {
  const Table& context = results.tables[0];
  return context.Has(column) ? ValueText(context.rows[0][context.Find(column)])
                             : std::string();
}

}  // namespace

StoredSubject SubjectOfResults(const Results& results) {
  const auto ids = [&](absl::string_view column) {
    return absl::StrReplaceAll(TextOf(results, column), {{" ", ","}});
  };
  return {"", TextOf(results, "model_fingerprint"), ids("token"), ids("prompt"),
          TextOf(results, "metric")};
}

absl::StatusOr<Results> StoredSweep(const StoreContents& contents,
                                    const std::string& name,
                                    const StoredSubject& subject) {
  std::vector<const Record*> errors, times;
  std::set<Sequence> sequences;
  for (const Record& record : contents.records) {
    if (!IsOf(record, subject)) continue;
    if (IsOfVersion(record, "error", kTraceMetricsVersion)) {
      errors.push_back(&record);
      sequences.insert(SequenceOf(record));
    } else if (IsOfVersion(record, "time", kTimedRunVersion)) {
      times.push_back(&record);
    }
  }
  if (errors.empty()) {
    return absl::NotFoundError(absl::StrCat(
        name, ": expected errors of plans",
        subject.run.empty() ? "" : absl::StrCat(", of the run ", subject.run),
        subject.model_fingerprint.empty() ? "" : ", of the same model",
        subject.prompt.empty() ? "" : " on the same tokens",
        ", found none among ", contents.records.size(), " measurements"));
  }
  // A token alone, and a prompt, which may be as short.
  const Sequence& first = *sequences.begin();
  const Sequence& last = *sequences.rbegin();
  if (sequences.size() > 2 || first.model != last.model ||
      (sequences.size() == 2 && first.tokens.size() != 1)) {
    return Ambiguous(name, errors);
  }
  SweepOptions options;
  options.metric = &RankMetrics()[0];
  for (const RankMetric& metric : RankMetrics()) {
    if (metric.name == subject.metric) options.metric = &metric;
  }
  const bool has_token = first.tokens.size() == 1;
  const std::string token = !subject.token.empty() ? subject.token
                            : has_token ? absl::StrCat(first.tokens[0])
                                        : "";
  const std::string prompt = !subject.prompt.empty()
                                 ? subject.prompt
                                 : absl::StrJoin(last.tokens, ",");
  // Another run's file may say anything.
  const std::vector<int32_t> token_ids = TokensOf(token);
  if (!token_ids.empty()) options.token = token_ids[0];
  options.prompt = TokensOf(prompt);

  auto plans = PlansWithErrors(errors, token, prompt);
  if (!plans.ok()) {
    return absl::DataLossError(
        absl::StrCat(name, ": ", plans.status().message()));
  }
  const Record* const timed = AddTimes(times, prompt, *plans);
  const Record& host = timed != nullptr ? *timed : *errors.back();
  RunInfo info;
  info.model = std::string(host.Host("model"));
  info.synthetic = absl::StartsWith(info.model, "synthetic:");
  info.model_fingerprint = first.model;
  info.build_commit = std::string(host.Host("build"));
  info.cpu = std::string(host.Host("cpu"));
  info.target = std::string(host.Host("target"));
  info.threads = NumberOf(host.Host("threads"));

  SweepResult sweep;
  for (auto& [text, plan] : *plans) sweep.plans.push_back(std::move(plan));
  ScorePlans(options, sweep.plans);
  RankPlans(sweep.plans);
  Results results = SweepResults(info, options, sweep);
  if (!has_token || token_ids.empty()) Drop({"token"}, results.tables[0]);
  Drop({"architecture", "num_hidden_layers", "hidden_size", "intermediate_size",
        "num_attention_heads", "num_key_value_heads", "head_dim", "vocab_size",
        "decode_bytes", "load_seconds", "stopped_by", "stopped_in",
        "wisdom_used", "wisdom_file", "wisdom_known_matmuls",
        "wisdom_timed_matmuls", "wisdom_reason", "axes", "seed"},
       results.tables[0]);
  results.tables.erase(absl::c_find_if(results.tables, [](const Table& table) {
    return table.name == "main_effects";
  }));
  return results;
}

}  // namespace ulpscope
