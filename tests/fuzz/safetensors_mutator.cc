// Of targets whose input is a .safetensors file.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/json_mutator.h"

namespace ulpscope {
namespace {

using Json = nlohmann::json;

constexpr size_t kLengthSize = 8;
constexpr uint64_t kMostData = 1 << 14;

uint64_t BytesPerElement(const Json& dtype) {
  if (!dtype.is_string()) return 1;
  const auto& name = dtype.get_ref<const std::string&>();
  if (name.find("64") != std::string::npos) return 8;
  if (name.find("32") != std::string::npos) return 4;
  return name.find("16") != std::string::npos ? 2 : 1;
}

// The bytes that a tensor takes; as many as it has where that is too much.
uint64_t SizeOf(const Json& entry) {
  uint64_t size = BytesPerElement(entry.value("dtype", Json()));
  for (const Json& n : entry.value("shape", Json::array())) {
    if (!n.is_number_unsigned() || n.get<uint64_t>() > kMostData) return 0;
    size *= n.get<uint64_t>();
    if (size > kMostData) return 0;
  }
  return size;
}

// Puts the tensors one behind the other.
void Repair(Json& header, std::string& data) {
  uint64_t end = 0;
  for (auto& [name, entry] : header.items()) {
    if (name == "__metadata__" || !entry.is_object()) continue;
    const uint64_t size = SizeOf(entry);
    if (end + size > kMostData) continue;
    entry["data_offsets"] = {end, end + size};
    end += size;
  }
  data.resize(end, '\x3f');
}

}  // namespace

// Changes the header, whose length is then that of the header again; mostly
// also the offsets and the data fit the shapes.
std::optional<std::string> MutateInput(Choice& choice,
                                       absl::string_view input) {
  if (input.size() < kLengthSize || choice.Below(6) == 0) return std::nullopt;
  uint64_t length = 0;
  std::memcpy(&length, input.data(), kLengthSize);
  input.remove_prefix(kLengthSize);
  std::string text(input.substr(0, std::min<uint64_t>(length, input.size())));
  std::string data(input.substr(text.size()));
  Json header = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (header.is_object() && choice.Below(4) != 0) {
    MutateJson(choice, header);
    if (header.is_object() && choice.Below(8) != 0) Repair(header, data);
    text = header.dump(-1, ' ', false, Json::error_handler_t::replace);
  } else {
    Mutate(text);
  }
  length = text.size();
  return absl::StrCat(
      absl::string_view(reinterpret_cast<const char*>(&length), kLengthSize),
      text, data);
}

}  // namespace ulpscope
