#include "explorer/app/text_stream.h"

#include <cstddef>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"

namespace ulpscope {
namespace {

// Bytes at the end that begin a character of UTF-8 and lack some of it.
size_t Unfinished(absl::string_view text) {
  for (size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    const unsigned char byte =
        static_cast<unsigned char>(text[text.size() - back]);
    if ((byte & 0xC0) == 0x80) continue;  // within a character
    const size_t length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : 2;
    return byte >= 0xC0 && length > back ? back : 0;
  }
  return 0;
}

}  // namespace

std::string TextStream::Add(absl::string_view piece) {
  held_.append(piece.data(), piece.size());
  const size_t shown = held_.size() - Unfinished(held_);
  std::string text = held_.substr(0, shown);
  held_.erase(0, shown);
  return text;
}

std::string TextStream::Rest() { return std::exchange(held_, std::string()); }

}  // namespace ulpscope
