// A config.json, beside weights of one small model.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>

#include "model/architecture/config.h"
#include "model/architecture/rope.h"
#include "model/checkpoint/checkpoint.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/json_mutator.h"
#include "tests/fuzz/use_model.h"

namespace ulpscope {
namespace {

constexpr char kConfig[] = "config.json";
constexpr int64_t kMostHeadDim = 1 << 12;

class Folder {
 public:
  Folder() {
    folder_.Set(folder_.Add("model.safetensors"),
                ReadTestdata("reference/qwen3_bf16/model.safetensors"));
    config_ = folder_.Add(kConfig);
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
    folder_.Set(config_, text);
    const auto model = OpenCheckpoint(folder_.path());
    if (!model.ok()) return RequireNames(model.status(), folder_.path());
    UseModel(*model, folder_.path());
  }

 private:
  InputFolder folder_;
  int config_ = 0;
};

}  // namespace
}  // namespace ulpscope

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static auto& folder = *new ulpscope::Folder();
  folder.Open(ulpscope::TextOf(data, size));
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size,
                                          size_t max_size, unsigned int seed) {
  return ulpscope::MutateJsonText(data, size, max_size, seed);
}
