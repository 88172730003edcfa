// A wisdom file.

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/str_format.h"
#include "explorer/tuning/wisdom.h"
#include "nlohmann/json.hpp"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/json_mutator.h"

namespace ulpscope {
namespace {

using Json = nlohmann::json;

constexpr absl::string_view kBegin = "{\n \"checksum\": \"";
constexpr size_t kChecksumSize = 16;
constexpr size_t kSummed = kBegin.size() + kChecksumSize + 3;  // from there on

// As wisdom.h says; FNV-1a.
void Repair(std::string& text) {
  if (text.size() < kSummed) return;
  uint64_t hash = 0xCBF29CE484222325;
  for (size_t i = kSummed; i < text.size(); ++i) {
    hash = (hash ^ static_cast<unsigned char>(text[i])) * 0x100000001B3;
  }
  text.replace(kBegin.size(), kChecksumSize, absl::StrFormat("%016x", hash));
}

void Read(absl::string_view text) {
  const auto wisdom = Wisdom::Parse(text, "wisdom.json");
  if (!wisdom.ok()) {
    Require(absl::IsDataLoss(wisdom.status()), "another error");
    return RequireNames(wisdom.status(), "wisdom.json");
  }
  Require(wisdom->Text() == text, "another text is written");
  Wisdom more;
  more.Add(*wisdom);
  more.Add(*wisdom);
  const auto again = Wisdom::Parse(more.Text(), "wisdom.json");
  Require(again.ok() && again->num_machines() <= wisdom->num_machines(),
          "what is added cannot be read back");
  wisdom->Find(Machine::This(1));
}

}  // namespace
}  // namespace ulpscope

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ulpscope::Read(ulpscope::TextOf(data, size));
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size,
                                          size_t max_size, unsigned int seed) {
  using ulpscope::Json;
  ulpscope::Choice choice(seed);
  if (choice.Below(8) == 0) return LLVMFuzzerMutate(data, size, max_size);
  std::string text(ulpscope::TextOf(data, size));
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_object() && choice.Below(4) != 0) {
    ulpscope::MutateJson(choice, json);
    text = json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
  } else {
    ulpscope::Mutate(text);
  }
  ulpscope::Repair(text);
  return ulpscope::PutBack(text, data, size, max_size);
}
