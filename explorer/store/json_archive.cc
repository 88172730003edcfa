#include "explorer/store/json_archive.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace ulpscope {
namespace {

using Json = nlohmann::json;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

Json JsonOf(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  return value;
}

}  // namespace

std::string JsonWriter::Text() const {
  return root_.dump(-1, ' ', /*ensure_ascii=*/true,
                    Json::error_handler_t::replace);
}

Json& JsonWriter::Member(absl::string_view name) {
  return (*open_.back())[std::string(name)];
}

void JsonWriter::Figure(absl::string_view name, double& value) {
  Member(name) = JsonOf(value);
}

void JsonWriter::Figure(absl::string_view name, std::optional<double>& value) {
  Member(name) = value.has_value() ? JsonOf(*value) : Json();
}

void JsonWriter::Figure(absl::string_view name, size_t& value) {
  Member(name) = uint64_t{value};
}

void JsonWriter::Figure(absl::string_view name, bool& value) {
  Member(name) = value;
}

void JsonWriter::Figure(absl::string_view name, std::string& value) {
  Member(name) = value;
}

void JsonWriter::Figure(absl::string_view name, std::vector<double>& values) {
  Json list = Json::array();
  for (const double value : values) list.push_back(JsonOf(value));
  Member(name) = std::move(list);
}

bool JsonWriter::OpenPart(absl::string_view name, bool there) {
  Json& part = Member(name);
  if (!there) return false;
  part = Json::object();
  open_.push_back(&part);
  return true;
}

size_t JsonWriter::OpenList(absl::string_view name, size_t size) {
  Json& list = Member(name);
  list = Json::array();
  for (size_t i = 0; i < size; ++i) list.push_back(Json::object());
  open_.push_back(&list);
  return size;
}

void JsonWriter::OpenItem(size_t index) {
  open_.push_back(&(*open_.back())[index]);
}

const Json* JsonReader::Member(absl::string_view name) {
  const Json* const object = open_.back();
  if (ok_ && object != nullptr && object->is_object()) {
    const auto found = object->find(std::string(name));
    if (found != object->end()) return &*found;
  }
  ok_ = false;
  return nullptr;
}

void JsonReader::Read(const Json& json, double& value) {
  if (json.is_number()) {
    value = json.get<double>();
  } else if (json == "NaN") {
    value = std::numeric_limits<double>::quiet_NaN();
  } else if (json == "Infinity") {
    value = kInfinity;
  } else if (json == "-Infinity") {
    value = -kInfinity;
  } else {
    ok_ = false;
  }
}

void JsonReader::Figure(absl::string_view name, double& value) {
  if (const Json* const json = Member(name)) Read(*json, value);
}

void JsonReader::Figure(absl::string_view name, std::optional<double>& value) {
  const Json* const json = Member(name);
  value.reset();
  if (json != nullptr && !json->is_null()) Read(*json, value.emplace());
}

void JsonReader::Figure(absl::string_view name, size_t& value) {
  const Json* const json = Member(name);
  if (json == nullptr) return;
  ok_ = json->is_number_unsigned();
  if (ok_) value = json->get<uint64_t>();
}

void JsonReader::Figure(absl::string_view name, bool& value) {
  const Json* const json = Member(name);
  if (json == nullptr) return;
  ok_ = json->is_boolean();
  if (ok_) value = json->get<bool>();
}

void JsonReader::Figure(absl::string_view name, std::string& value) {
  const Json* const json = Member(name);
  if (json == nullptr) return;
  ok_ = json->is_string();
  if (ok_) value = json->get<std::string>();
}

void JsonReader::Figure(absl::string_view name, std::vector<double>& values) {
  values.clear();
  const Json* const json = Member(name);
  if (json == nullptr) return;
  ok_ = json->is_array();
  if (!ok_) return;
  for (const Json& item : *json) Read(item, values.emplace_back());
}

bool JsonReader::OpenPart(absl::string_view name, bool /*there*/) {
  const Json* const json = Member(name);
  if (json == nullptr || json->is_null()) return false;
  open_.push_back(json);
  return true;
}

size_t JsonReader::OpenList(absl::string_view name, size_t /*size*/) {
  const Json* const json = Member(name);
  if (json != nullptr && !json->is_array()) ok_ = false;
  open_.push_back(ok_ ? json : nullptr);
  return ok_ ? json->size() : 0;
}

void JsonReader::OpenItem(size_t index) {
  const Json* const list = open_.back();
  open_.push_back(list == nullptr ? nullptr : &(*list)[index]);
}

}  // namespace ulpscope
