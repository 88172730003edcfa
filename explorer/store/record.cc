#include "explorer/store/record.h"

#include <map>
#include <string>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "explorer/error/archive.h"
#include "explorer/store/json_archive.h"
#include "model/files/content_hash.h"
#include "model/files/strict_json.h"
#include "nlohmann/json.hpp"

namespace ulpscope {
namespace {

using Json = nlohmann::json;
using Texts = std::map<std::string, std::string>;

// Members in the order of their names, ASCII: equal values have equal text.
std::string TextOf(const Json& json) {
  return json.dump(-1, ' ', /*ensure_ascii=*/true,
                   Json::error_handler_t::replace);
}

absl::Status Damaged(absl::string_view what) {
  return absl::DataLossError(what);
}

bool Read(const Json& json, const char* name, std::string& text) {
  const auto found = json.find(name);
  if (found == json.end() || !found->is_string()) return false;
  text = found->get<std::string>();
  return true;
}

bool Read(const Json& json, const char* name, Texts& texts) {
  const auto found = json.find(name);
  if (found == json.end() || !found->is_object()) return false;
  for (const auto& [key, value] : found->items()) {
    if (!value.is_string()) return false;
    texts[key] = value.get<std::string>();
  }
  return true;
}

absl::string_view Find(const Texts& texts, const std::string& name) {
  const auto found = texts.find(name);
  return found == texts.end() ? absl::string_view() : found->second;
}

}  // namespace

absl::string_view Record::Input(const std::string& name) const {
  return Find(input, name);
}

absl::string_view Record::Host(const std::string& name) const {
  return Find(host, name);
}

std::string KeyOf(const Texts& input) {
  return ContentHash(TextOf(Json(input)));
}

std::string LineOf(const Record& record) {
  Json line = {{"v", kStoreVersion},  {"key", record.key},
               {"kind", record.kind}, {"run", record.run},
               {"t", record.time},    {"input", record.input},
               {"host", record.host}, {"result", Json()}};
  line["result"] = Json::parse(record.result);
  line["check"] = ContentHash(TextOf(line));
  return TextOf(line);
}

absl::StatusOr<Record> ParseLine(absl::string_view text) {
  if (text.size() > kMostOfLine) {
    return Damaged(absl::StrCat("it has more than ", kMostOfLine, " bytes"));
  }
  auto parsed = ParseJsonObject(text, "it");
  if (!parsed.ok()) return Damaged(parsed.status().message());
  Json& line = *parsed;
  const auto version = line.find("v");
  if (version == line.end() || !version->is_number_integer()) {
    return Damaged("it has no version");
  }
  if (*version != kStoreVersion) {
    return Damaged(absl::StrCat("it is of version ", TextOf(*version),
                                ", expected ", kStoreVersion));
  }
  Record record;
  std::string check;
  const auto result = line.find("result");
  if (!Read(line, "check", check) || !Read(line, "key", record.key) ||
      !Read(line, "kind", record.kind) || !Read(line, "run", record.run) ||
      !Read(line, "t", record.time) || !Read(line, "input", record.input) ||
      !Read(line, "host", record.host) || result == line.end() ||
      !result->is_object()) {
    return Damaged("it is no record of a measurement");
  }
  record.result = TextOf(*result);
  line.erase("check");
  if (check != ContentHash(TextOf(line))) {
    return Damaged("its checksum is wrong");
  }
  if (record.key != KeyOf(record.input) ||
      record.kind != record.Input("kind")) {
    return Damaged("its key is not that of its input");
  }
  return record;
}

bool ReadResult(const Record& record, absl::FunctionRef<void(Archive&)> read) {
  const Json json = Json::parse(record.result, nullptr,
                                /*allow_exceptions=*/false);
  JsonReader reader(json);
  read(reader);
  return reader.ok();
}

}  // namespace ulpscope
