#include "explorer/app/compare.h"

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "explorer/app/console.h"
#include "explorer/app/settings.h"
#include "explorer/app/stored_sweep.h"
#include "explorer/compare/comparison.h"
#include "explorer/compare/gate.h"
#include "explorer/report/compare_results.h"
#include "explorer/report/junit.h"
#include "explorer/report/mode_schemas.h"
#include "explorer/report/report_files.h"
#include "explorer/results/results_reader.h"
#include "explorer/store/shards.h"
#include "model/files/output_file.h"
#include "model/files/text_file.h"

namespace ulpscope {
namespace {

using Outcome = GateCheck::Outcome;

size_t Count(const std::vector<GateCheck>& checks, Outcome outcome) {
  return static_cast<size_t>(std::count_if(
      checks.begin(), checks.end(),
      [&](const GateCheck& check) { return check.outcome == outcome; }));
}

// A line of which nothing could be compared has not passed.
int GateCode(const std::vector<GateLine>& lines,
             const std::vector<GateCheck>& checks) {
  const size_t failed = Count(checks, Outcome::kFailed);
  absl::FPrintF(stderr, "gate: %d passed, %d failed, %d not comparable\n",
                Count(checks, Outcome::kPassed), failed,
                Count(checks, Outcome::kNotComparable));
  for (const GateCheck& check : checks) {
    if (check.outcome != Outcome::kFailed) continue;
    absl::FPrintF(stderr, "measured again by: %s\n", check.command);
    break;
  }
  if (failed > 0) return kGateFailed;
  const bool all_compared =
      std::all_of(lines.begin(), lines.end(), [&](const GateLine& line) {
        return std::any_of(checks.begin(), checks.end(),
                           [&](const GateCheck& check) {
                             return check.line == &line &&
                                    check.outcome != Outcome::kNotComparable;
                           });
      });
  return all_compared ? kDone : kNothingComparable;
}

// STORE or STORE@RUN.
struct StoreName {
  std::string folder, run;
};

// None for a results.json or a report's folder, which may be a store too.
std::optional<StoreName> StoreNameOf(const std::string& name) {
  const auto is_store = [](const std::string& folder) {
    std::error_code error;
    return std::filesystem::exists(folder + "/meta.json", error) &&
           !std::filesystem::exists(folder + "/results.json", error);
  };
  if (is_store(name)) return StoreName{name, ""};
  const size_t at = name.rfind('@');
  if (at == std::string::npos || !is_store(name.substr(0, at))) {
    return std::nullopt;
  }
  return StoreName{name.substr(0, at), name.substr(at + 1)};
}

// The results of that name; of a store, what fits `other`, if that is given.
absl::StatusOr<Results> Find(const std::string& name, const Results* other) {
  const auto store = StoreNameOf(name);
  if (!store.has_value()) return ReadResults(name, ModeSchemas());
  const auto contents = ReadStore(store->folder);
  if (!contents.ok()) return contents.status();
  for (const std::string& what : contents->skipped) {
    Warn(absl::StrCat(what, "; it is skipped"));
  }
  StoredSubject subject;
  if (other != nullptr) subject = SubjectOfResults(*other);
  subject.run = store->run;
  return StoredSweep(*contents, store->folder, subject);
}

struct Pair {
  std::optional<Results> base;
  Results now;
};

// What is looked at in a store is what the other run is of, unless that is a
// store too, of no one run.
absl::StatusOr<Pair> FindBoth(const std::string& base, const std::string& now) {
  Pair pair;
  const auto store = StoreNameOf(now);
  const bool now_chooses = !store.has_value() || !store->run.empty();
  if (!base.empty() && !now_chooses) {
    auto found = Find(base, nullptr);
    if (!found.ok()) return found.status();
    pair.base = *std::move(found);
  }
  auto found = Find(now, pair.base.has_value() ? &*pair.base : nullptr);
  if (!found.ok()) return found.status();
  pair.now = *std::move(found);
  if (!base.empty() && now_chooses) {
    found = Find(base, &pair.now);
    if (!found.ok()) return found.status();
    pair.base = *std::move(found);
  }
  return pair;
}

}  // namespace

int RunCompare(const Settings& settings) {
  if (!settings.out.empty()) {
    const absl::Status made = MakeFolder(settings.out);
    if (!made.ok()) return Fail(made, kFailed);
  }
  std::vector<GateLine> lines;
  if (!settings.gate.empty()) {
    constexpr size_t kMostBytes = size_t{1} << 24;
    const auto text = ReadTextFile(settings.gate, kMostBytes);
    if (!text.ok()) return Fail(text.status(), kFailed);
    auto parsed = ParseGate(*text, settings.gate);
    if (!parsed.ok()) return Fail(parsed.status(), kBadUsage);
    lines = *std::move(parsed);
  }
  const auto both = FindBoth(settings.compare, settings.with);
  if (!both.ok()) {
    // No baseline, or a store without what the other run is of.
    return Fail(both.status(),
                absl::IsNotFound(both.status()) ? kNothingComparable : kFailed);
  }
  const Results& now = both->now;
  const Results* const base = both->base.has_value() ? &*both->base : nullptr;
  Comparison comparison;
  if (base != nullptr) comparison = Compare(*base, now);
  const std::vector<GateCheck> checks = CheckGate(lines, base, now);
  const Results results =
      ComparisonResults({settings.compare, settings.with, settings.gate}, base,
                        &now, comparison, checks);
  if (!settings.junit.empty()) {
    const absl::Status written = WriteFile(settings.junit, JUnitXml(results));
    if (!written.ok()) return Fail(written, kFailed);
  }
  const int reported = WriteReport(
      settings.out, {ComparisonReport(results), results}, settings.format);
  if (reported != kDone) return reported;
  if (!lines.empty()) return GateCode(lines, checks);
  return comparison.not_comparable.empty() ? kDone : kNothingComparable;
}

}  // namespace ulpscope
