#include "explorer/app/flag_values.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "kernels/measure/random.h"
#include "model/architecture/config.h"
#include "model/checkpoint/checkpoint.h"
#include "model/synthetic/synthetic.h"

namespace ulpscope {
namespace {

absl::StatusOr<int32_t> ParseToken(const std::string& text,
                                   const ModelConfig& config,
                                   absl::string_view flag) {
  int32_t token = 0;
  if (!absl::SimpleAtoi(text, &token) || token < 0 ||
      token >= config.vocab_size) {
    return BadFlag(flag, text,
                   absl::StrCat("token ids from 0 to ", config.vocab_size - 1));
  }
  return token;
}

// Ids and commas, of --tokens.
absl::StatusOr<std::vector<int32_t>> ParseIds(const std::string& text,
                                              const ModelConfig& config) {
  std::vector<int32_t> tokens;
  for (absl::string_view id :
       absl::StrSplit(absl::StripSuffix(text, ","), ',')) {
    const auto token = ParseToken(std::string(id), config, "tokens");
    if (!token.ok()) return token.status();
    tokens.push_back(*token);
  }
  return tokens;
}

}  // namespace

absl::Status BadFlag(absl::string_view flag, absl::string_view value,
                     absl::string_view expected) {
  return absl::InvalidArgumentError(
      absl::StrCat("--", flag, "=", value, ": expected ", expected));
}

std::string CallersPath(absl::string_view path) {
  const char* folder = std::getenv("BUILD_WORKING_DIRECTORY");
  if (folder == nullptr || path.empty() ||
      absl::StartsWith(path, "synthetic:")) {
    return std::string(path);
  }
  return (std::filesystem::path(folder) / std::string(path)).string();
}

absl::StatusOr<std::set<size_t>> ParseLayers(const std::string& text,
                                             size_t num_layers) {
  std::set<size_t> layers;
  for (absl::string_view range : absl::StrSplit(text, ',', absl::SkipEmpty())) {
    const std::vector<absl::string_view> ends = absl::StrSplit(range, '-');
    size_t first = 0, last = 0;
    if (ends.size() > 2 || !absl::SimpleAtoi(ends.front(), &first) ||
        !absl::SimpleAtoi(ends.back(), &last) || first < 1 || first > last ||
        last > num_layers) {
      return BadFlag(
          "layers", text,
          absl::StrCat("layers or ranges of them within 1-", num_layers));
    }
    for (size_t layer = first; layer <= last; ++layer) layers.insert(layer);
  }
  return layers;
}

absl::StatusOr<int32_t> FirstToken(const std::string& text,
                                   const Checkpoint& checkpoint) {
  constexpr int64_t kSeedReportToken = 9707;
  if (!text.empty()) return ParseToken(text, checkpoint.config, "token");
  absl::string_view synthetic = checkpoint.name;
  if (absl::ConsumePrefix(&synthetic, "synthetic:")) {
    const auto planted = SyntheticMassiveActivation(synthetic);
    if (planted.ok()) return planted->tokens.front();
  }
  return static_cast<int32_t>(
      std::min(kSeedReportToken, checkpoint.config.vocab_size - 1));
}

absl::StatusOr<std::vector<int32_t>> PromptTokens(const std::string& text,
                                                  const ModelConfig& config,
                                                  int32_t first,
                                                  uint64_t seed) {
  if (absl::StrContains(text, ',')) return ParseIds(text, config);
  size_t count = 0;
  if (!absl::SimpleAtoi(text, &count) || count < 1 || count > (1 << 20)) {
    return BadFlag("tokens", text,
                   "a number from 1 to 2^20, or ids and commas");
  }
  std::vector<int32_t> prompt = {first};
  Random random(seed);
  while (prompt.size() < count) {
    prompt.push_back(static_cast<int32_t>(
        random.Below(static_cast<uint64_t>(config.vocab_size))));
  }
  return prompt;
}

absl::StatusOr<std::vector<int32_t>> TokensOfTrace(const std::string& tokens,
                                                   const std::string& token,
                                                   const ModelConfig& config) {
  if (!token.empty()) {
    const auto id = ParseToken(token, config, "token");
    if (!id.ok()) return id.status();
    return std::vector<int32_t>{*id};
  }
  if (!absl::StrContains(tokens, ',')) {
    return BadFlag("tokens", tokens,
                   "the ids of the trace's tokens and commas (a single one "
                   "with a comma after it, or as --token): a number of tokens "
                   "says nothing of a trace");
  }
  return ParseIds(tokens, config);
}

bool ReadMemory(absl::string_view text, size_t available, size_t& bytes) {
  absl::string_view number = text;
  double unit = 1;
  const bool is_share = absl::ConsumeSuffix(&number, "%");
  if (is_share) {
    unit = static_cast<double>(available) / 100;
  } else if (absl::ConsumeSuffix(&number, "K")) {
    unit = 0x1p10;
  } else if (absl::ConsumeSuffix(&number, "M")) {
    unit = 0x1p20;
  } else if (absl::ConsumeSuffix(&number, "G")) {
    unit = 0x1p30;
  }
  double value = 0;
  // A number and nothing else: no spaces, no "inf".
  if (number.find_first_not_of("0123456789.") != absl::string_view::npos ||
      !absl::SimpleAtod(number, &value) || (is_share && value > 100)) {
    return false;
  }
  value *= unit;
  if (!(value >= 1 && value < 0x1p63)) return false;
  bytes = static_cast<size_t>(value);
  return true;
}

absl::Status CheckMemory(const ModelConfig& config, size_t tokens,
                         bool all_logits, size_t available) {
  // A key and a value in f32 are as large as one f64.
  double values = static_cast<double>(config.num_hidden_layers) *
                  static_cast<double>(config.kv_size());
  if (all_logits) values += 2.0 * static_cast<double>(config.vocab_size);
  const double bytes = values * static_cast<double>(tokens) * sizeof(double);
  const double memory = static_cast<double>(available);
  if (bytes <= memory) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("--tokens: %d tokens need more than %.0f GB; this "
                      "process may use %.0f GB",
                      tokens, bytes / 1e9, memory / 1e9));
}

}  // namespace ulpscope
