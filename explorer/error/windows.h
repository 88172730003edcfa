#ifndef EXPLORER_ERROR_WINDOWS_H_
#define EXPLORER_ERROR_WINDOWS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"

namespace ulpscope {

// A text as tokens, and what reports call it.
struct Prompt {
  std::string name;
  std::vector<int32_t> tokens;
};

// A part of a prompt that is run at once, from position 0.
struct Window {
  std::string prompt;  // its name
  size_t begin = 0;    // where in it
  std::vector<int32_t> tokens;
  // The positions whose next-token distributions count. Those before are
  // context, which an earlier window has scored; one behind them has more
  // context in the next window.
  size_t first_scored = 0, end_scored = 0;
};

// How texts are cut.
struct WindowOptions {
  size_t window = 0;  // tokens of one, or 0 for whole prompts
  size_t stride = 0;  // from one's begin to the next; 0 is the window
  size_t most = 0;    // windows in all, or 0 for all there are
};

// Every position of every prompt is scored once: windows begin at multiples of
// the stride, and each scores the tokens that the one before did not reach, as
// in the recipe of transformers' documentation ("Perplexity of fixed-length
// models"). The last of a prompt ends with it, shorter or not; one of a single
// token, which nothing comes after, is left out unless it is all of its prompt.
// The stride is at most the window.
std::vector<Window> WindowsOf(absl::Span<const Prompt> prompts,
                              const WindowOptions& options);

}  // namespace ulpscope

#endif  // EXPLORER_ERROR_WINDOWS_H_
