#include "explorer/app/shard_flag.h"

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/types/span.h"
#include "explorer/app/flag_values.h"
#include "explorer/sweep/shard.h"

namespace ulpscope {
namespace {

constexpr size_t kMostShards = size_t{1} << 20;

constexpr char kArrayTask[] = "SLURM_ARRAY_TASK_ID";

// SLURM_PROCID is last: a batch script has it too, always 0, and what mpirun or
// Flux launch in one inherits it.
constexpr const char* kVariables[] = {
    kArrayTask, "JOB_COMPLETION_INDEX", "OMPI_COMM_WORLD_RANK",
    "PMI_RANK", "FLUX_TASK_RANK",       "SLURM_PROCID"};

// Digits alone: SimpleAtoi takes signs and spaces.
bool ReadIndex(absl::string_view text, size_t& index) {
  return !text.empty() &&
         text.find_first_not_of("0123456789") == absl::string_view::npos &&
         absl::SimpleAtoi(text, &index);
}

}  // namespace

bool ReadShardFlag(absl::string_view text, ShardFlag& flag) {
  flag = {};
  if (text.empty()) return true;
  const size_t slash = text.find('/');
  if (slash == absl::string_view::npos ||
      !ReadIndex(text.substr(slash + 1), flag.count) || flag.count < 1 ||
      flag.count > kMostShards) {
    return false;
  }
  const absl::string_view index = text.substr(0, slash);
  if (index == "auto") return true;
  flag.index = 0;
  return ReadIndex(index, *flag.index) && *flag.index < flag.count;
}

absl::Span<const char* const> TaskVariables() { return kVariables; }

absl::StatusOr<Shard> ShardOf(
    const ShardFlag& flag,
    absl::FunctionRef<const char*(const char* name)> variable) {
  if (flag.index.has_value()) return Shard{*flag.index, flag.count};
  const auto text_of = [&](const char* name) {
    const char* const text = variable(name);
    return absl::string_view(text == nullptr ? "" : text);
  };
  const std::string value = absl::StrCat("auto/", flag.count);
  for (const char* const name : kVariables) {
    const absl::string_view text = text_of(name);
    if (text.empty()) continue;
    const std::string expected = absl::StrCat(name, " with a number from 0 to ",
                                              flag.count - 1, ", found ", text);
    size_t first = 0, last = 0, index = 0;
    if (name == absl::string_view(kArrayTask) &&
        ReadIndex(text_of("SLURM_ARRAY_TASK_MIN"), first) &&
        ReadIndex(text_of("SLURM_ARRAY_TASK_MAX"), last) && first > 0 &&
        last >= flag.count) {
      return BadFlag("shard", value,
                     absl::StrCat(expected, " of an array ", first, "-", last,
                                  ": let it be 0-", flag.count - 1,
                                  ", or say which shard each of its tasks is, "
                                  "as --shard=$((SLURM_ARRAY_TASK_ID - ",
                                  first, "))/", flag.count));
    }
    if (!ReadIndex(text, index) || index >= flag.count) {
      return BadFlag(
          "shard", value,
          absl::StrCat(expected, "; of ", absl::StrJoin(kVariables, ", "),
                       " the first that is set counts"));
    }
    return Shard{index, flag.count};
  }
  return BadFlag("shard", value,
                 absl::StrCat("one of ", absl::StrJoin(kVariables, ", "),
                              " to be set, found none of them"));
}

}  // namespace ulpscope
