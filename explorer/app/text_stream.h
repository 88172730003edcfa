#ifndef EXPLORER_APP_TEXT_STREAM_H_
#define EXPLORER_APP_TEXT_STREAM_H_

#include <string>

#include "absl/strings/string_view.h"

namespace ulpscope {

// Text that comes in pieces of bytes, as tokens do, which may end within a
// character.
class TextStream {
 public:
  // What can be shown now: all but the begin of a character that the piece did
  // not finish.
  std::string Add(absl::string_view piece);

  // What was held back to the end, as it is.
  std::string Rest();

 private:
  std::string held_;
};

}  // namespace ulpscope

#endif  // EXPLORER_APP_TEXT_STREAM_H_
