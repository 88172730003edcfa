#include "model/trace/derived_arrays.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/architecture/rounding.h"
#include "model/files/stored_array.h"
#include "model/files/tensor.h"
#include "model/trace/trace_files.h"

namespace ulpscope {
namespace {

absl::Status Mismatch(absl::string_view expected, const StoredArray& found) {
  return absl::InvalidArgumentError(absl::StrCat("expected ", expected,
                                                 ", found ", found.dtype, " ",
                                                 ShapeText(found.shape)));
}

// A buffer of so many bytes as the bytes of an array; null without memory.
absl::StatusOr<uint8_t*> TakeBuffer(size_t size, StoredArray& array) {
  std::shared_ptr<uint8_t[]> buffer = NewTensorBuffer(size);
  if (buffer == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory for ", size, " bytes"));
  }
  uint8_t* const data = buffer.get();
  array.bytes = {data, size};
  array.owner = std::move(buffer);
  return data;
}

// x rounded to a dtype of floats.
double RoundedTo(absl::string_view dtype, double x) {
  if (dtype == "BF16") return RoundedToBF16(x);
  if (dtype == "F16") return RoundedToF16(x);
  if (dtype == "F32") return static_cast<float>(x);
  return x;
}

}  // namespace

TraceArray ReadOnce(const TraceArray& array) {
  const auto kept = std::make_shared<std::optional<StoredArray>>();
  TraceArray once = array;
  once.read = [array, kept](uint64_t max_bytes) -> absl::StatusOr<StoredArray> {
    if (!kept->has_value()) {
      absl::StatusOr<StoredArray> stored = array.read(max_bytes);
      if (!stored.ok()) return stored.status();
      *kept = *std::move(stored);
    }
    return **kept;
  };
  return once;
}

TraceArray EntryOf(const TraceArray& array, size_t index) {
  TraceArray entry;
  entry.name = absl::StrCat(array.name, "[", index, "]");
  entry.file = array.file;
  entry.read = [array,
                index](uint64_t max_bytes) -> absl::StatusOr<StoredArray> {
    absl::StatusOr<StoredArray> stored = array.read(max_bytes);
    if (!stored.ok()) return stored.status();
    if (stored->shape.empty() || stored->shape[0] < 0 ||
        static_cast<uint64_t>(stored->shape[0]) <= index) {
      return Mismatch(absl::StrCat("more than ", index, " entries"), *stored);
    }
    const size_t size =
        stored->bytes.size() / static_cast<size_t>(stored->shape[0]);
    stored->bytes = stored->bytes.subspan(index * size, size);
    stored->shape.erase(stored->shape.begin());
    return stored;
  };
  return entry;
}

TraceArray ColumnsOf(const TraceArray& array,
                     const std::vector<ColumnPart>& parts, size_t part) {
  TraceArray columns;
  columns.name = absl::StrCat(array.name, " (", parts[part].name, ")");
  columns.file = array.file;
  size_t total = 0, first = 0;
  for (size_t p = 0; p < parts.size(); ++p) {
    if (p == part) first = total;
    total += parts[p].width;
  }
  const std::string expected =
      absl::StrCat("rows of ",
                   absl::StrJoin(parts, " + ",
                                 [](std::string* out, const ColumnPart& p) {
                                   absl::StrAppend(out, p.name, " ", p.width);
                                 }),
                   " columns");
  columns.read = [array, width = parts[part].width, first, total,
                  expected](uint64_t max_bytes) -> absl::StatusOr<StoredArray> {
    absl::StatusOr<StoredArray> stored =
        array.read(max_bytes / width * total + total);
    if (!stored.ok()) return stored.status();
    const size_t element = ElementSize(stored->dtype);
    if (element == 0 || stored->shape.empty() || stored->bytes.empty() ||
        static_cast<uint64_t>(stored->shape.back()) != total) {
      return Mismatch(expected, *stored);
    }
    const size_t rows = stored->bytes.size() / (total * element);
    const absl::Span<const uint8_t> from = stored->bytes;
    StoredArray result;
    result.dtype = stored->dtype;
    result.big_endian = stored->big_endian;
    result.shape = stored->shape;
    result.shape.back() = static_cast<int64_t>(width);
    const auto data = TakeBuffer(rows * width * element, result);
    if (!data.ok()) return data.status();
    for (size_t r = 0; r < rows; ++r) {
      std::memcpy(*data + r * width * element,
                  from.data() + (r * total + first) * element, width * element);
    }
    return result;
  };
  return columns;
}

TraceArray HalvesOf(const TraceArray& array, size_t head_dim) {
  TraceArray halves = array;
  halves.read = [array,
                 head_dim](uint64_t max_bytes) -> absl::StatusOr<StoredArray> {
    absl::StatusOr<StoredArray> stored = array.read(max_bytes);
    if (!stored.ok()) return stored.status();
    const size_t element = ElementSize(stored->dtype);
    if (element == 0 || stored->shape.empty() || stored->bytes.empty() ||
        head_dim % 2 != 0 ||
        static_cast<uint64_t>(stored->shape.back()) % head_dim != 0) {
      return Mismatch(absl::StrCat("rows of heads of head_dim ", head_dim),
                      *stored);
    }
    const absl::Span<const uint8_t> from = stored->bytes;
    // What `from` is part of, which the buffer takes the place of.
    const std::shared_ptr<const void> owner = stored->owner;
    const auto data = TakeBuffer(from.size(), *stored);
    if (!data.ok()) return data.status();
    const size_t head = head_dim * element;
    for (size_t begin = 0; begin < from.size(); begin += head) {
      for (size_t i = 0; i < head_dim; ++i) {
        const size_t interleaved = i % 2 * (head_dim / 2) + i / 2;
        std::memcpy(*data + begin + interleaved * element,
                    from.data() + begin + i * element, element);
      }
    }
    return stored;
  };
  return halves;
}

TraceArray SumOf(const std::vector<TraceArray>& terms) {
  TraceArray sum;
  sum.name =
      absl::StrJoin(terms, " + ", [](std::string* out, const TraceArray& term) {
        absl::StrAppend(out, term.name);
      });
  sum.file = terms[0].file;
  sum.read = [terms](uint64_t max_bytes) -> absl::StatusOr<StoredArray> {
    StoredArray result;
    std::vector<double> values, more;
    std::string dtype;
    for (const TraceArray& term : terms) {
      const absl::StatusOr<StoredArray> stored = term.read(max_bytes);
      absl::Status status = stored.status();
      if (status.ok() && !IsFloat(stored->dtype)) {
        status = Mismatch("F64, F32, F16 or BF16", *stored);
      } else if (status.ok() && !values.empty() &&
                 (stored->shape != result.shape || stored->dtype != dtype)) {
        status = Mismatch(absl::StrCat(dtype, " ", ShapeText(result.shape),
                                       " as ", NameText(terms[0].name), " has"),
                          *stored);
      } else if (status.ok() && stored->bytes.empty()) {
        status = Mismatch("some elements", *stored);
      }
      if (!status.ok()) {
        return absl::InvalidArgumentError(
            absl::StrCat(NameText(term.name), ": ", status.message()));
      }
      more.resize(stored->bytes.size() / ElementSize(stored->dtype));
      Widen(*stored, 0, absl::MakeSpan(more));
      if (values.empty()) {
        result.shape = stored->shape;
        dtype = stored->dtype;
        values = more;
        continue;
      }
      for (size_t i = 0; i < values.size(); ++i) {
        values[i] = RoundedTo(dtype, values[i] + more[i]);
      }
    }
    const bool is_wide = dtype == "F64";
    result.dtype = is_wide ? "F64" : "F32";
    const size_t element = is_wide ? sizeof(double) : sizeof(float);
    const auto data = TakeBuffer(values.size() * element, result);
    if (!data.ok()) return data.status();
    for (size_t i = 0; i < values.size(); ++i) {
      const float narrow = static_cast<float>(values[i]);
      std::memcpy(*data + i * element,
                  is_wide ? static_cast<const void*>(&values[i])
                          : static_cast<const void*>(&narrow),
                  element);
    }
    return result;
  };
  return sum;
}

}  // namespace ulpscope
