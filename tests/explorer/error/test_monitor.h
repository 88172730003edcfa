#ifndef TESTS_EXPLORER_ERROR_TEST_MONITOR_H_
#define TESTS_EXPLORER_ERROR_TEST_MONITOR_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "explorer/error/run.h"
#include "kernels/base/parallel.h"
#include "model/checkpoint/weights.h"

namespace ulpscope {

// Stops once it has been asked some number of times, or when a test says so,
// and remembers the tasks that ended.
class TestMonitor : public Monitor {
 public:
  // Says false `allowed` times.
  explicit TestMonitor(size_t allowed = SIZE_MAX) : allowed_(allowed) {}
  explicit TestMonitor(std::function<bool()> stop) : stop_(std::move(stop)) {}

  bool stopped() override {
    ++asked_;
    if (stop_ != nullptr) return stop_();
    return asked_ > allowed_;
  }

  void OnProgress(absl::string_view task, size_t done, size_t total,
                  absl::string_view /*what*/) override {
    if (done == total) ended_.emplace_back(task);
  }

  size_t asked() const { return asked_; }
  // The tasks that ended well, as they did.
  const std::vector<std::string>& ended() const { return ended_; }

 private:
  size_t allowed_ = SIZE_MAX;
  std::function<bool()> stop_;
  size_t asked_ = 0;
  std::vector<std::string> ended_;
};

// A run that nobody stops, or that this monitor does.
inline Run RunOf(const Weights& weights, Parallel& parallel,
                 size_t memory = SIZE_MAX) {
  class Never : public Monitor {
    bool stopped() override { return false; }
    void OnProgress(absl::string_view, size_t, size_t,
                    absl::string_view) override {}
  };
  static auto* const never = new Never();
  return {weights, memory, *never, parallel};
}
inline Run RunOf(const Weights& weights, Parallel& parallel, Monitor& monitor,
                 size_t memory = SIZE_MAX) {
  return {weights, memory, monitor, parallel};
}

}  // namespace ulpscope

#endif  // TESTS_EXPLORER_ERROR_TEST_MONITOR_H_
