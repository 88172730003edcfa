#include "explorer/diagnosis/arithmetic_presets.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/traced_values.h"
#include "kernels/base/dtype.h"
#include "kernels/base/format.h"
#include "model/architecture/op.h"
#include "model/checkpoint/weights.h"

namespace ulpscope {
namespace {

std::vector<ArithmeticPreset> PlainPresets() {
  constexpr Format kF64 = Format::kF64;
  return {
      {"f64", "oracle", kF64, false, true},
      // transformers in float64, whose norms, softmax and RoPE are in f32.
      {"torch-f64", "oracle,rmsnorm=f32,softmax=f32,rope=f32", kF64, true,
       true},
      {"f32", "f32", Format::kF32, true, true},
      {"torch-bf16", "torch-bf16", Format::kBF16, true, true},
      {"torch-f16", "torch-f16", Format::kF16, true, true},
  };
}

// What llama.cpp rounds activations to for such weights: none for f32.
std::string OperandsOf(const Weights& weights) {
  if (weights.layers.empty()) return "";
  const auto& panels = weights.layers.front().q_proj.view();
  if (panels.blocks != nullptr) return "-q8-operands";
  switch (panels.dtype) {
    case DType::kBF16:
      return "-bf16-operands";
    case DType::kF16:
      return "-f16-operands";
    default:
      return "";
  }
}

void AddEngines(const Weights& weights,
                std::vector<ArithmeticPreset>& presets) {
  constexpr Format kF32 = Format::kF32;
  constexpr Format kBF16 = Format::kBF16;
  for (const char* plan : {"torch-bf16-sdpa", "vllm-bf16", "vllm-h100-bf16"}) {
    presets.push_back({plan, plan, kBF16});
  }
  presets.push_back({"torch-f16-sdpa", "torch-f16-sdpa", Format::kF16});
  presets.push_back({"autocast-bf16", "autocast-bf16", kF32});
  presets.push_back({"autocast-f16", "matmul=f16,swiglu=f16", kF32});
  const std::string operands = OperandsOf(weights);
  presets.push_back({absl::StrCat("llama.cpp-cpu", operands, "-f16-cache"),
                     "llama.cpp-cpu", kF32});
  presets.push_back(
      {absl::StrCat("llama.cpp-cpu-flash", operands, "-f16-cache"),
       "llama.cpp-cpu-flash", kF32});
  // Of weights in f32 it is f32.
  if (!operands.empty()) {
    presets.push_back({absl::StrCat("llama.cpp-cpu", operands, "-f32-cache"),
                       "llama.cpp-cpu,kv=f32", kF32});
  }
  for (const char* format : {"f16", "bf16", "fp8", "int8", "q8_0", "q4_0"}) {
    presets.push_back({absl::StrCat("f32-", format, "-kv-cache"),
                       absl::StrCat("kv=", format), kF32});
  }
  // Products of matrices alone are given fewer bits.
  for (const char* format : {"bf16", "f16"}) {
    presets.push_back({absl::StrCat("f32-", format, "-operands"),
                       absl::StrCat("matmul=", format, "_f32,qk=f32,av=f32"),
                       kF32});
  }
  presets.push_back(
      {"f32-tf32-operands", "matmul=tf32_fma,qk=f32,av=f32", kF32});
  presets.push_back(
      {"f32-tf32-cut-operands", "matmul=tf32,qk=f32,av=f32", kF32});
  presets.push_back({"f32-tf32", "matmul=tf32", kF32});
  for (const char* format : {"fp8", "int8"}) {
    presets.push_back({absl::StrCat("torch-bf16-", format, "-kv-cache"),
                       absl::StrCat("torch-bf16,kv=", format), kBF16});
  }
}

// PyTorch's ops in 16 bits, of which norms, RoPE or SwiGLU are fused: rounded
// once, at their end.
struct FusedOps {
  bool norms = false;
  absl::string_view rope = "";  // "_late", "_once"
  bool swiglu = false;

