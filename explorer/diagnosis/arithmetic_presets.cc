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
#include "kernels/base/format.h"
#include "model/architecture/op.h"

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

void AddEngines(std::vector<ArithmeticPreset>& presets) {
  constexpr Format kF32 = Format::kF32;
  constexpr Format kBF16 = Format::kBF16;
  for (const char* plan : {"torch-bf16-sdpa", "vllm-bf16", "vllm-h100-bf16"}) {
    presets.push_back({plan, plan, kBF16});
  }
  presets.push_back({"torch-f16-sdpa", "torch-f16-sdpa", Format::kF16});
  for (const char* plan :
       {"autocast-bf16", "llama.cpp-cpu", "llama.cpp-cpu-flash"}) {
    presets.push_back({plan, plan, kF32});
  }
  presets.push_back({"llama.cpp-cpu-f32-cache", "llama.cpp-cpu,kv=f32", kF32});
  for (const char* format : {"f16", "bf16", "fp8", "int8", "q8_0", "q4_0"}) {
    presets.push_back({absl::StrCat("f32-", format, "-kv-cache"),
                       absl::StrCat("kv=", format), kF32});
  }
  // Products of matrices alone are given fewer bits.
  for (const char* format : {"bf16", "f16"}) {
    const std::string operands =
        absl::StrCat("matmul=", format, "_f32,qk=f32,av=f32");
    presets.push_back(
        {absl::StrCat("f32-", format, "-operands"), operands, kF32});
  }
  presets.push_back(
      {"f32-tf32-operands", "matmul=tf32_fma,qk=f32,av=f32", kF32});
  presets.push_back({"f32-tf32", "matmul=tf32", kF32});
  for (const char* format : {"fp8", "int8"}) {
    presets.push_back({absl::StrCat("torch-bf16-", format, "-kv-cache"),
                       absl::StrCat("torch-bf16,kv=", format), kBF16});
  }
}

// PyTorch's ops in 16 bits of which some are fused: norms, RoPE and SwiGLU may
// each be rounded once, at their end. (Norms alone are a hypothesis,
// `norm_weight_before_cast`.)
void AddFused(absl::string_view format, Format result,
              std::vector<ArithmeticPreset>& presets) {
  const std::string late = absl::StrCat(format, "_late");
  for (const bool sdpa : {false, true}) {
    const std::string base =
        absl::StrCat("torch-", format, sdpa ? "-sdpa" : "");
    for (const char* rope : {"", "_late", "_once"}) {
      for (const bool swiglu : {false, true}) {
        for (const bool norms : {false, true}) {
          const bool has_rope = *rope != '\0';
          if (!has_rope && !swiglu) continue;
          std::string plan = base;
          std::string name = absl::StrCat(base, "-fused");
          if (norms) absl::StrAppend(&plan, ",rmsnorm=", late);
          if (has_rope) absl::StrAppend(&plan, ",rope=", format, rope);
          if (swiglu) absl::StrAppend(&plan, ",swiglu=", late);
          if (!norms || !has_rope || !swiglu) {
            absl::StrAppend(&name, norms ? "-norms" : "",
                            has_rope ? "-rope" : "", swiglu ? "-swiglu" : "");
          }
          if (absl::string_view(rope) == "_late") {
            absl::StrAppend(&name, "-", format, "-cosines");
          }
          presets.push_back({std::move(name), std::move(plan), result});
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

std::vector<ArithmeticPreset> ArithmeticPresetsFor(const AlignedTrace& trace) {
  std::vector<ArithmeticPreset> presets = PlainPresets();
  std::vector<ArithmeticPreset> others;
  AddEngines(others);
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
