#ifndef EXPLORER_REPORT_REPORT_FILES_H_
#define EXPLORER_REPORT_REPORT_FILES_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "explorer/report/schema.h"

namespace ulpscope {

struct ReportFile {
  std::string name;
  std::string text;
};

// The files of a report, whose Markdown is `text`: report.md, results.json and
// a CSV file for each table that has rows, "plans.csv".
std::vector<ReportFile> ReportFiles(const std::string& text,
                                    const Results& results);

// A field of a CSV file (RFC 4180): with a comma, quote or line break it is
// quoted.
std::string CsvField(absl::string_view text);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_REPORT_FILES_H_
