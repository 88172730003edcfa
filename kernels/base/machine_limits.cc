#include "kernels/base/machine_limits.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace ulpscope {
namespace {

std::vector<std::string> Lines(const std::string& path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

// A number above 0 in the first line of a file, else 0: "max" and -1 stand for
// no limit.
int64_t Number(absl::string_view text) {
  int64_t number = 0;
  return absl::SimpleAtoi(text, &number) && number > 0 ? number : 0;
}
int64_t NumberIn(const std::string& path) {
  const std::vector<std::string> lines = Lines(path);
  return lines.empty() ? 0 : Number(lines.front());
}

void LimitMemory(int64_t bytes, CgroupLimits& limits) {
  if (bytes > 0) limits.memory = std::min<size_t>(limits.memory, bytes);
}

void LimitCpus(int64_t quota, int64_t period, CgroupLimits& limits) {
  if (quota < 1 || period < 1) return;
  limits.cpus = std::min<size_t>(limits.cpus, (quota - 1) / period + 1);
}

// One group, by the files in its folder: those of either version, since only
// one has them.
void ReadGroup(const std::string& folder, CgroupLimits& limits) {
  LimitMemory(NumberIn(folder + "/memory.max"), limits);
  LimitMemory(NumberIn(folder + "/memory.limit_in_bytes"), limits);
  LimitCpus(NumberIn(folder + "/cpu.cfs_quota_us"),
            NumberIn(folder + "/cpu.cfs_period_us"), limits);
  for (const std::string& line : Lines(folder + "/cpu.max")) {
    const std::vector<absl::string_view> fields = absl::StrSplit(line, ' ');
    if (fields.size() == 2) {
      LimitCpus(Number(fields[0]), Number(fields[1]), limits);
    }
  }
}

// The path of this process's group in the hierarchy whose line in
// /proc/self/cgroup ("4:memory:/a/b", "0::/a/b") lists `controller`.
std::string GroupOf(const std::vector<std::string>& groups,
                    absl::string_view controller) {
  for (const std::string& line : groups) {
    const std::vector<std::string> fields =
        absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (fields.size() == 3 &&
        absl::c_linear_search(absl::StrSplit(fields[1], ','), controller)) {
      return fields[2];
    }
  }
  return "";
}

}  // namespace

CgroupLimits ReadCgroupLimits(const std::string& root) {
  const std::vector<std::string> groups = Lines(root + "/proc/self/cgroup");
  CgroupLimits limits;
  // 36 35 98:0 /root /mount/point rw,relatime ... - type source rw,controllers
  for (const std::string& line : Lines(root + "/proc/self/mountinfo")) {
    const std::vector<std::string> halves = absl::StrSplit(line, " - ");
    if (halves.size() != 2) continue;
    const std::vector<std::string> mount = absl::StrSplit(halves[0], ' ');
    const std::vector<std::string> system = absl::StrSplit(halves[1], ' ');
    if (mount.size() < 5 || system.size() < 3) continue;
    std::string group;
    if (system[0] == "cgroup2") {
      group = GroupOf(groups, "");
    } else if (system[0] == "cgroup") {
      for (absl::string_view option : absl::StrSplit(system[2], ',')) {
        if (option == "memory" || option == "cpu") {
          group = GroupOf(groups, option);
        }
      }
    }
    if (group.empty()) continue;
    // The mount may show the hierarchy from some group on. That of a container
    // shows the container's as its root, whatever name that has outside.
    absl::string_view path = group;
    if (mount[3] != "/" && !absl::ConsumePrefix(&path, mount[3])) path = "";
    if (absl::StrContains(path, "..")) path = "";
    path = absl::StripSuffix(path, "/");
    while (true) {
      ReadGroup(absl::StrCat(root, mount[4], path), limits);
      if (path.empty()) break;
      path = path.substr(0, path.rfind('/'));
    }
  }
  return limits;
}

size_t AvailableMemory(const std::string& root) {
  const size_t physical = static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) *
                          static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return std::min(physical, ReadCgroupLimits(root).memory);
}

size_t AvailableCpus(const std::string& root) {
  size_t cpus = std::max(1u, std::thread::hardware_concurrency());
  cpu_set_t usable;
  // The call fails where there are more CPUs than the set has room for.
  if (sched_getaffinity(0, sizeof(usable), &usable) == 0) {
    cpus = std::min<size_t>(cpus, CPU_COUNT(&usable));
  }
  return std::min(cpus, ReadCgroupLimits(root).cpus);
}

}  // namespace ulpscope
