#ifndef EXPLORER_REPORT_FRAME_H_
#define EXPLORER_REPORT_FRAME_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "explorer/report/run_info.h"
#include "explorer/results/schema.h"

namespace ulpscope {

// The first table of every mode's results: a row of `info`, to which a mode
// adds what it was asked. `stopped_in` is empty if all was finished.
Table ContextTable(const RunInfo& info, absl::string_view stopped_in);

// Adds to a context which plan errors are against.
void AddAgainst(Table& context, const RunInfo& info);

// The text before a report: its title, the model, and the machine. `more` ends
// the line on the machine.
std::string ReportHead(absl::string_view title, const RunInfo& info,
                       absl::string_view more, absl::string_view stopped_in);

// "token 5", "tokens 5,6", of many "100 tokens".
std::string TokensText(const std::vector<int32_t>& tokens);

// The first few tokens of many, with their text if there is a tokenizer:
// `"Hello"(9707) " world"(1879)`.
std::string FirstTokensText(const RunInfo& info,
                            const std::vector<int32_t>& tokens);

// And behind it: that weights are SYNTHETIC, if they are.
std::string ReportTail(const RunInfo& info);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_FRAME_H_
