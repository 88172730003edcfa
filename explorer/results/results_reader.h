#ifndef EXPLORER_RESULTS_RESULTS_READER_H_
#define EXPLORER_RESULTS_RESULTS_READER_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/results/schema.h"

namespace ulpscope {

// The key of results_part.json, which a page saves that has some rows alone:
// how many rows the tables have that lack some, by their names.
inline constexpr char kPartOf[] = "part_of";

// What ResultsJson wrote, bit for bit: `schemas` are those of the modes, whose
// rows have no part in it. Errors name `file` and the table, row and key at
// fault: text that is no JSON object, another schema or version, a key that is
// missing, unknown or of another type, a part of such a text.
absl::StatusOr<Results> ParseResults(absl::string_view text,
                                     absl::string_view file,
                                     absl::Span<const Results> schemas);

// The same of a file, or of the results.json of a report's folder.
absl::StatusOr<Results> ReadResults(const std::string& path,
                                    absl::Span<const Results> schemas);

}  // namespace ulpscope

#endif  // EXPLORER_RESULTS_RESULTS_READER_H_
