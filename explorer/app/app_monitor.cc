#include "explorer/app/app_monitor.h"

#include <cstddef>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "explorer/app/interrupt.h"

namespace ulpscope {

bool AppMonitor::stopped() { return Interrupted(); }

void AppMonitor::OnProgress(absl::string_view task, size_t done, size_t total,
                            absl::string_view what) {
  Show(Counted::kItems, task, done, total, what);
}

void AppMonitor::OnBytes(absl::string_view task, size_t done, size_t total) {
  Show(Counted::kBytes, task, done, total, "");
}

void AppMonitor::Show(Counted counted, absl::string_view task, size_t done,
                      size_t total, absl::string_view what) {
  auto found = tasks_.find(task);
  if (found == tasks_.end()) {
    found = tasks_.try_emplace(std::string(task), task, total, counted).first;
  }
  Progress& progress = found->second;
  if (done < total) {
    progress.SetTotal(total);
    progress.Update(done, what);
  } else {
    progress.Finish();
    tasks_.erase(found);
  }
}

std::string AppMonitor::Tasks() const {
  return absl::StrJoin(tasks_, ", ", [](std::string* text, const auto& task) {
    absl::StrAppend(text, task.first);
  });
}

}  // namespace ulpscope
