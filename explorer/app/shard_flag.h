#ifndef EXPLORER_APP_SHARD_FLAG_H_
#define EXPLORER_APP_SHARD_FLAG_H_

#include <cstddef>
#include <optional>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/sweep/shard.h"

namespace ulpscope {

// --shard.
struct ShardFlag {
  size_t count = 0;             // 0: without the flag
  std::optional<size_t> index;  // none: auto
};

// Reads "I/N" with I < N, "auto/N", or nothing. False if it is something else.
bool ReadShardFlag(absl::string_view text, ShardFlag& flag);

// Where launchers of many processes say which of them one is, counted from 0,
// in the order in which --shard=auto looks: array tasks and Indexed Jobs before
// what is launched in them, and Slurm's own number of a process last.
absl::Span<const char* const> TaskVariables();

// The shard of this process. `variable` is the environment's, null for none;
// one that is empty is none. InvalidArgument names the variables if there is
// none, or the one that is no number below the count. Of an array of Slurm that
// starts at another number than 0, no index is taken: what is submitted again
// of it would be a part that does not say where the whole started.
absl::StatusOr<Shard> ShardOf(
    const ShardFlag& flag,
    absl::FunctionRef<const char*(const char* name)> variable);

}  // namespace ulpscope

#endif  // EXPLORER_APP_SHARD_FLAG_H_
