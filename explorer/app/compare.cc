#include "explorer/app/compare.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_format.h"
#include "explorer/app/console.h"
#include "explorer/app/settings.h"
#include "explorer/compare/comparison.h"
#include "explorer/compare/gate.h"
#include "explorer/report/compare_results.h"
#include "explorer/report/junit.h"
#include "explorer/report/mode_schemas.h"
#include "explorer/report/report_files.h"
#include "explorer/results/results_reader.h"
#include "model/files/mapped_file.h"
#include "model/files/output_file.h"

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

}  // namespace

int RunCompare(const Settings& settings) {
  std::vector<GateLine> lines;
  if (!settings.gate.empty()) {
    const auto file = MappedFile::Open(settings.gate);
    if (!file.ok()) return Fail(file.status(), kFailed);
    auto parsed = ParseGate((*file)->text(), settings.gate);
    if (!parsed.ok()) return Fail(parsed.status(), kBadUsage);
    lines = *std::move(parsed);
  }
  const auto now = ReadResults(settings.with, ModeSchemas());
  if (!now.ok()) return Fail(now.status(), kFailed);
  std::optional<Results> base;
  if (!settings.compare.empty()) {
    auto read = ReadResults(settings.compare, ModeSchemas());
    if (!read.ok()) return Fail(read.status(), kFailed);
    base = *std::move(read);
  }
  const Results* const of_base = base.has_value() ? &*base : nullptr;
  Comparison comparison;
  if (base.has_value()) comparison = Compare(*base, *now);
  const std::vector<GateCheck> checks = CheckGate(lines, of_base, *now);
  const Results results =
      ComparisonResults({settings.compare, settings.with, settings.gate},
                        of_base, &*now, comparison, checks);
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
