#include "model/trace/trace_writer.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/files/output_file.h"
#include "model/files/safetensors_writer.h"
#include "model/trace/trace_dump_options.h"
#include "model/trace/trace_names.h"

namespace ulpscope {
namespace {

class SafetensorsTraceWriter : public TraceWriter {
 public:
  static absl::StatusOr<std::unique_ptr<TraceWriter>> Create(
      absl::string_view path, const ModelConfig& config, const Plan& plan,
      absl::Span<const int32_t> tokens, const TraceDumpOptions& options) {
    std::map<std::string, std::string> metadata = {
        {"format", "pt"},
        {"made_by", "ulpscope"},
        {"plan", plan.Text()},
        {"last_hidden_state",
         options.last_state_is_normed ? "final_norm" : "residual_stream"}};
    if (!options.model.empty()) metadata["model"] = options.model;
    auto file = SafetensorsWriter::Create(path, Names(config, plan),
                                          std::move(metadata));
    if (!file.ok()) return file.status();
    const absl::Status status = (*file)->WriteIntegers("input_ids", tokens);
    if (!status.ok()) return status;
    return std::unique_ptr<TraceWriter>(
        new SafetensorsTraceWriter(plan, *std::move(file)));
  }

  bool WantsOutput(size_t layer, Op op) const override {
    return Writes(plan_, layer, op);
  }

  absl::Status WriteOutput(const std::string& name,
                           const std::vector<int64_t>& shape,
                           absl::Span<const double> values) override {
    return file_->WriteFloats(name, shape, values);
  }

  absl::Status WriteState(size_t index, const std::vector<int64_t>& shape,
                          absl::Span<const double> values) override {
    return file_->WriteFloats(StateName(index), shape, values);
  }

  absl::Status Finish() override { return file_->Finish(); }

 private:
  SafetensorsTraceWriter(const Plan& plan,
                         std::unique_ptr<SafetensorsWriter> file)
      : plan_(plan), file_(std::move(file)) {}

  // Keys and values that are stored as they were computed are those of k_rope
  // and v_proj.
  static bool Writes(const Plan& plan, size_t layer, Op op) {
    return OpKernel(op) != Kernel::kKvCache ||
           !StoresAsComputed(plan.Get(layer, op));
  }

  static std::vector<std::string> Names(const ModelConfig& config,
                                        const Plan& plan) {
    const size_t layers = static_cast<size_t>(config.num_hidden_layers);
    std::vector<std::string> names = {"input_ids"};
    for (size_t n = 0; n <= layers; ++n) names.push_back(StateName(n));
    for (size_t i = 0; i < kNumOps; ++i) {
      const Op op = OpAt(i);
      if ((op == Op::kQNorm || op == Op::kKNorm) && !config.qk_norm) continue;
      const size_t last = IsPerLayer(op) ? layers : 0;
      for (size_t layer = IsPerLayer(op) ? 1 : 0; layer <= last; ++layer) {
        if (!Writes(plan, layer, op)) continue;
        for (std::string& name : TraceNamesOf(layer, op)) {
          names.push_back(std::move(name));
        }
      }
    }
    return names;
  }

  const Plan plan_;
  const std::unique_ptr<SafetensorsWriter> file_;
};

class BinTraceWriter : public TraceWriter {
 public:
  static absl::StatusOr<std::unique_ptr<TraceWriter>> Create(
      absl::string_view path) {
    auto folder = OutputFolder::Create(path);
    if (!folder.ok()) return folder.status();
    return std::unique_ptr<TraceWriter>(
        new BinTraceWriter(path, *std::move(folder)));
  }

  bool WantsOutput(size_t, Op op) const override { return op == Op::kLmHead; }

  absl::Status WriteOutput(const std::string&, const std::vector<int64_t>&,
                           absl::Span<const double> values) override {
    return Write("final_logits.bin", values);
  }

  absl::Status WriteState(size_t index, const std::vector<int64_t>&,
                          absl::Span<const double> values) override {
    return Write(index == 0 ? "after_embeddings.bin"
                            : absl::StrCat("after_layer_", index, ".bin"),
                 values);
  }

  absl::Status Finish() override { return folder_.Commit(); }

 private:
  BinTraceWriter(absl::string_view path, OutputFolder folder)
      : path_(path), folder_(std::move(folder)) {}

  absl::Status Write(const std::string& name, absl::Span<const double> values) {
    if (values.size() > INT32_MAX) {
      return absl::InvalidArgumentError(
          absl::StrCat(path_, "/", name, ": expected at most ", INT32_MAX,
                       " values, which its count can say, found ",
                       values.size(), "; a .safetensors file takes them"));
    }
    absl::StatusOr<OutputFile> file =
        OutputFile::Create(absl::StrCat(folder_.temporary(), "/", name));
    if (!file.ok()) return file.status();
    const int32_t count = static_cast<int32_t>(values.size());
    const std::vector<float> rounded(values.begin(), values.end());
    absl::Status status = file->Write(0, &count, sizeof(count));
    if (status.ok()) {
      status = file->Write(sizeof(count), rounded.data(),
                           rounded.size() * sizeof(float));
    }
    return status.ok() ? file->Commit() : status;
  }

  const std::string path_;
  OutputFolder folder_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<TraceWriter>> TraceWriter::Create(
    absl::string_view path, const ModelConfig& config, const Plan& plan,
    absl::Span<const int32_t> tokens, const TraceDumpOptions& options) {
  if (absl::EndsWith(path, ".safetensors")) {
    return SafetensorsTraceWriter::Create(path, config, plan, tokens, options);
  }
  return BinTraceWriter::Create(path);
}

}  // namespace ulpscope
