#ifndef TESTS_FUZZ_USE_ARRAY_H_
#define TESTS_FUZZ_USE_ARRAY_H_

#include "absl/status/statusor.h"
#include "model/files/stored_array.h"

namespace ulpscope {

// Widens all elements, of which there are as many as the shape says; an error
// says what was expected and found.
void UseArray(const absl::StatusOr<StoredArray>& array);

}  // namespace ulpscope

#endif  // TESTS_FUZZ_USE_ARRAY_H_
