#include "model/trace/trace_layout.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "kernels/base/matrix.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/decoder/activations.h"
#include "model/files/stored_array.h"
#include "model/files/tensor.h"
#include "model/trace/batch_row.h"
#include "model/trace/trace_contents.h"
#include "model/trace/trace_files.h"

namespace ulpscope {
namespace {

size_t Size(int64_t n) { return static_cast<size_t>(n); }

absl::Status Mismatch(absl::string_view expected, const StoredArray& found) {
  return absl::InvalidArgumentError(
      absl::StrCat("expected ", expected, ", found ", ShapeText(found.shape)));
}

// The shape without leading ones: empty of one element.
absl::Span<const int64_t> Dimensions(const StoredArray& array) {
  absl::Span<const int64_t> shape = array.shape;
  while (!shape.empty() && shape.front() == 1) shape.remove_prefix(1);
  return shape;
}

size_t NumElements(const StoredArray& array) {
  return array.bytes.size() / ElementSize(array.dtype);
}

// An array of floats, of the batch's row: at most `max_elements` if it has to
// be unpacked, or fewer, in multiples of `unit`.
absl::StatusOr<StoredArray> ReadFloats(const TraceArray& array,
                                       size_t max_elements, size_t unit,
                                       BatchRow& batch) {
  absl::StatusOr<StoredArray> stored = array.read(
      uint64_t{max_elements} * sizeof(double) * batch.most_sequences());
  if (!stored.ok()) return stored.status();
  if (!IsFloat(stored->dtype)) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected F64, F32, F16 or BF16, found ", stored->dtype,
                     " ", ShapeText(stored->shape)));
  }
  return batch.Take(*std::move(stored), max_elements, unit, array.name);
}

// How many rows of `width` the array holds one after the other; none if it does
// not look like rows.
std::optional<size_t> CountRows(const StoredArray& array, size_t width) {
  const size_t elements = NumElements(array);
  if (elements == 0 || elements % width != 0) return std::nullopt;
  const size_t rows = elements / width;
  const absl::Span<const int64_t> dimensions = Dimensions(array);
  if (rows == 1 || dimensions.size() == 1 || Size(dimensions[0]) == rows) {
    return rows;
  }
  return std::nullopt;
}

// The rotated heads of a projection, into `out` [positions, heads * head_dim].
absl::Status CopyRotated(const StoredArray& array, size_t heads,
                         size_t head_dim, const char* heads_name,
                         Matrix<double> out) {
  const size_t width = heads * head_dim;
  if (CountRows(array, width) == out.rows) {
    for (size_t t = 0; t < out.rows; ++t) {
      Widen(array, t * width, {out.Row(t), width});
    }
    return absl::OkStatus();
  }
  const absl::Span<const int64_t> found = Dimensions(array);
  if (found.size() != 3 || Size(found[0]) != heads ||
      Size(found[1]) != out.rows || Size(found[2]) != head_dim) {
    return Mismatch(
        absl::StrCat(out.rows, " positions x ", heads_name, " ", heads,
                     " x head_dim ", head_dim, ", or the heads first"),
        array);
  }
  for (size_t h = 0; h < heads; ++h) {
    for (size_t t = 0; t < out.rows; ++t) {
      Widen(array, (h * out.rows + t) * head_dim,
            {out.Row(t) + h * head_dim, head_dim});
    }
  }
  return absl::OkStatus();
}

}  // namespace

RowLayout LayoutOfState(size_t index, const ModelConfig& config) {
  return {"hidden_size", Size(config.hidden_size),
          index >= Size(config.num_hidden_layers)};
}

RowLayout LayoutOfOutput(Op op, const ModelConfig& config) {
  switch (op) {
    case Op::kQProj:
    case Op::kQNorm:
    case Op::kAv:
      return {"num_attention_heads * head_dim", Size(config.q_size()), false};
    case Op::kKProj:
    case Op::kVProj:
    case Op::kKNorm:
    case Op::kKvK:
    case Op::kKvV:
      return {"num_key_value_heads * head_dim", Size(config.kv_size()), false};
    case Op::kGateProj:
    case Op::kUpProj:
    case Op::kSwiGlu:
      return {"intermediate_size", Size(config.intermediate_size), false};
    case Op::kLmHead:
      return {"vocab_size", Size(config.vocab_size), true};
    default:
      return {"hidden_size", Size(config.hidden_size), op == Op::kFinalNorm};
  }
}

