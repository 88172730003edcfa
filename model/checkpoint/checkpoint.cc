#include "model/checkpoint/checkpoint.h"

#include <sys/stat.h>

#include <cstdint>
#include <cstring>
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

// A head in the file beats config.json, unless it is but a copy of the
// embedding.
absl::Status UseHeadOfFile(Checkpoint& checkpoint) {
  constexpr absl::string_view kHead = "lm_head.weight";
  ModelConfig& config = checkpoint.config;
  if (!config.tie_word_embeddings || !checkpoint.tensors->Has(kHead)) {
    return absl::OkStatus();
  }
  const int64_t shape[] = {config.vocab_size, config.hidden_size};
  const auto head = checkpoint.tensors->Load(kHead, shape);
  if (!head.ok()) return head.status();
  const auto embed =
      checkpoint.tensors->Load("model.embed_tokens.weight", shape);
  if (!embed.ok()) return embed.status();
  const bool is_copy = head->dtype == embed->dtype &&
                       head->blocks == embed->blocks &&
                       std::memcmp(head->data, embed->data, head->bytes()) == 0;
  config.tie_word_embeddings = is_copy;
  checkpoint.untied_by_file = !is_copy;
  return absl::OkStatus();
}

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
  return UseHeadOfFile(checkpoint);
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
