#ifndef EXPLORER_REPORT_REPORT_PAGE_H_
#define EXPLORER_REPORT_REPORT_PAGE_H_

#include <cstddef>
#include <string>

#include "explorer/results/schema.h"

namespace ulpscope {

// What a page embeds of results.json at most, in bytes, so that the page has at
// most 8 MB: browsers take seconds for more.
inline constexpr size_t kMostPageBytes = 7'500'000;

// Whether there is a page of these: of a sweep, an attribution, a diagnosis or
// two traces.
bool HasPage(const Results& results);

// report.html: one file that needs nothing else, neither a network nor a
// server. It has the text of results.json in its one data script, every "<" as
// \u003c, so that no name of a model can end it; and from the schema what its
// columns mean.
//
// Of a results.json that is larger than `most_bytes` it has what CutToFit
// (explorer/report/page_cut.h) keeps, and says so.
std::string ReportPage(const Results& results,
                       size_t most_bytes = kMostPageBytes);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_REPORT_PAGE_H_
