#ifndef EXPLORER_REPORT_REPORT_FILES_H_
#define EXPLORER_REPORT_REPORT_FILES_H_

#include <string>
#include <vector>

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

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_REPORT_FILES_H_
