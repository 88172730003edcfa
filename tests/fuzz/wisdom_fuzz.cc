// A wisdom file.

#include <cstddef>
#include <cstdint>
#include <optional>
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

}  // namespace

void ReadInput(absl::string_view text) {
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

std::optional<std::string> MutateInput(Choice& choice,
                                       absl::string_view input) {
  if (choice.Below(8) == 0) return std::nullopt;
  std::string text(input);
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_object() && choice.Below(4) != 0) {
    MutateJson(choice, json);
    text = json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
  } else {
    Mutate(text);
  }
  Repair(text);
  return text;
}

}  // namespace ulpscope
