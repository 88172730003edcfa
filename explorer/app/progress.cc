#include "explorer/app/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace ulpscope {
namespace {

constexpr absl::Duration kBarInterval = absl::Milliseconds(100);
constexpr absl::Duration kLineInterval = absl::Seconds(10);
constexpr size_t kBarWidth = 30;

// Back to the start of the line, and erase what was there.
const char* EraseLine(bool terminal) { return terminal ? "\r\x1b[K" : ""; }

std::string Seconds(absl::Duration duration) {
  return absl::StrFormat("%.0f s", absl::ToDoubleSeconds(duration));
}

// "1,117".
std::string Grouped(size_t number) {
  std::string text = absl::StrCat(number);
  for (size_t at = text.size(); at > 3;) text.insert(at -= 3, ",");
  return text;
}

}  // namespace

std::string DoneText(Counted counted, size_t done, size_t total) {
  if (counted == Counted::kItems) return absl::StrCat(done, " of ", total);
  constexpr size_t kKilo = 1000, kMega = 1000 * 1000;
  // Ten of a unit at least, so that it is seen to move.
  const bool mega = total >= 10 * kMega;
  const size_t unit = mega ? kMega : kKilo;
  return absl::StrCat(Grouped(done / unit), " of ", Grouped(total / unit),
                      mega ? " MB" : " kB");
}

Progress::Progress(absl::string_view task, size_t total, Counted counted)
    : task_(task),
      counted_(counted),
      terminal_(isatty(STDERR_FILENO) != 0),
      start_(absl::Now()),
      last_shown_(terminal_ ? absl::InfinitePast() : start_) {
  SetTotal(total);
}

void Progress::SetTotal(size_t total) { total_ = std::max<size_t>(total, 1); }

void Progress::Update(size_t done, absl::string_view what) {
  const absl::Time now = absl::Now();
  if (now - last_shown_ < (terminal_ ? kBarInterval : kLineInterval)) return;
  last_shown_ = now;
  shown_ = true;
  std::string left;
  if (done > 0) {
    const double share = static_cast<double>(total_ - std::min(done, total_)) /
                         static_cast<double>(done);
    left = absl::StrCat(", ", Seconds((now - start_) * share), " left");
  }
  if (terminal_) {
    const size_t filled = std::min(done, total_) * kBarWidth / total_;
    absl::FPrintF(
        stderr, "%s%s [%s%s] %s%s%s%s", EraseLine(true), task_,
        std::string(filled, '#'), std::string(kBarWidth - filled, ' '),
        DoneText(counted_, done, total_), left, what.empty() ? "" : "  ", what);
  } else {
    absl::FPrintF(stderr, "%s: %s%s%s%s\n", task_,
                  DoneText(counted_, done, total_), left,
                  what.empty() ? "" : "; ", what);
  }
  std::fflush(stderr);
}

void Progress::Finish() {
  absl::FPrintF(stderr, "%s%s: done in %.1f s\n", EraseLine(terminal_), task_,
                absl::ToDoubleSeconds(absl::Now() - start_));
  shown_ = false;
}

Progress::~Progress() {
  if (shown_) absl::FPrintF(stderr, "%s", EraseLine(terminal_));
}

}  // namespace ulpscope
