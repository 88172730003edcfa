// The program's arguments, a line each, and what they say of a model.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "explorer/app/flags.h"
#include "explorer/app/help.h"
#include "explorer/app/model_settings.h"
#include "explorer/app/settings.h"
#include "model/checkpoint/checkpoint.h"
#include "model/synthetic/synthetic.h"
#include "model/tokenizer/tokenizer.h"
#include "tests/fuzz/fuzz_target.h"

namespace ulpscope {
namespace {

// Whether so many tokens are drawn that it takes long.
bool IsLong(const Settings& settings) {
  return settings.seeds > 4 || (settings.tokens.size() > 4 &&
                                settings.tokens.find(',') == std::string::npos);
}

}  // namespace

void ReadInput(absl::string_view text) {
  const std::vector<std::string> lines = absl::StrSplit(text, '\n');
  std::vector<const char*> arguments;
  for (const std::string& line : lines) arguments.push_back(line.c_str());
  if (AsksForHelp(arguments)) {
    Require(!HelpText(arguments).empty(), "no help");
    return;
  }
  const auto settings = ReadFlags(arguments);
  if (!settings.ok()) {
    return Require(!settings.status().message().empty(),
                   "an error says nothing");
  }
  Require(settings->threads > 0 && settings->memory > 0 &&
              settings->metric != nullptr && settings->seeds > 0,
          "a setting without a value");
  if (settings->mode == Mode::kCompare || IsLong(*settings) ||
      !settings->prompt_file.empty() || !settings->plan_file.empty()) {
    return;
  }
  Checkpoint checkpoint;
  checkpoint.name = "synthetic:tiny";
  checkpoint.config = SyntheticConfig("tiny").value();
  const auto tokenizer = Tokenizer::Load(checkpoint.name);
  const auto model = ParseModelSettings(*settings, checkpoint, tokenizer);
  if (!model.ok()) {
    return Require(!model.status().message().empty(), "an error says nothing");
  }
  for (const size_t layer : model->layers) {
    Require(layer >= 1 && layer <= static_cast<size_t>(
                                       checkpoint.config.num_hidden_layers),
            "a layer that the model has not");
  }
}

}  // namespace ulpscope
