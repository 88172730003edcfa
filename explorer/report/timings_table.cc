#include "explorer/report/timings_table.h"

#include <cstddef>
#include <string>
#include <vector>

#include "explorer/error/evaluation.h"
#include "explorer/results/schema.h"

namespace ulpscope {
namespace {

struct Timing {
  const TimedPlan* of;
  const char* phase;
  size_t run;  // from 1
  double seconds;
};

}  // namespace

Table TimingsTable(const std::string& about,
                   const std::vector<TimedPlan>& plans) {
  std::vector<Timing> timings;
  for (const TimedPlan& plan : plans) {
    const auto add = [&](const char* phase, const std::vector<double>& runs) {
      for (size_t i = 0; i < runs.size(); ++i) {
        timings.push_back({&plan, phase, i + 1, runs[i]});
      }
    };
    add("prefill", plan.timing->prefill);
    add("decode", plan.timing->decode);
  }
  using T = Timing;
  const Fields<Timing> fields = {
      {"plan", "Plan", Unit::kNone, "The plan's canonical text.",
       [](const T& t) { return t.of->plan; }},
      {"phase", "Phase", Unit::kNone,
       "\"prefill\" (the prompt) or \"decode\" (one token after it).",
       [](const T& t) { return std::string(t.phase); }},
      {"run", "Run", Unit::kNone, "From 1, in the order of time.",
       [](const T& t) { return t.run; }},
      {"seconds", "Seconds", Unit::kSeconds, "What it took.",
       [](const T& t) { return t.seconds; }}};
  return MakeTable("timings", about, fields, timings);
}

}  // namespace ulpscope
