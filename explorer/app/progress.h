#ifndef EXPLORER_APP_PROGRESS_H_
#define EXPLORER_APP_PROGRESS_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace ulpscope {

// What a task counts.
enum class Counted { kItems, kBytes };

// "3 of 7"; of bytes, in the unit that suits their total: "312 of 1,117 MB".
std::string DoneText(Counted counted, size_t done, size_t total);

// Progress of one long task on stderr: a bar with the time left on a terminal,
// a plain line now and then elsewhere.
class Progress {
 public:
  Progress(absl::string_view task, size_t total,
           Counted counted = Counted::kItems);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // For a task that learns its size on the way.
  void SetTotal(size_t total);

  // `done` of the total are done; `what` says what is next, or nothing.
  void Update(size_t done, absl::string_view what);

  // Says how long it took. A task that ends without it has failed.
  void Finish();

 private:
  std::string task_;
  Counted counted_;
  size_t total_ = 1;
  bool terminal_;
  absl::Time start_;
  absl::Time last_shown_;
  bool shown_ = false;  // something is left on the line
};

}  // namespace ulpscope

#endif  // EXPLORER_APP_PROGRESS_H_
