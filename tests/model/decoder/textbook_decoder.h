#ifndef TESTS_MODEL_DECODER_TEXTBOOK_DECODER_H_
#define TESTS_MODEL_DECODER_TEXTBOOK_DECODER_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <tuple>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/architecture/op.h"
#include "model/architecture/variant.h"
#include "model/checkpoint/weights.h"

namespace ulpscope {

// A decoder and its variants as scalar loops in f64, written from the papers
// and model/architecture/variant.h. What an op computes, by (layer, op,
// position): a row, or of scores a row per head, one after the other.
using TextbookOutputs =
    std::map<std::tuple<size_t, Op, size_t>, std::vector<double>>;

// Keys and values are stored as a strategy of the KV cache says.
TextbookOutputs TextbookDecode(const Weights& weights,
                               absl::Span<const int32_t> tokens,
                               const Variant& variant,
                               absl::string_view kv = "oracle");

// x rounded to the nearest IEEE binary16, ties to even.
double TextbookF16(double x);

}  // namespace ulpscope

#endif  // TESTS_MODEL_DECODER_TEXTBOOK_DECODER_H_
