#ifndef EXPLORER_APP_OUTPUT_PATHS_H_
#define EXPLORER_APP_OUTPUT_PATHS_H_

#include "absl/status/status.h"
#include "explorer/app/settings.h"

namespace ulpscope {

// A model is somebody else's: InvalidArgument names a flag whose files would
// come to lie in the folder of a Hugging Face checkpoint, or take the place of
// a .gguf file, also by way of a link.
absl::Status CheckOutputPaths(const Settings& settings);

}  // namespace ulpscope

#endif  // EXPLORER_APP_OUTPUT_PATHS_H_
