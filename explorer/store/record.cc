#include "explorer/store/record.h"

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
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

// All but the result.
bool ReadAround(const Json& line, Record& record) {
  return Read(line, "key", record.key) && Read(line, "kind", record.kind) &&
         Read(line, "run", record.run) && Read(line, "t", record.time) &&
         Read(line, "input", record.input) && Read(line, "host", record.host);
}

bool HasItsKey(const Record& record) {
  return record.key == KeyOf(record.input) &&
         record.kind == record.Input("kind");
}

constexpr absl::string_view kCheck = "{\"check\":\"";
constexpr absl::string_view kResult = ",\"result\":";
constexpr absl::string_view kRun = ",\"run\":\"";
constexpr size_t kHashDigits = 32;

// A line whose text is LineOf's, as almost all are: the checksum is then that
// of the text itself, so that of the result, which is nearly all of the line,
// nothing is parsed before it is wanted. None of any other line.
std::optional<Record> ReadOwnText(absl::string_view text) {
  constexpr size_t kHead = kCheck.size() + kHashDigits + 2;  // up to the comma
  if (text.size() < kHead || !absl::StartsWith(text, kCheck)) return {};
  if (ContentHash(absl::StrCat("{", text.substr(kHead))) !=
      text.substr(kCheck.size(), kHashDigits)) {
    return {};
  }
  // No text has a quote without a backslash in it, and before the result there
  // are texts alone: the first of these is the line's own, and the last of
  // those.
  const size_t result = text.find(absl::StrCat(kResult, "{"));
  const size_t run = text.rfind(kRun);
  if (result == text.npos || run == text.npos || run < result) return {};
  const auto around = ParseJsonObject(
      absl::StrCat(text.substr(0, result), text.substr(run)), "it");
  Record record;
  if (!around.ok() || around->value("v", Json()) != kStoreVersion ||
      !ReadAround(*around, record) || !HasItsKey(record)) {
    return {};
  }
  const size_t begin = result + kResult.size();
  record.result = std::string(text.substr(begin, run - begin));
  return record;
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
  // As JSON of all of it, but for the result, which has its text already.
  const std::string before = TextOf(Json{{"host", record.host},
                                         {"input", record.input},
                                         {"key", record.key},
                                         {"kind", record.kind}});
  const std::string behind = TextOf(
      Json{{"run", record.run}, {"t", record.time}, {"v", kStoreVersion}});
  const std::string unchecked = absl::StrCat(
      absl::string_view(before).substr(0, before.size() - 1), kResult,
      record.result, ",", absl::string_view(behind).substr(1));
  return absl::StrCat(kCheck, ContentHash(unchecked), "\",",
                      absl::string_view(unchecked).substr(1));
}

absl::StatusOr<Record> ParseLine(absl::string_view text) {
  if (text.size() > kMostOfLine) {
    return Damaged(absl::StrCat("it has more than ", kMostOfLine, " bytes"));
  }
  if (auto record = ReadOwnText(text)) return *std::move(record);
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
  if (!Read(line, "check", check) || !ReadAround(line, record) ||
      result == line.end() || !result->is_object()) {
    return Damaged("it is no record of a measurement");
  }
  record.result = TextOf(*result);
  line.erase("check");
  if (check != ContentHash(TextOf(line))) {
    return Damaged("its checksum is wrong");
  }
  if (!HasItsKey(record)) {
    return Damaged("its key is not that of its input");
  }
  return record;
}

bool ReadResult(const Record& record, absl::FunctionRef<void(Archive&)> read) {
  const auto json = ParseJsonObject(record.result, "it");
  if (!json.ok()) return false;
  JsonReader reader(*json);
  read(reader);
  return reader.ok();
}

}  // namespace ulpscope
