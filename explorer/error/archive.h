#ifndef EXPLORER_ERROR_ARCHIVE_H_
#define EXPLORER_ERROR_ARCHIVE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace ulpscope {

// Where the figures of a struct are written to or read from, by name. A struct
// that is kept has one function for both, which names all that is in it,
//   void Visit(Archive& archive, LogitMetrics& metrics);
// so that what is written is what is read. Reading from an archive that lacks a
// name, or has something else under it, makes it fail; what is visited then is
// of no use.
class Archive {
 public:
  virtual ~Archive() = default;

  // A double keeps every bit, and which infinity it is; a NaN is a NaN.
  virtual void Figure(absl::string_view name, double& value) = 0;
  virtual void Figure(absl::string_view name, std::optional<double>& value) = 0;
  virtual void Figure(absl::string_view name, size_t& value) = 0;
  virtual void Figure(absl::string_view name, bool& value) = 0;
  virtual void Figure(absl::string_view name, std::string& value) = 0;
  virtual void Figure(absl::string_view name, std::vector<double>& values) = 0;

  // Whatever follows is of a part of that name, until Close. Whether there is
  // one: of what is read the archive knows, else `there` says so. Without one
  // there is nothing to close.
  virtual bool OpenPart(absl::string_view name, bool there) = 0;
  // The same of a list, which has so many parts: what is read, or `size`.
  virtual size_t OpenList(absl::string_view name, size_t size) = 0;
  virtual void OpenItem(size_t index) = 0;  // of the open list
  virtual void Close() = 0;

  // What was read makes no sense.
  virtual void Fail() = 0;
};

// Parts and items that are a figure alone.
inline void Visit(Archive& archive, size_t& value) {
  archive.Figure("value", value);
}
inline void Visit(Archive& archive, std::string& value) {
  archive.Figure("value", value);
}

// An integer of a type that has negative ones, of 32 bits.
template <typename T>
void VisitInteger(Archive& archive, absl::string_view name, T& value) {
  double number = static_cast<double>(value);
  archive.Figure(name, number);
  if (number >= -0x1p31 && number < 0x1p31) {
    value = static_cast<T>(static_cast<int32_t>(number));
  } else {
    archive.Fail();
  }
}

// One of the first `count` enumerators.
template <typename T>
void VisitChoice(Archive& archive, absl::string_view name, T& value,
                 size_t count) {
  size_t number = static_cast<size_t>(value);
  archive.Figure(name, number);
  if (number >= count) return archive.Fail();
  value = static_cast<T>(number);
}

template <typename T>
void VisitPart(Archive& archive, absl::string_view name, T& value) {
  if (!archive.OpenPart(name, true)) return archive.Fail();
  Visit(archive, value);
  archive.Close();
}

template <typename T>
void VisitPart(Archive& archive, absl::string_view name,
               std::optional<T>& value) {
  if (!archive.OpenPart(name, value.has_value())) {
    value.reset();
    return;
  }
  if (!value.has_value()) value.emplace();
  Visit(archive, *value);
  archive.Close();
}

template <typename T>
void VisitList(Archive& archive, absl::string_view name,
               std::vector<T>& values) {
  values.resize(archive.OpenList(name, values.size()));
  for (size_t i = 0; i < values.size(); ++i) {
    archive.OpenItem(i);
    Visit(archive, values[i]);
    archive.Close();
  }
  archive.Close();
}

}  // namespace ulpscope

#endif  // EXPLORER_ERROR_ARCHIVE_H_
