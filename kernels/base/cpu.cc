#include "kernels/base/cpu.h"

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "hwy/targets.h"

namespace ulpscope {
namespace {

// Bits that are lower are better targets (hwy/detect_targets.h).
int64_t BestTarget() {
  const int64_t usable = hwy::SupportedTargets() & HWY_TARGETS;
  return usable & -usable;
}

}  // namespace

absl::Status CheckCpu() {
  if (BestTarget() != 0) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("this CPU (", CpuName(), ") cannot run the target ",
                   hwy::TargetName(HWY_STATIC_TARGET),
                   ", the least that ulpscope is built for: every strategy "
                   "needs FMA"));
}

std::string KernelTarget() { return hwy::TargetName(BestTarget()); }

bool CpuHasBf16Dot() { return TargetHasBf16Dot(BestTarget()); }

std::string CpuName() {
  std::ifstream file("/proc/cpuinfo");
  std::stringstream text;
  text << file.rdbuf();
  return CpuNameIn(text.str());
}

std::string CpuNameIn(absl::string_view cpuinfo) {
  std::string implementer;
  std::vector<std::string> cores;  // kinds of them
  for (absl::string_view line : absl::StrSplit(cpuinfo, '\n')) {
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(line, absl::MaxSplits(':', 1));
    const absl::string_view field = absl::StripAsciiWhitespace(parts.first);
    const absl::string_view value = absl::StripAsciiWhitespace(parts.second);
    if (value.empty()) continue;
    if (field == "model name") return std::string(value);
    if (field == "CPU implementer") implementer = std::string(value);
    if (field == "CPU part") {
      std::string core =
          absl::StrCat("Arm implementer ", implementer, " part ", value);
      if (std::find(cores.begin(), cores.end(), core) == cores.end()) {
        cores.push_back(std::move(core));
      }
    }
  }
  return cores.empty() ? "unknown CPU" : absl::StrJoin(cores, " + ");
}

}  // namespace ulpscope
