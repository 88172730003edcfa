#ifndef TESTS_KERNELS_OPS_STORED_TEXTBOOK_H_
#define TESTS_KERNELS_OPS_STORED_TEXTBOOK_H_

#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace ulpscope {

// What the KV cache gives back of one head under a strategy: scalar loops
// written from kernels/ops/store_heads.h and the formats' own papers, sharing
// no code with the kernel. Of "f32", "f64" and "oracle" x itself.
std::vector<double> TextbookStored(absl::string_view strategy,
                                   absl::Span<const double> x);

// The largest |stored - x| of a head of finite values that are f32, at element
// i; barring overflow of what a format holds.
double StoredErrorBound(absl::string_view strategy, absl::Span<const double> x,
                        size_t i);

}  // namespace ulpscope

#endif  // TESTS_KERNELS_OPS_STORED_TEXTBOOK_H_
