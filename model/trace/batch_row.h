#ifndef MODEL_TRACE_BATCH_ROW_H_
#define MODEL_TRACE_BATCH_ROW_H_

#include <cstddef>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "model/files/stored_array.h"

namespace ulpscope {

// Which sequence of a batch is read. A trace that is of one sequence has no
// batch, or one of 1. That a trace is of several, its input_ids say, or else
// the first tensor that holds so many times what the model gives for the
// tokens. Masks and padding are not looked at.
class BatchRow {
 public:
  explicit BatchRow(std::optional<size_t> row) : row_(row) {}

  // `tensor` says that the trace is of so many sequences. The status is that of
  // status().
  absl::Status Know(size_t sequences, absl::string_view tensor);

  // The chosen sequence of an array, if it is of a batch: its first dimension,
  // after leading ones, counts the sequences. Each has `most` elements; if
  // `unit` is less, a trace that is known to be of a batch may have fewer of
  // them, in multiples of that. `tensor` is its name.
  StoredArray Take(StoredArray array, size_t most, size_t unit,
                   absl::string_view tensor);

  // What an array is unpacked for: sequences that it may be of.
  size_t most_sequences() const;

  // InvalidArgument once a batch was met of which no row is chosen, or one that
  // it does not have. Names the tensor and the size.
  const absl::Status& status() const { return status_; }

  // An error if a row was chosen of a trace that has no batch; asked when all
  // was read.
  absl::Status CheckChosen() const;

 private:
  std::optional<size_t> row_;
  size_t sequences_ = 0;  // 0: not known
  absl::Status status_;
};

}  // namespace ulpscope

#endif  // MODEL_TRACE_BATCH_ROW_H_
