#ifndef EXPLORER_ERROR_KEPT_H_
#define EXPLORER_ERROR_KEPT_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/error/archive.h"
#include "explorer/error/run.h"
#include "model/architecture/plan.h"

namespace ulpscope {

// What a measurement is of: all that its figures depend on, but for what is the
// same for all measurements of this program on this machine, which whoever
// keeps them knows.
struct Subject {
  // "error", "time", ... and a number that is raised when the struct that is
  // kept, or what its figures mean, changes.
  std::string kind;
  int version = 1;
  // By name, in any order: "plan", "tokens", "model".
  std::vector<std::pair<std::string, std::string>> facts;
  // Whether the kernels' SIMD target decides too: a strategy does not fix bits.
  bool of_target = false;
  // Whether it is a time: of one machine, number of threads and tuning. All
  // else has the same bits everywhere.
  bool is_time = false;
  // Whether it is what the program concludes, as another build may not: not
  // what it measures.
  bool is_conclusion = false;
};

// Of the run's model and of plans over tokens, the "plan" first; others have
// names of their own. Nothing, at no cost, of a run that nothing is kept of.
Subject SubjectOf(
    absl::string_view kind, const Run& run, absl::Span<const int32_t> tokens,
    absl::Span<const std::pair<absl::string_view, const Plan*>> plans);

// Measurements that were made before, by this process or by another: each is
// made once. Called by the thread that computes.
class Kept {
 public:
  virtual ~Kept() = default;

  // Reads what is kept of the subject. False if that is nothing, or is no use:
  // then it is to be measured.
  virtual bool Find(const Subject& subject,
                    absl::FunctionRef<void(Archive&)> read) = 0;
  // What was measured. It is kept once this returns, unless that fails, which
  // is no error of the measurement.
  virtual void Keep(const Subject& subject,
                    absl::FunctionRef<void(Archive&)> write) = 0;
};

// What is kept of the subject. `kept` may be null: then nothing is. `fits` says
// whether it can be what was asked for: files are untrusted.
template <typename T, typename Fits>
bool Recall(Kept* kept, const Subject& subject, T& value, const Fits& fits) {
  if (kept == nullptr) return false;
  T found = {};
  const bool there = kept->Find(subject, [&](Archive& archive) {
    Visit(archive, found);
    if (!fits(found)) archive.Fail();
  });
  if (there) value = std::move(found);
  return there;
}

template <typename T>
void Retain(Kept* kept, const Subject& subject, const T& value) {
  if (kept == nullptr) return;
  T copy = value;  // an archive visits what it could change
  kept->Keep(subject, [&copy](Archive& archive) { Visit(archive, copy); });
}

}  // namespace ulpscope

#endif  // EXPLORER_ERROR_KEPT_H_
