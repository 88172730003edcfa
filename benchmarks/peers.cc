// Our kernels beside OpenBLAS and oneDNN, in one process and in turns.
//
//   apt-get install libopenblas-dev libdnnl-dev   (Debian 12: 0.3.21 and 2.6.3)
//   bazel run //benchmarks:peers -- --benchmark_filter='seed|softmax|rmsnorm'
//
// An iteration of Google Benchmark is a round of all contenders
// (benchmarks/rounds.h), so that --benchmark_min_time=25x makes 25 rounds of
// every case. Its own way, random interleaving of repetitions, would mix cases
// that are minutes and gigabytes apart.

#include "benchmarks/peers.h"

#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <map>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "benchmark/benchmark.h"
#include "benchmarks/machine.h"
#include "benchmarks/onednn.h"
#include "benchmarks/openblas.h"
#include "benchmarks/rounds.h"
#include "kernels/base/cpu.h"

namespace ulpscope {
namespace {

bool any_wrong_answer = false;

// Lowest and highest rate of each limit of the machine over the cases, "FMA
// peak, 1 thread", and its unit: how steady the machine was.
struct Range {
  double lowest, highest;
  std::string unit;
};

std::map<std::string, Range>& Limits() {
  static auto* const limits = new std::map<std::string, Range>();
  return *limits;
}

void NoteLimit(const std::string& name, double rate, const std::string& unit) {
  const auto [at, inserted] = Limits().insert({name, {rate, rate, unit}});
  at->second.lowest = std::min(at->second.lowest, rate);
  at->second.highest = std::max(at->second.highest, rate);
}

std::string Duration(double seconds) {
  return seconds < 1e-6   ? absl::StrFormat("%.1f ns", seconds * 1e9)
         : seconds < 1e-3 ? absl::StrFormat("%.2f us", seconds * 1e6)
                          : absl::StrFormat("%.2f ms", seconds * 1e3);
}

std::string TableOf(const PeerTable& table, const Rounds& rounds) {
  constexpr const char* kColumns = "  %-50s %11s %7s %9s %8s %7s\n";
  std::string text = absl::StrCat(table.title, "\n");
  absl::StrAppendFormat(&text, kColumns, "", "median", "spread", table.unit,
                        table.has_limit ? "of limit" : "", "x time");
  const std::vector<Contender>& contenders = rounds.contenders();
  for (size_t c = 0; c < contenders.size(); ++c) {
    const Contender& contender = contenders[c];
    if (!contender.refusal.empty()) {
      absl::StrAppendFormat(&text, "  %-50s %s\n", contender.name,
                            contender.refusal);
      continue;
    }
    const Timing timing = rounds.timing(c);
    const double rate =
        contender.work / timing.median_seconds / table.unit_scale;
    const bool is_limit = table.has_limit && c == 0;
    if (is_limit) {
      NoteLimit(contender.name, rate, table.unit);
    }
    const std::string of_limit =
        is_limit || !table.has_limit || contender.share == 0
            ? ""
            : absl::StrFormat("%.1f %%",
                              100 * contender.work /
                                  (contenders[0].work * contender.share *
                                   rounds.RatioOfTimes(c, 0)));
    const double times = rounds.RatioOfTimes(c, table.baseline);
    const std::string ratio =
        is_limit || times == 0 ? "" : absl::StrFormat("%.3f", times);
    absl::StrAppendFormat(&text, kColumns, contender.name,
                          Duration(timing.median_seconds),
                          absl::StrFormat("%.1f %%", 100 * timing.spread),
                          absl::StrFormat("%.2f", rate), of_limit, ratio);
  }
  if (!rounds.rested()) {
    absl::StrAppend(&text,
                    "  Not to be trusted: threads went on spinning after their "
                    "library's calls.\n");
  }
  return text;
}

// Prints each case's table, and at the end how steady the machine was.
class TableReporter : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context& /*context*/) override {
    GetOutputStream()
        << CpuName() << ", ours on " << KernelTarget() << "\n"
        << OpenBlasVersion() << "\n"
        << OneDnnVersion() << "\n"
        << "median: of a call, over the rounds; spread: quartile to quartile; "
           "of limit, x time (of ours f32): medians of the ratios within "
           "rounds\n";
    for (char** variable = environ; *variable != nullptr; ++variable) {
      for (const char* prefix :
           {"OPENBLAS_", "GOTO_", "OMP_", "GOMP_", "DNNL_", "ONEDNN_"}) {
        if (!absl::StartsWith(*variable, prefix)) continue;
        GetOutputStream() << "Warning: a peer may be slower or faster for "
                          << *variable << "\n";
      }
    }
    return true;
  }

  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) {
      if (run.run_type != Run::RT_Iteration) continue;
      GetOutputStream() << "\n" << run.benchmark_name() << ": ";
      GetOutputStream() << run.report_label << std::flush;
    }
  }

  void Finalize() override {
    if (Limits().empty()) return;
    GetOutputStream() << "\nLimits over the cases:\n";
    for (const auto& [name, range] : Limits()) {
      GetOutputStream() << absl::StrFormat("  %s: %.2f to %.2f %s\n", name,
                                           range.lowest, range.highest,
                                           range.unit);
    }
  }
};

}  // namespace

Contender Refused(const char* name, const absl::Status& why) {
  Contender contender;
  contender.name = name;
  contender.refusal = std::string(why.message());
  return contender;
}

Contender Checked(Contender contender, double worst) {
  if (worst <= 1) return contender;
  any_wrong_answer = true;
  contender.refusal =
      absl::StrFormat("wrong: %.3g times its error bound", worst);
  return contender;
}

void RunPeers(benchmark::State& state, const PeerTable& table,
              std::vector<Contender> contenders) {
  Rounds rounds(std::move(contenders));
  for (auto _ : state) rounds.RunRound();
  for (size_t c = 0; c < rounds.contenders().size(); ++c) {
    state.counters[rounds.contenders()[c].name] =
        rounds.timing(c).median_seconds;
  }
  state.SetLabel(TableOf(table, rounds));
}

}  // namespace ulpscope

int main(int argc, char** argv) {
  if (!ulpscope::TakeTargetFlag(argc, argv)) return 1;
  ulpscope::RegisterPeerMatMuls();
  ulpscope::RegisterPeerRows();
  // Before the caller's flags, which win.
  std::string rounds = "--benchmark_min_time=9x";
  std::vector<char*> args(argv, argv + argc);
  args.insert(args.begin() + std::min(argc, 1), rounds.data());
  int count = static_cast<int>(args.size());
  args.push_back(nullptr);
  benchmark::Initialize(&count, args.data());
  if (benchmark::ReportUnrecognizedArguments(count, args.data())) return 1;
  ulpscope::TableReporter reporter;
  benchmark::RunSpecifiedBenchmarks(&reporter);
  benchmark::Shutdown();
  return ulpscope::any_wrong_answer ? 1 : 0;
}
