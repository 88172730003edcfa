#ifndef EXPLORER_ERROR_POSITION_ERRORS_H_
#define EXPLORER_ERROR_POSITION_ERRORS_H_

#include <vector>

#include "absl/status/statusor.h"
#include "explorer/error/archive.h"
#include "explorer/error/baseline.h"
#include "explorer/error/run.h"

namespace ulpscope {

// The plan's error at one position, against the baseline's reference.
struct PositionError {
  bool massive = false;  // ReferenceRun::massive
  // Of the final hidden state, before the final norm: its part of the squared
  // error of all positions, 0 if there is none; and its own relative error.
  double squared_share = 0;
  double rel_l2 = 0;
  // The same part of the squared error of the logits.
  double logits_squared_share = 0;
  double kl = 0;  // KL(reference || plan) of the next token, nats
};

inline constexpr int kPositionErrorsVersion = 1;
struct PositionErrors {
  std::vector<PositionError> of;  // [positions]
};
void Visit(Archive& archive, PositionErrors& errors);

// Of a baseline that was not stopped; of one that was not run, what is kept, or
// NotFound.
absl::StatusOr<PositionErrors> ErrorsByPosition(const Run& run,
                                                const Baseline& baseline);

}  // namespace ulpscope

#endif  // EXPLORER_ERROR_POSITION_ERRORS_H_
