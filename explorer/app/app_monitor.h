#ifndef EXPLORER_APP_APP_MONITOR_H_
#define EXPLORER_APP_APP_MONITOR_H_

#include <cstddef>
#include <functional>
#include <map>
#include <string>

#include "absl/strings/string_view.h"
#include "explorer/app/progress.h"
#include "explorer/error/run.h"

namespace ulpscope {

// Shows progress on stderr, and stops on the signals that are caught.
class AppMonitor : public Monitor {
 public:
  bool stopped() override;
  void OnProgress(absl::string_view task, size_t done, size_t total,
                  absl::string_view what) override;
  void OnBytes(absl::string_view task, size_t done, size_t total) override;

  // Those that have begun and not ended: "errors".
  std::string Tasks() const;

  // Takes tasks that have not ended off the terminal: before anything else is
  // written there.
  void Clear() { tasks_.clear(); }

 private:
  void Show(Counted counted, absl::string_view task, size_t done, size_t total,
            absl::string_view what);

  std::map<std::string, Progress, std::less<>> tasks_;  // that have not ended
};

}  // namespace ulpscope

#endif  // EXPLORER_APP_APP_MONITOR_H_
