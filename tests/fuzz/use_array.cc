#include "tests/fuzz/use_array.h"

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/files/stored_array.h"
#include "tests/fuzz/fuzz_target.h"

namespace ulpscope {

void UseArray(const absl::StatusOr<StoredArray>& array) {
  if (!array.ok()) return RequireNames(array.status(), "expected");
  ReadBytes(array->bytes.data(), array->bytes.size());
  const size_t element = ElementSize(array->dtype);
  if (element == 0) return;
  size_t elements = 1;
  for (const int64_t n : array->shape) elements *= static_cast<size_t>(n);
  Require(elements * element == array->bytes.size(),
          "an array has another size than its shape");
  if (IsFloat(array->dtype)) {
    std::vector<double> values(elements);
    Widen(*array, 0, absl::MakeSpan(values));
    if (elements > 1) {
      Widen(*array, elements / 2, absl::MakeSpan(values).subspan(elements / 2));
    }
  }
  if (IsInteger(array->dtype)) {
    for (size_t i = 0; i < elements; ++i) IntegerAt(*array, i);
  }
}

}  // namespace ulpscope
