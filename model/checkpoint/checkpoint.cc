#include "model/checkpoint/checkpoint.h"

#include <sys/stat.h>

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "model/checkpoint/gguf.h"
#include "model/checkpoint/safetensors.h"
#include "model/files/mapped_file.h"
#include "model/synthetic/synthetic.h"

namespace ulpscope {
namespace {

constexpr size_t kMaxConfigSize = size_t{1} << 20;

absl::Status OpenFolder(absl::string_view folder, Checkpoint& checkpoint) {
  const std::string path = absl::StrCat(folder, "/config.json");
  const absl::StatusOr<std::shared_ptr<const MappedFile>> file =
      MappedFile::Open(path);
  if (!file.ok()) return file.status();
  if ((*file)->text().size() > kMaxConfigSize) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": expected at most ", kMaxConfigSize,
                     " bytes, found ", (*file)->text().size()));
  }
  absl::StatusOr<ModelConfig> config = ParseConfig((*file)->text(), path);
  if (!config.ok()) return config.status();
  absl::StatusOr<std::unique_ptr<TensorSource>> tensors =
      OpenSafetensorsFolder(folder);
  if (!tensors.ok()) return tensors.status();
  checkpoint.config = *std::move(config);
  checkpoint.tensors = *std::move(tensors);
  return absl::OkStatus();
}

absl::Status OpenGgufFile(absl::string_view path, Checkpoint& checkpoint) {
  absl::StatusOr<GgufModel> model = OpenGguf(path);
  if (!model.ok()) return model.status();
  checkpoint.config = std::move(model->config);
  checkpoint.tensors = std::move(model->tensors);
  return absl::OkStatus();
}

absl::Status OpenGenerated(absl::string_view name, Checkpoint& checkpoint) {
  absl::StatusOr<ModelConfig> config = SyntheticConfig(name);
  if (!config.ok()) return config.status();
  absl::StatusOr<std::unique_ptr<TensorSource>> tensors = OpenSynthetic(name);
  if (!tensors.ok()) return tensors.status();
  checkpoint.synthetic = true;
  checkpoint.config = *std::move(config);
  checkpoint.tensors = *std::move(tensors);
  return ValidateConfig(checkpoint.config, checkpoint.name);
}

bool IsFolder(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

}  // namespace

absl::StatusOr<Checkpoint> OpenCheckpoint(absl::string_view name) {
  Checkpoint checkpoint;
  checkpoint.name = std::string(name);
  absl::Status status;
  absl::string_view generated = name;
  if (absl::ConsumePrefix(&generated, "synthetic:")) {
    status = OpenGenerated(generated, checkpoint);
  } else if (IsFolder(checkpoint.name)) {
    status = OpenFolder(name, checkpoint);
  } else if (absl::EndsWith(name, ".gguf")) {
    status = OpenGgufFile(name, checkpoint);
  } else {
    status = absl::InvalidArgumentError(absl::StrCat(
        name,
        ": expected a Hugging Face folder, a .gguf file or synthetic:NAME, "
        "found none of these"));
  }
  if (!status.ok()) return status;
  return checkpoint;
}

}  // namespace ulpscope
