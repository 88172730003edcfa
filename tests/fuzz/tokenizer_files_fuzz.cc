// The other files of a tokenizer, one behind the other with a NUL between:
// tokenizer_config.json, vocab.json, merges.txt, generation_config.json and
// chat_template.jinja; those that are not there or empty are missing.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "model/tokenizer/tokenizer.h"
#include "nlohmann/json.hpp"
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

class Folder {
 public:
  Folder() {
    for (const char* const name : kNames) {
      files_.push_back(folder_.Add(name));
      // Until it has contents it has another name.
      Hide(name);
    }
  }

  void Open(absl::string_view input) {
    const std::vector<std::string> parts = PartsOf(input);
    for (size_t i = 0; i < parts.size(); ++i) {
      if (parts[i].empty()) continue;
      folder_.Set(files_[i], parts[i]);
      Show(kNames[i]);
    }
    const auto tokenizer = Tokenizer::Load(folder_.path());
    if (tokenizer.ok()) {
      UseTokenizer(*tokenizer);
    } else {
      RequireNames(tokenizer.status(), folder_.path());
    }
    for (size_t i = 0; i < parts.size(); ++i) {
      if (!parts[i].empty()) Hide(kNames[i]);
    }
  }

 private:
  void Hide(const std::string& name) { Rename(name, name + ".hidden"); }
  void Show(const std::string& name) { Rename(name + ".hidden", name); }
  void Rename(const std::string& from, const std::string& to) {
    Require(std::rename(folder_.PathOf(from).c_str(),
                        folder_.PathOf(to).c_str()) == 0,
            "a file cannot be renamed");
  }

  InputFolder folder_;
  std::vector<int> files_;
};

}  // namespace
}  // namespace ulpscope

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static auto& folder = *new ulpscope::Folder();
  folder.Open(ulpscope::TextOf(data, size));
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size,
                                          size_t max_size, unsigned int seed) {
  ulpscope::Choice choice(seed);
  if (choice.Below(4) == 0) return LLVMFuzzerMutate(data, size, max_size);
  std::vector<std::string> parts =
      ulpscope::PartsOf(ulpscope::TextOf(data, size));
  std::string& part = parts[choice.Below(parts.size())];
  const size_t used = part.size();
  part.resize(used + 64);
  part.resize(ulpscope::MutateJsonText(reinterpret_cast<uint8_t*>(part.data()),
                                       used, part.size(), seed + 1));
  return ulpscope::PutBack(absl::StrJoin(parts, absl::string_view("\0", 1)),
                           data, size, max_size);
}
