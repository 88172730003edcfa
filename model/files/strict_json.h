#ifndef MODEL_FILES_STRICT_JSON_H_
#define MODEL_FILES_STRICT_JSON_H_

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json_fwd.hpp"

namespace ulpscope {

// nlohmann's comparison and output recurse, and files are untrusted.
inline constexpr size_t kMaxJsonDepth = 32;

// Parses `text` as one JSON object, in time about linear in its size. Refused,
// with a message naming `file`: anything else, a key that occurs twice in one
// object (readers would disagree about which one counts), and nesting deeper
// than kMaxJsonDepth.
absl::StatusOr<nlohmann::json> ParseJsonObject(absl::string_view text,
                                               absl::string_view file);

// The text as a JSON string, with its quotes, in ASCII; what is not UTF-8 is
// replaced.
std::string JsonString(absl::string_view text);

}  // namespace ulpscope

#endif  // MODEL_FILES_STRICT_JSON_H_
