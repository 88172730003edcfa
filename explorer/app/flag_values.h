#ifndef EXPLORER_APP_FLAG_VALUES_H_
#define EXPLORER_APP_FLAG_VALUES_H_

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/architecture/config.h"
#include "model/checkpoint/checkpoint.h"

namespace ulpscope {

// Values of flags, read. All errors are InvalidArgument and name the flag, what
// it was given and what it takes.

// "--flag=value: expected ...".
absl::Status BadFlag(absl::string_view flag, absl::string_view value,
                     absl::string_view expected);

// --layers: "1-4,22" -> {1, 2, 3, 4, 22}.
absl::StatusOr<std::set<size_t>> ParseLayers(const std::string& text,
                                             size_t num_layers);

// --token, or what it is by default.
absl::StatusOr<int32_t> FirstToken(const std::string& text,
                                   const Checkpoint& checkpoint);

// --tokens: ids, or a number of tokens, of which all but the first are drawn
// with the seed.
absl::StatusOr<std::vector<int32_t>> PromptTokens(const std::string& text,
                                                  const ModelConfig& config,
                                                  int32_t first, uint64_t seed);

// The same for a trace, which a number says nothing of: the one of --token, or
// if that is empty the ids of --tokens.
absl::StatusOr<std::vector<int32_t>> TokensOfTrace(const std::string& tokens,
                                                   const std::string& token,
                                                   const ModelConfig& config);

// A path or synthetic:NAME of the command line: `bazel run` starts the program
// elsewhere, and paths are the caller's.
std::string CallersPath(absl::string_view path);

// --memory: "50%" (of `available` bytes), "8G", "1.5M", "4096". False if it is
// none of these; else `bytes` has it.
bool ReadMemory(absl::string_view text, size_t available, size_t& bytes);

// What a sequence of tokens takes at least, beside the weights: keys and
// values, and where errors are measured the logits of all positions, in f64, of
// the oracle and of one plan. An error if that is more than `available` bytes.
absl::Status CheckMemory(const ModelConfig& config, size_t tokens,
                         bool all_logits, size_t available);

}  // namespace ulpscope

#endif  // EXPLORER_APP_FLAG_VALUES_H_
