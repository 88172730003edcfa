#include "explorer/tuning/wisdom_file.h"

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "explorer/tuning/tune.h"
#include "kernels/tune/wisdom.h"

namespace ulpscope {

WisdomFile::WisdomFile(const std::string& flag, size_t threads) {
  if (flag == "none") {
    reason_ = "--wisdom=none";
    return;
  }
  path_ = flag.empty() ? DefaultWisdomPath() : flag;
  if (path_.empty()) {
    reason_ = "no --wisdom, and neither XDG_CACHE_HOME nor HOME is set";
    return;
  }
  auto wisdom = Wisdom::Load(path_);
  if (!wisdom.ok()) {
    reason_ = std::string(wisdom.status().message());
    ignored_ = true;
    damaged_ = absl::IsDataLoss(wisdom.status());
    return;
  }
  wisdom_ = *std::move(wisdom);
  const Machine machine = Machine::This(threads);
  tunings_ = wisdom_.Find(machine);
  if (tunings_ != nullptr) return;
  if (wisdom_.num_machines() == 0) {
    reason_ = absl::StrCat(path_, " does not exist (--tune makes it)");
    return;
  }
  reason_ = absl::StrFormat(
      "%s knows other machines, thread counts or kernel versions, but not %s, "
      "%s, %d threads, version %d",
      path_, machine.cpu, machine.target, machine.threads,
      machine.kernel_version);
  ignored_ = true;
}

WisdomUse WisdomFile::UseFor(const std::vector<TunableMatMul>& matmuls) const {
  WisdomUse use;
  use.file = path_;
  use.timed = matmuls.size();
  use.reason = reason_;
  if (tunings_ == nullptr) return use;
  use.known = CountKnown(*tunings_, matmuls);
  if (use.known == 0) {
    use.reason = absl::StrCat(path_, " knows none of these MatMuls");
  }
  return use;
}

}  // namespace ulpscope
