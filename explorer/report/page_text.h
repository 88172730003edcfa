#ifndef EXPLORER_REPORT_PAGE_TEXT_H_
#define EXPLORER_REPORT_PAGE_TEXT_H_

namespace ulpscope {

// The page that explorer/report/page is built to, with @RESULTS@ and @ABOUT@
// where ReportPage puts what one run has found.
extern const char kPageText[];

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_PAGE_TEXT_H_
