#ifndef MODEL_FILES_STRICT_JSON_H_
#define MODEL_FILES_STRICT_JSON_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace ulpscope {

// Parses `text` as one JSON object. Refused, with a message naming `file`:
// anything else, a key that occurs twice in one object (readers would disagree
// about which one counts), and nesting deeper than 32 levels (nlohmann's
// comparison recurses, and model files are untrusted).
absl::StatusOr<nlohmann::json> ParseJsonObject(absl::string_view text,
                                               absl::string_view file);

}  // namespace ulpscope

#endif  // MODEL_FILES_STRICT_JSON_H_
