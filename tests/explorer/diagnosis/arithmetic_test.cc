// What a whole program was computed in, seen through all of its ops, its states
// or its logits alone: named, and nothing accused.
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "explorer/diagnosis/arithmetic_presets.h"
#include "explorer/diagnosis/results.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/architecture/op.h"
#include "model/trace/reference_trace.h"
#include "tests/explorer/diagnosis/diagnosed_model.h"

namespace ulpscope {
namespace {

using ::testing::IsEmpty;
using ::testing::StartsWith;

const std::vector<int32_t> kTokens = {6, 6, 21, 40, 3, 17, 9, 30, 2, 55};

enum class Seen { kOps, kStates, kLogits, kEnd };

struct Program {
  const char* plan;
  Seen seen;
  const char* name;  // how that of the arithmetic begins
};

// Of a trace of all ops, what is seen.
void Hide(Seen seen, ReferenceTrace& trace) {
  if (seen == Seen::kOps) return;
  for (auto it = trace.outputs.begin(); it != trace.outputs.end();) {
    const Op op = it->first.second;
    const bool is_end = op == Op::kFinalNorm || op == Op::kLmHead;
    const bool kept =
        seen == Seen::kStates
            ? is_end || op == Op::kEmbed || op == Op::kMlpResidual
        : seen == Seen::kLogits
            ? op == Op::kLmHead
            : is_end || (op == Op::kMlpResidual && it->first.first == 2);
    it = kept ? std::next(it) : trace.outputs.erase(it);
  }
  trace.scores.clear();
  if (seen != Seen::kStates) trace.states.clear();
}

class ArithmeticTest : public testing::TestWithParam<Program> {};

TEST_P(ArithmeticTest, IsNamedAndNothingIsAccused) {
  const Program& program = GetParam();
  ReferenceTrace trace =
      TraceOf("synthetic:tiny", program.plan, kTokens, TraceKind::kOps, false);
  Hide(program.seen, trace);
  const Diagnosis d = DiagnosisOf("synthetic:tiny", trace);
  EXPECT_THAT(d.arithmetic.name, StartsWith(program.name));
  EXPECT_THAT(FoundIn(d), IsEmpty());
  EXPECT_TRUE(d.explained());
  EXPECT_TRUE(d.arithmetic.agrees_with_run);
}

std::string NameOfProgram(const testing::TestParamInfo<Program>& info) {
  constexpr const char* kSeen[] = {"ops", "states", "logits", "end"};
  std::string name = absl::StrCat(info.param.plan, "_",
                                  kSeen[static_cast<size_t>(info.param.seen)]);
  for (char& c : name) {
    if (!isalnum(static_cast<unsigned char>(c))) c = '_';
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(
    Plans, ArithmeticTest,
    testing::Values(
        Program{"f32", Seen::kOps, "f32"}, Program{"f32", Seen::kLogits, "f32"},
        Program{"torch-bf16", Seen::kStates, "torch-bf16"},
        Program{"torch-bf16", Seen::kLogits, "torch-bf16"},
        Program{"torch-f16", Seen::kLogits, "torch-f16"},
        // A head in f32, the body in 16 bits.
        Program{"torch-bf16,lm_head=bf16_f32", Seen::kOps, "torch-bf16"},
        Program{"torch-bf16,lm_head=bf16_f32", Seen::kLogits, "torch-bf16"},
        Program{"torch-bf16,lm_head=bf16_f32", Seen::kEnd, "torch-bf16"},
        Program{"torch-f16,lm_head=f16_f32", Seen::kLogits, "torch-f16"},
        Program{"torch-bf16,residual=f32", Seen::kStates, "torch-bf16"},
        // Fused ops, all or some.
        Program{"torch-bf16,rmsnorm=bf16_late,rope=bf16_once,swiglu=bf16_late",
                Seen::kOps, "torch-bf16-fused"},
        Program{"torch-bf16,rmsnorm=bf16_late,rope=bf16_once,swiglu=bf16_late",
                Seen::kStates, "torch-bf16-fused"},
        Program{"torch-bf16,swiglu=bf16_late", Seen::kOps,
                "torch-bf16-fused-swiglu"},
        Program{"torch-f16,rope=f16_once", Seen::kOps, "torch-f16-fused-rope"},
        // Operands of products alone.
        Program{"matmul=f16_f32,qk=f32,av=f32", Seen::kOps, "f32-f16-operands"},
        Program{"matmul=bf16_f32,qk=f32,av=f32", Seen::kStates,
                "llama.cpp-cpu-bf16-operands-f32-cache"},
        Program{"matmul=tf32_fma,qk=f32,av=f32", Seen::kOps,
                "f32-tf32-operands"},
        Program{"kv=f16", Seen::kStates, "f32-f16-kv-cache"},
        Program{"torch-bf16,kv=int8", Seen::kOps, "torch-bf16-int8-kv-cache"}),
    NameOfProgram);

}  // namespace
}  // namespace ulpscope
