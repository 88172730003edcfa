#ifndef EXPLORER_APP_OUTPUT_PATHS_H_
#define EXPLORER_APP_OUTPUT_PATHS_H_

#include <string>

#include "absl/status/status.h"
#include "explorer/app/settings.h"

namespace ulpscope {

// A model is somebody else's: InvalidArgument names a flag whose files would
// come to lie in the folder of a Hugging Face checkpoint at `model_path`, or
// take the place of the .gguf file there (of a split one, of any part), also
// by way of a link. Beside a .gguf file they may lie.
absl::Status CheckOutputPaths(const Settings& settings,
                              const std::string& model_path);

}  // namespace ulpscope

#endif  // EXPLORER_APP_OUTPUT_PATHS_H_
