#ifndef EXPLORER_RESULTS_TEXT_SINK_H_
#define EXPLORER_RESULTS_TEXT_SINK_H_

#include <string>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"

namespace ulpscope {

// Takes text piece by piece: what many plans have found is larger than what
// should be held at once.
using TextSink = absl::FunctionRef<void(absl::string_view)>;

// All that a writer, which takes a TextSink, writes.
template <typename Write>
std::string WholeText(const Write& write) {
  std::string text;
  write([&text](absl::string_view piece) { text.append(piece); });
  return text;
}

}  // namespace ulpscope

#endif  // EXPLORER_RESULTS_TEXT_SINK_H_
