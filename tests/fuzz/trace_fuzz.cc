// A .safetensors file, as a trace of a small model.

#include <cstddef>
#include <cstdint>
#include <string>

#include "model/trace/reference_trace.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/model/trace/traced_model.h"

namespace ulpscope {
namespace {

void RequireWhole(const TracedTensor& tensor, size_t positions) {
  Require(tensor.rows.rows() > 0 &&
              tensor.rows.rows() + tensor.first_position == positions,
          "a tensor has rows of other positions");
  const auto view = tensor.rows.view();
  ReadBytes(view.data, view.rows * view.cols * sizeof(double));
}

void Load(const std::string& path, const std::string& mapping, bool with_tokens,
          std::optional<size_t> row) {
  static const ModelConfig& model = *new ModelConfig(TracedModel());
  const auto trace = LoadReferenceTrace(
      path, mapping, model,
      with_tokens ? TracedTokens() : std::vector<int32_t>(), row);
  if (!trace.ok()) return RequireNames(trace.status(), path);
  Require(!trace->empty() && !trace->tokens.empty(), "a trace of nothing");
  for (const auto& [index, state] : trace->states) {
    RequireWhole(state, trace->tokens.size());
  }
  for (const auto& [cell, output] : trace->outputs) {
    RequireWhole(output, trace->tokens.size());
  }
}

}  // namespace

void ReadInput(absl::string_view input) {
  static auto& file = *new InputFile("trace.safetensors");
  const std::string& path = file.With(input);
  Load(path, "", true, std::nullopt);
  Load(path, "", false, 1);
  Load(path, "llama.cpp", true, std::nullopt);
}

}  // namespace ulpscope
