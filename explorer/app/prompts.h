#ifndef EXPLORER_APP_PROMPTS_H_
#define EXPLORER_APP_PROMPTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "explorer/app/settings.h"
#include "explorer/error/windows.h"
#include "model/architecture/config.h"
#include "model/checkpoint/checkpoint.h"
#include "model/tokenizer/tokenizer.h"

namespace ulpscope {

// What a real checkpoint runs unless it is told to run something else: a few
// words and a line of code.
extern const char kBuiltInText[];

struct Prompts {
  std::vector<Prompt> prompts;  // at least one, none of them empty
  // Where their text is from, as reports say it; empty if they are ids.
  std::string source;
  std::vector<std::string> remarks;  // for the user: what --chat made of it
};

// The prompts of --prompt, of what --prompt_file has been read to, of --tokens,
// or what there is without them. `tokenizer` is the checkpoint's, or why it has
// none. InvalidArgument names the flag, the file and its line, or the byte at
// fault.
absl::StatusOr<Prompts> ReadPrompts(const Settings& settings,
                                    const Checkpoint& checkpoint,
                                    int32_t first_token,
                                    const absl::StatusOr<Tokenizer>& tokenizer);

// A text that ReadPrompts did not give, for what was found on `prompt`:
// --confirm_prompt, or if `is_text` another built-in text, or as many other
// tokens, drawn with the seed after --seed. InvalidArgument alike, or if there
// is none.
absl::StatusOr<Prompts> ReadOtherPrompt(
    const Settings& settings, const Checkpoint& checkpoint, int32_t first_token,
    const absl::StatusOr<Tokenizer>& tokenizer,
    const std::vector<int32_t>& prompt, bool is_text);

}  // namespace ulpscope

#endif  // EXPLORER_APP_PROMPTS_H_