absl::StatusOr<TracedTensor> ReadRows(const TraceArray& array,
                                      const RowLayout& layout, size_t positions,
                                      BatchRow& batch) {
  const size_t most = positions * layout.width;
  const absl::StatusOr<StoredArray> stored =
      ReadFloats(array, most, layout.may_be_last ? layout.width : most, batch);
  if (!stored.ok()) return stored.status();
  const std::optional<size_t> rows = CountRows(*stored, layout.width);
  if (!rows || *rows > positions ||
      (*rows < positions && !layout.may_be_last)) {
    return Mismatch(
        absl::StrCat(layout.may_be_last ? "at most " : "", positions,
                     " positions x ", layout.name, " ", layout.width),
        *stored);
  }
  TracedTensor tensor{array.name, stored->dtype, positions - *rows,
                      Rows::Allocate(*rows, layout.width)};
  Widen(*stored, 0, {tensor.rows.data(), *rows * layout.width});
  return tensor;
}

absl::StatusOr<TracedTensor> ReadRope(const TraceArray& q, const TraceArray& k,
                                      const ModelConfig& config,
                                      size_t positions, BatchRow& batch) {
  const size_t head_dim = Size(config.head_dim);
  const size_t q_heads = Size(config.num_attention_heads);
  const size_t kv_heads = Size(config.num_key_value_heads);
  const size_t q_size = q_heads * head_dim;
  const size_t kv_size = kv_heads * head_dim;
  TracedTensor tensor;
  tensor.name = absl::StrCat(q.name, ", ", k.name);
  struct Part {
    const TraceArray& array;
    size_t heads;
    const char* heads_name;
    size_t offset;
  };
  const Part parts[] = {{q, q_heads, "num_attention_heads", 0},
                        {k, kv_heads, "num_key_value_heads", q_size}};
  for (const Part& part : parts) {
    const size_t elements = positions * part.heads * head_dim;
    const absl::StatusOr<StoredArray> stored =
        ReadFloats(part.array, elements, elements, batch);
    absl::Status status = stored.status();
    if (status.ok()) {
      if (tensor.rows.data() == nullptr) {
        tensor.rows = Rows::Allocate(positions, q_size + kv_size);
        tensor.stored_as = stored->dtype;
      } else if (tensor.stored_as != stored->dtype) {
        absl::StrAppend(&tensor.stored_as, ", ", stored->dtype);
      }
      status = CopyRotated(*stored, part.heads, head_dim, part.heads_name,
                           {tensor.rows.data() + part.offset, positions,
                            part.heads * head_dim, q_size + kv_size});
    }
    if (!status.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(part.array.name, ": ", status.message()));
    }
  }
  return tensor;
}

absl::StatusOr<TracedTensor> ReadScores(const TraceArray& array,
                                        const ModelConfig& config,
                                        size_t positions, BatchRow& batch) {
  const size_t heads = Size(config.num_attention_heads);
  const size_t rows = heads * positions;
  const absl::StatusOr<StoredArray> stored =
      ReadFloats(array, rows * positions, rows * positions, batch);
  if (!stored.ok()) return stored.status();
  const std::vector<int64_t>& shape = stored->shape;
  const size_t n = shape.size();
  if (NumElements(*stored) != rows * positions || n < 2 ||
      Size(shape[n - 1]) != positions || Size(shape[n - 2]) != positions) {
    return Mismatch(
        absl::StrCat("num_attention_heads ", heads, " x ", positions,
                     " positions x ", positions, " positions"),
        *stored);
  }
  TracedTensor tensor{array.name, stored->dtype, 0,
                      Rows::Allocate(rows, positions)};
  Widen(*stored, 0, {tensor.rows.data(), rows * positions});
  return tensor;
}

absl::StatusOr<std::vector<int32_t>> ReadTokens(const TraceArray& array,
                                                int64_t vocab_size,
                                                BatchRow& batch) {
  absl::StatusOr<StoredArray> stored = array.read(0);
  if (!stored.ok()) return stored.status();
  if (!IsInteger(stored->dtype)) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected I64 or I32, found ", stored->dtype, " ",
                     ShapeText(stored->shape)));
  }
  const absl::Span<const int64_t> dimensions = Dimensions(*stored);
  if (dimensions.size() > 2 || NumElements(*stored) == 0) {
    return Mismatch("sequences of tokens", *stored);
  }
  if (dimensions.size() == 2) {
    const absl::Status status = batch.Know(Size(dimensions[0]), array.name);
    if (!status.ok()) return status;
    const size_t each = NumElements(*stored) / Size(dimensions[0]);
    stored = batch.Take(*std::move(stored), each, each, array.name);
  }
  std::vector<int32_t> tokens(NumElements(*stored));
  for (size_t i = 0; i < tokens.size(); ++i) {
    const int64_t token = IntegerAt(*stored, i);
    if (token < 0 || token >= vocab_size) {
      return absl::OutOfRangeError(
          absl::StrCat("position ", i, ": expected a token below ", vocab_size,
                       ", the model's vocab_size, found ", token));
    }
    tokens[i] = static_cast<int32_t>(token);
  }
  return tokens;
}

}  // namespace ulpscope
