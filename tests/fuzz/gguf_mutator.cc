// Of targets whose input is a GGUF file.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "tests/fuzz/fuzz_target.h"

namespace ulpscope {
namespace {

constexpr uint32_t kString = 8, kArray = 9;
constexpr size_t kHeader = 24, kAlignment = 32;
// Bytes of each type of value; 0 of strings and arrays.
constexpr size_t kSizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

template <typename T>
std::string Bytes(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

// Reads what is there; nothing behind the end.
class Cursor {
 public:
  explicit Cursor(absl::string_view bytes) : rest_(bytes) {}

  absl::string_view rest() const { return rest_; }
  bool ok() const { return ok_; }

  template <typename T>
  T Take() {
    T value = 0;
    const absl::string_view bytes = TakeBytes(sizeof(T));
    if (ok_) std::memcpy(&value, bytes.data(), sizeof(T));
    return value;
  }
  absl::string_view TakeBytes(uint64_t size) {
    ok_ = ok_ && size <= rest_.size();
    if (!ok_) return {};
    const absl::string_view bytes = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return bytes;
  }
  std::string TakeText() { return std::string(TakeBytes(Take<uint64_t>())); }

 private:
  absl::string_view rest_;
  bool ok_ = true;
};

std::string WithSize(const std::string& text) {
  return absl::StrCat(Bytes<uint64_t>(text.size()), text);
}

struct Value {
  std::string key;
  uint32_t type = 0, element_type = 0;
  std::string scalar;              // or the elements of an array of scalars
  uint64_t count = 0;              // of these
  std::vector<std::string> texts;  // of a string, or of an array of them

  std::string Text() const {
    std::string text = absl::StrCat(WithSize(key), Bytes(type));
    if (type == kArray) {
      absl::StrAppend(
          &text, Bytes(element_type),
          Bytes<uint64_t>(element_type == kString ? texts.size() : count));
    }
    for (const std::string& one : texts) text += WithSize(one);
    return text + scalar;
  }
};

struct Tensor {
  std::string name;
  std::vector<uint64_t> dimensions;
  uint32_t type = 0;
  uint64_t offset = 0;

  std::string Text() const {
    std::string text = absl::StrCat(
        WithSize(name), Bytes(static_cast<uint32_t>(dimensions.size())));
    for (const uint64_t n : dimensions) text += Bytes(n);
    return absl::StrCat(text, Bytes(type), Bytes(offset));
  }
};

struct Gguf {
  std::string begin;  // magic and version
  std::vector<Value> values;
  std::vector<Tensor> tensors;
  std::string data;

  std::string Text() const {
    std::string text = absl::StrCat(begin, Bytes<uint64_t>(tensors.size()),
                                    Bytes<uint64_t>(values.size()));
    for (const Value& value : values) text += value.Text();
    for (const Tensor& tensor : tensors) text += tensor.Text();
    text.resize((text.size() + kAlignment - 1) / kAlignment * kAlignment);
    return text + data;
  }
};

bool TakeValue(Cursor& cursor, Value& value) {
  value.key = cursor.TakeText();
  value.type = cursor.Take<uint32_t>();
  uint32_t type = value.type;
  value.count = 1;
  if (type == kArray) {
    type = value.element_type = cursor.Take<uint32_t>();
    value.count = cursor.Take<uint64_t>();
  }
  if (!cursor.ok() || type > 12 || value.count > cursor.rest().size()) {
    return false;
  }
  if (type == kString) {
    for (uint64_t i = 0; i < value.count && cursor.ok(); ++i) {
      value.texts.push_back(cursor.TakeText());
    }
  } else {
    value.scalar = std::string(cursor.TakeBytes(value.count * kSizes[type]));
  }
  return cursor.ok();
}

std::optional<Gguf> Parse(absl::string_view file) {
  Cursor cursor(file);
  Gguf gguf;
  gguf.begin = std::string(cursor.TakeBytes(8));
  const uint64_t tensors = cursor.Take<uint64_t>();
  const uint64_t values = cursor.Take<uint64_t>();
  if (!cursor.ok() || tensors > file.size() || values > file.size()) {
    return std::nullopt;
  }
  for (uint64_t i = 0; i < values; ++i) {
    if (!TakeValue(cursor, gguf.values.emplace_back())) return std::nullopt;
  }
  for (uint64_t i = 0; i < tensors; ++i) {
    Tensor& tensor = gguf.tensors.emplace_back();
    tensor.name = cursor.TakeText();
    const uint32_t dimensions = cursor.Take<uint32_t>();
    for (uint32_t d = 0; d < dimensions && d < 8; ++d) {
      tensor.dimensions.push_back(cursor.Take<uint64_t>());
    }
    tensor.type = cursor.Take<uint32_t>();
    tensor.offset = cursor.Take<uint64_t>();
    if (!cursor.ok()) return std::nullopt;
  }
  const size_t padding =
      (kAlignment - (file.size() - cursor.rest().size()) % kAlignment) %
      kAlignment;
  cursor.TakeBytes(std::min(padding, cursor.rest().size()));
  gguf.data = std::string(cursor.rest());
  return gguf;
}

template <typename T>
void MutateInteger(Choice& choice, T& value) {
  std::string bytes = Bytes(value);
  if (choice.Below(2) == 0) {
    value += static_cast<T>(choice.Below(5)) - 2;
  } else {
    LLVMFuzzerMutate(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size(),
                     bytes.size());
    std::memcpy(&value, bytes.data(), sizeof(T));
  }
}

template <typename T>
void MutateList(Choice& choice, std::vector<T>& list) {
  const size_t at = choice.Below(list.size());
  switch (choice.Below(3)) {
    case 0:
      list.erase(list.begin() + static_cast<std::ptrdiff_t>(at));
      break;
    case 1:
      list.push_back(T(list[at]));
      break;
    default:
      std::swap(list[at], list[choice.Below(list.size())]);
  }
}

void MutateValue(Choice& choice, Value& value) {
  switch (choice.Below(8)) {
    case 0:
      Mutate(value.key, 8);
      break;
    case 1:
      value.type = static_cast<uint32_t>(choice.Below(13));
      break;
    case 2:
      value.element_type = static_cast<uint32_t>(choice.Below(13));
      break;
    case 3:
      MutateInteger(choice, value.count);
      break;
    default:
      if (value.texts.empty()) {
        const size_t size = value.scalar.size();
        Mutate(value.scalar, 0);
        value.scalar.resize(size);
      } else if (value.texts.size() > 1 && choice.Below(2) == 0) {
        MutateList(choice, value.texts);
      } else {
        Mutate(value.texts[choice.Below(value.texts.size())], 16);
      }
  }
}

void MutateTensor(Choice& choice, Tensor& tensor) {
  switch (choice.Below(5)) {
    case 0:
      Mutate(tensor.name, 8);
      break;
    case 1:
      tensor.type = static_cast<uint32_t>(choice.Below(40));
      break;
    case 2:
      MutateInteger(choice, tensor.offset);
      break;
    default:
      if (tensor.dimensions.empty()) {
        tensor.dimensions.push_back(1);
      } else if (choice.Below(4) == 0) {
        MutateList(choice, tensor.dimensions);
      } else {
        MutateInteger(
            choice, tensor.dimensions[choice.Below(tensor.dimensions.size())]);
      }
  }
}

// Each tensor a place of its own behind the one before.
void Place(const Gguf& before, Gguf& gguf) {
  if (before.tensors.size() < 2) return;
  const uint64_t stride =
      (before.data.size() / before.tensors.size() + kAlignment) / kAlignment *
      kAlignment;
  uint64_t offset = 0;
  for (Tensor& tensor : gguf.tensors) {
    tensor.offset = offset;
    offset += stride;
  }
  gguf.data.resize(offset);
}

}  // namespace

// One entry of the metadata or of the tensors is changed, left out, doubled or
// moved, and lengths and counts fit again.
std::optional<std::string> MutateInput(Choice& choice,
                                       absl::string_view input) {
  std::optional<Gguf> gguf;
  if (choice.Below(4) != 0) gguf = Parse(input);
  if (!gguf || input.size() < kHeader) return std::nullopt;
  const Gguf before = *gguf;
  const bool of_values =
      gguf->tensors.empty() || (!gguf->values.empty() && choice.Below(2) == 0);
  if (of_values && gguf->values.empty()) return std::nullopt;
  if (choice.Below(4) == 0) {
    if (of_values) {
      MutateList(choice, gguf->values);
    } else {
      MutateList(choice, gguf->tensors);
    }
  } else if (of_values) {
    MutateValue(choice, gguf->values[choice.Below(gguf->values.size())]);
  } else {
    MutateTensor(choice, gguf->tensors[choice.Below(gguf->tensors.size())]);
    if (choice.Below(8) == 0) Place(before, *gguf);
  }
  return gguf->Text();
}

}  // namespace ulpscope
