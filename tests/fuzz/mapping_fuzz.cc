// A --mapping file, and what it makes of a trace.

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "absl/strings/match.h"
#include "model/trace/name_mapping.h"
#include "model/trace/reference_trace.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/model/files/trace_bytes.h"
#include "tests/model/trace/traced_model.h"

namespace ulpscope {
namespace {

// Names that corpora have rules for, with values that fit some of ours.
const char* const kNames[] = {"h.0",     "h.1",          "h.2",
                              "a",       "block.0.attn", "block.1.attn",
                              "stacked", "fused.0",      "tokens"};

std::string TraceBytes() {
  std::map<std::string, RawTensor> tensors;
  for (const char* const name : kNames) tensors[name] = F32Tensor({3, 6}, 1);
  tensors["stacked"] = F32Tensor({3, 3, 6}, 1);
  tensors["fused.0"] = F32Tensor({3, 16}, 1);
  tensors["tokens"] = {"I64", {3}, I64Bytes({3, 1, 4})};
  return SafetensorsOf(tensors);
}

}  // namespace

void ReadInput(absl::string_view text) {
  static auto& file = *new InputFile("names.txt");
  static auto& trace = *new InputFile("trace.safetensors");
  static const std::string& path = trace.With(TraceBytes());
  const auto mapping = NameMapping::Parse(text, "names.txt");
  if (!mapping.ok()) return RequireNames(mapping.status(), "names.txt:");
  for (const absl::string_view name :
       {"h.0", "h.000001", "h.999999", "block.0.attn", "a", "", "h."}) {
    const auto rule = mapping->Apply(name);
    if (!rule.has_value()) continue;
    if (rule->kind == NameRule::Kind::kUnstack) {
      rule->EntryName(0);
    } else if (rule->kind != NameRule::Kind::kDrop) {
      Require(!rule->names.empty(), "a rule without a name");
    }
  }
  if (text.empty()) return;
  const auto loaded =
      LoadReferenceTrace(path, file.With(text), TracedModel(), TracedTokens());
  if (loaded.ok()) return;
  const bool of_mapping =
      absl::StrContains(loaded.status().message(), "names.txt");
  RequireNames(loaded.status(), of_mapping ? "names.txt" : path);
}

}  // namespace ulpscope
