#include "model/trace/batch_row.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "model/files/stored_array.h"
#include "model/files/tensor.h"

namespace ulpscope {
namespace {

// Of a compressed trace whose batch is not known yet.
constexpr size_t kMostUnknown = 64;

}  // namespace

absl::Status BatchRow::Know(size_t sequences, absl::string_view tensor) {
  sequences_ = sequences;
  if (!row_.has_value()) {
    status_ = absl::InvalidArgumentError(absl::StrCat(
        NameText(tensor), ": found a batch of ", sequences,
        " sequences; choose one of them: --row=0 to --row=", sequences - 1));
  } else if (*row_ >= sequences) {
    status_ = absl::InvalidArgumentError(
        absl::StrCat(NameText(tensor), ": expected a --row below ", sequences,
                     ", the size of the batch, found ", *row_));
  }
  return status_;
}

StoredArray BatchRow::Take(StoredArray array, size_t most, size_t unit,
                           absl::string_view tensor) {
  auto at = array.shape.begin();
  while (at != array.shape.end() && *at == 1) ++at;
  if (!status_.ok() || array.shape.end() - at < 2 || array.bytes.empty()) {
    return array;
  }
  const size_t sequences = static_cast<size_t>(*at);
  const size_t elements = array.bytes.size() / ElementSize(array.dtype);
  const size_t each = elements / sequences;
  if (sequences_ == 0 && elements > most && each == most &&
      !Know(sequences, tensor).ok()) {
    return array;
  }
  if (sequences_ != sequences || each > most || each % unit != 0) return array;
  const size_t bytes = array.bytes.size() / sequences;
  array.bytes = array.bytes.subspan(*row_ * bytes, bytes);
  array.shape.erase(array.shape.begin(), at + 1);
  return array;
}

size_t BatchRow::most_sequences() const {
  if (sequences_ > 0) return sequences_;
  return row_.has_value() ? kMostUnknown : 1;
}

absl::Status BatchRow::CheckChosen() const {
  if (!row_.has_value() || *row_ == 0 || sequences_ > 0) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("expected a batch of more than ", *row_,
                   " sequences, as --row says, found one sequence"));
}

}  // namespace ulpscope
