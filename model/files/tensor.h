#ifndef MODEL_FILES_TENSOR_H_
#define MODEL_FILES_TENSOR_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "kernels/base/dtype.h"
#include "kernels/ops/block_type.h"

namespace ulpscope {

// "[2, 3]", for messages.
std::string ShapeText(absl::Span<const int64_t> shape);

// A name read from a file, for messages: quoted, what is not printable ASCII
// escaped, and cut where it is longer than a tensor's name would be.
std::string NameText(absl::string_view name);

// A row-major tensor of F32, F16 or BF16, or of blocks along its last
// dimension, a multiple of theirs. `data` is aligned to its element and stays
// valid as long as `owner` (a file mapping, or a buffer of its own).
struct Tensor {
  std::string name;
  DType dtype = DType::kF32;  // F32 of blocks, which stand for such values
  std::vector<int64_t> shape;
  const void* data = nullptr;
  std::shared_ptr<const void> owner;
  const BlockType* blocks = nullptr;

  size_t elements() const;
  size_t bytes() const;                 // of data
  absl::string_view type_name() const;  // "BF16", "Q4_K"
};

// A tensor's data where a file holds it: `bytes` is used as it is, kept alive
// by `owner`, if its address suits the dtype; otherwise it is copied.
// ResourceExhausted if there is no memory for a copy.
absl::StatusOr<Tensor> TensorOverBytes(absl::string_view name, DType dtype,
                                       absl::Span<const int64_t> shape,
                                       absl::Span<const uint8_t> bytes,
                                       std::shared_ptr<const void> owner);

// The tensor itself, or, of blocks, one of the F32 values that they stand for.
// ResourceExhausted if there is no memory for these.
absl::StatusOr<Tensor> Dequantized(Tensor tensor);

// A buffer of `size` bytes aligned for any dtype, or null without memory.
std::shared_ptr<uint8_t[]> NewTensorBuffer(size_t size);

// Where weights come from, by Hugging Face name ("model.layers.0.mlp.up_proj.
// weight"), one tensor at a time so that a loader never holds two copies of
// more than one of them.
class TensorSource {
 public:
  virtual ~TensorSource() = default;

  virtual bool Has(absl::string_view name) const = 0;

  // Bytes that the file has of a tensor of this shape, its scales included,
  // which Load reads; 0 if it has none. Known without reading them.
  virtual size_t StoredBytes(absl::string_view name,
                             absl::Span<const int64_t> shape) const = 0;

  // The tensor, whose shape must be `shape`: a missing tensor, another shape or
  // a dtype that cannot be computed with is an error naming file and tensor.
  virtual absl::StatusOr<Tensor> Load(absl::string_view name,
                                      absl::Span<const int64_t> shape) = 0;

  // FailedPrecondition, naming the file, if another process wrote to one since
  // it was opened: what was loaded is then of no use.
  virtual absl::Status CheckUnchanged() const { return absl::OkStatus(); }

  // Names that the file has and that were never loaded, sorted: what the
  // hyperparameters do not ask for. None where that is not known.
  virtual std::vector<std::string> Unused() const { return {}; }
};

}  // namespace ulpscope

#endif  // MODEL_FILES_TENSOR_H_
