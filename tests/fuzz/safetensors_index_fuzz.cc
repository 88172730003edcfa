// A model.safetensors.index.json beside one shard.

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "model/checkpoint/safetensors.h"
#include "model/files/safetensors_file.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

constexpr char kIndex[] = "model.safetensors.index.json";

class Folder {
 public:
  Folder() {
    folder_.Set("a.safetensors",
                SafetensorsBytes(R"({"v":{"dtype":"F32","shape":[4],)"
                                 R"("data_offsets":[0,16]},)"
                                 R"("w":{"dtype":"BF16","shape":[2,2],)"
                                 R"("data_offsets":[16,24]}})",
                                 24));
  }

  void Open(absl::string_view index) {
    folder_.Set(kIndex, index);
    const auto shards = ReadSafetensorsIndex(folder_.PathOf(kIndex));
    const auto source = OpenSafetensorsFolder(folder_.path());
    if (!shards.ok()) {
      RequireNames(shards.status(), kIndex);
      return RequireNames(source.status(), kIndex);
    }
    for (const auto& [tensor, shard] : *shards) {
      Require(!absl::StrContains(shard, '/') &&
                  !absl::StrContains(shard, "..") && !shard.empty(),
              "a shard outside the folder");
    }
    if (!source.ok()) return RequireNames(source.status(), folder_.path());
    for (const auto& [tensor, shard] : *shards) {
      Require((*source)->Has(tensor), "a tensor of the index is missing");
    }
    const auto loaded = (*source)->Load("w", {2, 2});
    if (loaded.ok()) ReadBytes(loaded->data, loaded->bytes());
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
