#include "model/files/strict_json.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "model/files/tensor.h"
#include "nlohmann/json.hpp"

namespace ulpscope {
namespace {

using Json = nlohmann::json;

// Builds a value from the parser's events, and ends the parse at the first
// fault. (nlohmann's own parser with a callback goes over all members of an
// object again whenever one of them ends.)
class Builder {
 public:
  // What is wrong, once an event has returned false.
  const std::string& fault() const { return fault_; }
  Json& root() { return root_; }

  bool null() { return Add(nullptr); }
  bool boolean(bool value) { return Add(value); }
  bool number_integer(int64_t value) { return Add(value); }
  bool number_unsigned(uint64_t value) { return Add(value); }
  bool number_float(double value, const std::string&) { return Add(value); }
  bool string(std::string& value) { return Add(std::move(value)); }
  bool binary(Json::binary_t&) { return Fail("not valid JSON"); }
  bool start_object(size_t) { return Open(Json::value_t::object); }
  bool start_array(size_t) { return Open(Json::value_t::array); }
  bool end_object() { return Close(); }
  bool end_array() { return Close(); }

  bool key(std::string& name) {
    const auto [it, inserted] =
        open_.back()->get_ref<Json::object_t&>().emplace(name, nullptr);
    member_ = &it->second;
    return inserted ||
           Fail(absl::StrCat("JSON key ", NameText(name), " occurs twice"));
  }

  bool parse_error(size_t position, const std::string&,
                   const Json::exception&) {
    return Fail(absl::StrCat("not valid JSON (at byte ", position, ")"));
  }

 private:
  bool Fail(std::string fault) {
    fault_ = std::move(fault);
    return false;
  }

  // Where the next value goes: to the end of an array, to the member of the
  // last key, or to the root.
  Json* Place() {
    if (open_.empty()) return &root_;
    if (!open_.back()->is_array()) return member_;
    open_.back()->push_back(nullptr);
    return &open_.back()->back();
  }

  bool Add(Json value) {
    *Place() = std::move(value);
    return true;
  }

  bool Open(Json::value_t kind) {
    if (open_.size() == kMaxJsonDepth) {
      return Fail(
          absl::StrCat("JSON nested deeper than ", kMaxJsonDepth, " levels"));
    }
    // It stays where it is while it is open: nothing is added beside it.
    Json* const place = Place();
    *place = kind;
    open_.push_back(place);
    return true;
  }

  bool Close() {
    open_.pop_back();
    return true;
  }

  Json root_;
  std::vector<Json*> open_;  // objects and arrays, the outermost first
  Json* member_ = nullptr;   // of the last key
  std::string fault_;
};

}  // namespace

absl::StatusOr<Json> ParseJsonObject(absl::string_view text,
                                     absl::string_view file) {
  // nlohmann would take a NUL for the end of the text, whatever follows it.
  if (absl::StrContains(text, '\0')) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": not valid JSON (a NUL byte)"));
  }
  Builder builder;
  if (!Json::sax_parse(text.begin(), text.end(), &builder)) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": ", builder.fault()));
  }
  if (!builder.root().is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(
        file, ": expected a JSON object, found ", builder.root().type_name()));
  }
  return std::move(builder.root());
}

std::string JsonString(absl::string_view text) {
  return Json(std::string(text))
      .dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace);
}

}  // namespace ulpscope
