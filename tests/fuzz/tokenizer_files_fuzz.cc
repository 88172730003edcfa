// The other files of a tokenizer, one behind the other with a NUL between:
// tokenizer_config.json, vocab.json, merges.txt, generation_config.json and
// chat_template.jinja; those that are not there or empty are missing.

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "model/tokenizer/tokenizer.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/json_mutator.h"
#include "tests/fuzz/use_tokenizer.h"

namespace ulpscope {
namespace {

constexpr const char* kNames[] = {"tokenizer_config.json", "vocab.json",
                                  "merges.txt", "generation_config.json",
                                  "chat_template.jinja"};

std::vector<std::string> PartsOf(absl::string_view input) {
  return absl::StrSplit(
      input, absl::MaxSplits('\0', static_cast<int>(std::size(kNames)) - 1));
}

}  // namespace

void ReadInput(absl::string_view input) {
  static auto& folder = *new InputFolder();
  const std::vector<std::string> parts = PartsOf(input);
  for (size_t i = 0; i < parts.size(); ++i) {
    if (!parts[i].empty()) folder.Set(kNames[i], parts[i]);
  }
  const auto tokenizer = Tokenizer::Load(folder.path());
  for (const char* const name : kNames) folder.Remove(name);
  if (!tokenizer.ok()) return RequireNames(tokenizer.status(), folder.path());
  UseTokenizer(*tokenizer);
}

std::optional<std::string> MutateInput(Choice& choice,
                                       absl::string_view input) {
  if (choice.Below(4) == 0) return std::nullopt;
  std::vector<std::string> parts = PartsOf(input);
  std::string& part = parts[choice.Below(parts.size())];
  const auto changed = MutatedJson(choice, part);
  if (changed.has_value()) {
    part = *changed;
  } else {
    Mutate(part);
  }
  return absl::StrJoin(parts, absl::string_view("\0", 1));
}

}  // namespace ulpscope
