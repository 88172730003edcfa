#ifndef EXPLORER_APP_OUTPUT_PATHS_H_
#define EXPLORER_APP_OUTPUT_PATHS_H_

#include <vector>

#include "absl/status/status.h"
#include "explorer/app/settings.h"

namespace ulpscope {

// A model is somebody else's: InvalidArgument names a flag whose files would
// come to lie in the folder of a Hugging Face checkpoint, or take the place of
// a .gguf file, of a split one of any part, also by way of a link: of its own
// settings or of another's, as several models are read at once. Beside a .gguf
// file they may lie.
absl::Status CheckOutputPaths(const std::vector<Settings>& models);

}  // namespace ulpscope

#endif  // EXPLORER_APP_OUTPUT_PATHS_H_
