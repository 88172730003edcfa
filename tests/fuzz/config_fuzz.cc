// A config.json, beside weights of one small model.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>

#include "model/architecture/config.h"
#include "model/architecture/rope.h"
#include "model/checkpoint/checkpoint.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/use_model.h"

namespace ulpscope {
namespace {

constexpr char kConfig[] = "config.json";
constexpr int64_t kMostHeadDim = 1 << 12;

class Folder {
 public:
  Folder() {
    folder_.Set("model.safetensors",
                ReadTestdata("reference/qwen3_bf16/model.safetensors"));
  }

  void Open(absl::string_view text) {
    const auto config = ParseConfig(text, kConfig);
    if (!config.ok()) return RequireNames(config.status(), kConfig);
    const absl::Status valid = ValidateConfig(*config, kConfig);
    if (!valid.ok()) return RequireNames(valid, kConfig);
    if (config->head_dim <= kMostHeadDim) {
      for (const double frequency : RopeFrequencies(*config)) {
        Require(!std::isnan(frequency), "a frequency is NaN");
      }
      RopeAttentionFactor(*config);
    }
    folder_.Set(kConfig, text);
    const auto model = OpenCheckpoint(folder_.path());
    if (!model.ok()) return RequireNames(model.status(), folder_.path());
    UseModel(*model, folder_.path());
  }

 private:
  InputFolder folder_;
};

}  // namespace

void ReadInput(absl::string_view input) {
  static auto& folder = *new Folder();
  folder.Open(input);
}

}  // namespace ulpscope
