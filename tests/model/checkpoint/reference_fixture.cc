#include "tests/model/checkpoint/reference_fixture.h"

#include <cstddef>
#include <cstring>
#include <fstream>
#include <iterator>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace ulpscope {
namespace {

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat(path, ": cannot open"));
  return std::string(std::istreambuf_iterator<char>(file), {});
}

bool IsIntegerArray(const nlohmann::json& json) {
  if (!json.is_array()) return false;
  for (const nlohmann::json& element : json) {
    if (!element.is_number_integer()) return false;
  }
  return true;
}

double LittleEndianDouble(const char* bytes) {
  uint64_t bits = 0;
  for (int i = 7; i >= 0; --i) {
    bits = bits << 8 | static_cast<unsigned char>(bytes[i]);
  }
  double value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

// The elements of `entry`'s shape, from its offset on.
absl::StatusOr<ReferenceArray> ReadArray(const nlohmann::json& entry,
                                         const std::string& bytes) {
  if (!entry.is_object() || !entry.contains("shape") ||
      !IsIntegerArray(entry["shape"]) || !entry.contains("offset") ||
      !entry["offset"].is_number_unsigned()) {
    return absl::InvalidArgumentError("expected a shape and an offset");
  }
  ReferenceArray array;
  const uint64_t available = bytes.size() / sizeof(double);
  const uint64_t offset = entry["offset"].get<uint64_t>();
  uint64_t size = 1;
  for (const nlohmann::json& element : entry["shape"]) {
    const int64_t extent = element.get<int64_t>();
    if (extent <= 0 || static_cast<uint64_t>(extent) > available / size) {
      return absl::InvalidArgumentError(
          absl::StrCat("extent ", extent, " does not fit the values"));
    }
    size *= static_cast<uint64_t>(extent);
    array.shape.push_back(extent);
  }
  if (offset > available - size) {
    return absl::InvalidArgumentError(absl::StrCat(
        "offset ", offset, " + ", size, " of ", available, " values"));
  }
  array.values.reserve(size);
  for (uint64_t i = offset; i < offset + size; ++i) {
    array.values.push_back(LittleEndianDouble(&bytes[i * sizeof(double)]));
  }
  return array;
}

}  // namespace

absl::StatusOr<ReferenceFixture> LoadReferenceFixture(absl::string_view name) {
  ReferenceFixture fixture;
  fixture.folder = absl::StrCat("tests/testdata/reference/", name);
  const std::string path = fixture.folder + "/expected.json";
  absl::StatusOr<std::string> text = ReadFile(path);
  if (!text.ok()) return text.status();
  absl::StatusOr<std::string> bytes =
      ReadFile(fixture.folder + "/expected.f64");
  if (!bytes.ok()) return bytes.status();

  const nlohmann::json json =
      nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("tokens") ||
      !IsIntegerArray(json["tokens"]) || !json.contains("arrays") ||
      !json["arrays"].is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": expected tokens and arrays"));
  }
  for (const nlohmann::json& token : json["tokens"]) {
    fixture.tokens.push_back(token.get<int64_t>());
  }
  for (const auto& [key, entry] : json["arrays"].items()) {
    absl::StatusOr<ReferenceArray> array = ReadArray(entry, *bytes);
    if (!array.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": ", key, ": ", array.status().message()));
    }
    fixture.arrays[key] = *std::move(array);
  }
  return fixture;
}

}  // namespace ulpscope
