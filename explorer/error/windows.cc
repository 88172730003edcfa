#include "explorer/error/windows.h"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "absl/types/span.h"

namespace ulpscope {

std::vector<Window> WindowsOf(absl::Span<const Prompt> prompts,
                              const WindowOptions& options) {
  std::vector<Window> windows;
  for (const Prompt& prompt : prompts) {
    const size_t size = prompt.tokens.size();
    const size_t length = options.window == 0 ? size : options.window;
    const size_t stride = options.stride == 0 ? length : options.stride;
    size_t scored = 0;  // up to which position
    for (size_t begin = 0; begin < size; begin += stride) {
      const size_t end = std::min(begin + length, size);
      if (begin > 0 && end - begin < 2) break;
      if (options.most > 0 && windows.size() == options.most) return windows;
      Window& window = windows.emplace_back();
      window.prompt = prompt.name;
      window.begin = begin;
      window.tokens.assign(
          prompt.tokens.begin() + static_cast<ptrdiff_t>(begin),
          prompt.tokens.begin() + static_cast<ptrdiff_t>(end));
      // Where the next window overlaps, it scores the last position, whose
      // next token it has.
      const bool overlaps = end < size && begin + stride < end;
      const size_t scored_end = overlaps ? end - 1 : end;
      window.first_scored = std::max(scored, begin) - begin;
      window.end_scored = scored_end - begin;
      scored = scored_end;
      if (end == size) break;
    }
  }
  return windows;
}

}  // namespace ulpscope