  std::string NameOn(absl::string_view base) const {
    if (!norms && rope.empty() && !swiglu) return std::string(base);
    const bool all = norms && !rope.empty() && swiglu;
    return absl::StrCat(base, "-fused", norms && !all ? "-norms" : "",
                        !rope.empty() && !all ? "-rope" : "",
                        swiglu && !all ? "-swiglu" : "",
                        rope == "_late" ? "-rounded-cosines" : "");
  }
  std::string PlanOn(absl::string_view base, absl::string_view format) const {
    std::string plan(base);
    if (norms) absl::StrAppend(&plan, ",rmsnorm=", format, "_late");
    if (!rope.empty()) absl::StrAppend(&plan, ",rope=", format, rope);
    if (swiglu) absl::StrAppend(&plan, ",swiglu=", format, "_late");
    return plan;
  }
};

void AddFused(absl::string_view format, Format result,
              std::vector<ArithmeticPreset>& presets) {
  for (const char* attention : {"", "-sdpa"}) {
    const std::string base = absl::StrCat("torch-", format, attention);
    for (const bool norms : {false, true}) {
      for (const char* rope : {"", "_late", "_once"}) {
        for (const bool swiglu : {false, true}) {
          const FusedOps fused = {norms, rope, swiglu};
          if (fused.NameOn(base) == base) continue;
          ArithmeticPreset preset = {fused.NameOn(base),
                                     fused.PlanOn(base, format), result};
          FusedOps less = fused;
          less.norms = false;
          if (norms) preset.simpler.push_back(less.NameOn(base));
          less = fused;
          less.rope = "";
          if (*rope != '\0') preset.simpler.push_back(less.NameOn(base));
          less.rope = "_late";
          if (fused.rope == "_once") {
            preset.simpler.push_back(less.NameOn(base));
          }
          less = fused;
          less.swiglu = false;
          if (swiglu) preset.simpler.push_back(less.NameOn(base));
          // Norms alone are a hypothesis, `norm_weight_before_cast`.
          preset.taken = *rope != '\0' || swiglu;
          presets.push_back(std::move(preset));
        }
      }
    }
  }
}

// Ops none of whose values a format holds, as entries of a plan; empty if they
// are others than those that programs keep in f32.
std::string KeptInF32(const AlignedTrace& trace, Format format) {
  struct Held {
    bool any = false, every = true;
  };
  std::map<Op, Held> held;
  for (const Point& point : trace.points()) {
    if (point.op == Op::kEmbed || !point.any_finite) continue;
    Held& of = held[point.op];
    const bool holds = Holds(format, point.held_by);
    of.any = of.any || holds;
    of.every = of.every && holds;
  }
  std::string entries;
  for (const auto& [op, of] : held) {
    if (of.every || of.any) continue;
    switch (op) {
      case Op::kLmHead:
        absl::StrAppend(&entries, ",lm_head=", FormatName(format), "_f32");
        break;
      case Op::kFinalNorm:
        absl::StrAppend(&entries, ",final_norm=f32");
        break;
      case Op::kAttnResidual:
      case Op::kMlpResidual:
        if (absl::StrContains(entries, "residual=f32")) break;
        absl::StrAppend(&entries, ",residual=f32");
        break;
      default:
        return "";
    }
  }
  return entries;
}

}  // namespace

std::vector<ArithmeticPreset> ArithmeticPresetsFor(const AlignedTrace& trace,
                                                   const Weights& weights) {
  std::vector<ArithmeticPreset> presets = PlainPresets();
  std::vector<ArithmeticPreset> others;
  AddEngines(weights, others);
  AddFused("bf16", Format::kBF16, others);
  AddFused("f16", Format::kF16, others);
  for (ArithmeticPreset& preset : others) {
    if (preset.result == trace.format()) presets.push_back(std::move(preset));
  }
  for (ArithmeticPreset& preset : presets) {
    if (!Has16Bits(preset.result)) continue;
    absl::StrAppend(&preset.plan, KeptInF32(trace, preset.result));
  }
  return presets;
}

}  // namespace ulpscope
