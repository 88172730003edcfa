#ifndef EXPLORER_APP_STORED_SWEEP_H_
#define EXPLORER_APP_STORED_SWEEP_H_

#include <string>

#include "absl/status/statusor.h"
#include "explorer/results/schema.h"
#include "explorer/store/shards.h"

namespace ulpscope {

// Of which of a store's measurements; what is empty may be anything.
struct StoredSubject {
  std::string run;  // HOST-PID-START: what that process measured alone
  std::string model_fingerprint;
  std::string token, prompt;  // ids, as records have them: "97,65,19"
  std::string metric;         // --metric of plans' ranks; empty is the default
};

// What another run's results are of, for a store that is compared with it.
StoredSubject SubjectOfResults(const Results& results);

// Every plan's errors and times as a sweep's results, without what a store does
// not have: hyperparameters and main effects. Times are of one machine, tuning
// and build, of which it has the newest. NotFound if it has no such errors;
// InvalidArgument if they are of several models or prompts, with the runs that
// would tell them apart. `name` is the store's in errors.
absl::StatusOr<Results> StoredSweep(const StoreContents& contents,
                                    const std::string& name,
                                    const StoredSubject& subject);

}  // namespace ulpscope

#endif  // EXPLORER_APP_STORED_SWEEP_H_
