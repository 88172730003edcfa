#include "model/architecture/plan_presets.h"

#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace ulpscope {
namespace {

// Entries may begin with an earlier preset.
constexpr PlanPreset kPresets[] = {
    {"f32", "", "every op in f32"},
    {"kahan", "matmul=kahan,rmsnorm=kahan,softmax=kahan",
     "sums compensated, the rest f32"},
    {"bf16", "matmul=bf16,rmsnorm=bf16,softmax=bf16",
     "ops with sums in bf16, the rest f32"},
    {"torch-bf16",
     "matmul=bf16,rmsnorm=bf16,softmax=bf16,elementwise=bf16,residual=bf16",
     "every op's output rounded to bf16, as PyTorch's eager bf16 does"},
    {"torch-bf16-sdpa", "torch-bf16,attention=sdpa",
     "torch-bf16 with PyTorch's fused attention on CPUs (sdpa)"},
    {"torch-f16",
     "matmul=f16,rmsnorm=f16,softmax=f16,elementwise=f16,residual=f16",
     "every op's output rounded to f16, as PyTorch's eager float16 does"},
    {"torch-f16-sdpa", "torch-f16,attention=sdpa",
     "torch-f16 with PyTorch's fused attention on CPUs (sdpa)"},
    {"autocast-bf16", "matmul=bf16,swiglu=bf16",
     "f32 weights under PyTorch's autocast to bf16: matrices bf16, the rest "
     "f32"},
    {"vllm-bf16",
     "matmul=bf16,rmsnorm=bf16_fused,elementwise=bf16_late,residual=bf16_fused,"
     "kv=bf16,attention=fa2(64)",
     "vLLM's fused bf16 kernels, sums in f32, FlashAttention 2"},
    {"vllm-h100-bf16", "vllm-bf16,matmul=tc_h100,attention=fa2(128)",
     "the same by H100's tensor cores"},
    {"vllm-h100-fp8",
     "vllm-h100-bf16,matmul=fp8_h100,qk=tc_h100,av=tc_h100,lm_head=tc_h100",
     "the same with linear layers in FP8 blocks (DeepGEMM)"},
    {"llama.cpp-cpu", "matmul=ggml,kv=f16",
     "llama.cpp on x86-64 without flash attention: activations rounded for the "
     "weights' type, f16 cache"},
    {"llama.cpp-cpu-flash", "llama.cpp-cpu,attention=ggml",
     "the same with flash attention, as for fewer than 64 tokens at a time"},
    {"f64",
     "matmul=f64,rmsnorm=f64,softmax=f64,elementwise=f64,residual=f64,kv=f64",
     "every op computed in f64 and rounded once to f32"},
    {"oracle",
     "matmul=oracle,rmsnorm=oracle,softmax=oracle,elementwise=oracle,"
     "residual=oracle,kv=oracle",
     "f64 throughout: the reference"},
};

}  // namespace

absl::Span<const PlanPreset> PlanPresets() { return kPresets; }

const PlanPreset* FindPlanPreset(absl::string_view name) {
  for (const PlanPreset& preset : kPresets) {
    if (preset.name == name) return &preset;
  }
  return nullptr;
}

std::string EntriesOf(const PlanPreset& preset) {
  std::vector<std::string> entries;
  for (const absl::string_view entry :
       absl::StrSplit(preset.entries, ',', absl::SkipEmpty())) {
    const PlanPreset* const base = FindPlanPreset(entry);
    entries.push_back(base != nullptr ? EntriesOf(*base) : std::string(entry));
  }
  return absl::StrJoin(entries, ",");
}

}  // namespace ulpscope
