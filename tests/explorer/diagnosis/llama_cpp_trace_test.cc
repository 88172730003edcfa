// --mapping=llama.cpp on what llama.cpp itself has dumped.

#include <cstddef>
#include <map>
#include <set>
#include <string>

#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "explorer/diagnosis/results.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/op.h"
#include "model/trace/reference_trace.h"
#include "tests/explorer/diagnosis/diagnosed_model.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::testing::AnyOf;
using ::testing::Eq;
using ::testing::IsEmpty;
using ::testing::StartsWith;

class LlamaCppTraceTest : public testing::TestWithParam<const char*> {
 protected:
  std::string Path(const char* extension) const {
    return absl::StrCat("tests/testdata/llama_cpp/", GetParam(), extension);
  }
};

// Nothing is taken for what it is not: every op is what llama.cpp's arithmetic
// makes of the ones before.
TEST_P(LlamaCppTraceTest, EveryNodeIsWhatItsNameIsMappedTo) {
  const OpenedModel& model = Opened(Path(".gguf"));
  const auto trace = LoadReferenceTrace(Path(".safetensors"), "llama.cpp",
                                        model.checkpoint.config, {});
  ASSERT_THAT(trace, IsOk());
  EXPECT_THAT(trace->not_measured, IsEmpty());
  std::map<Op, std::set<size_t>> layers;
  for (const auto& [place, tensor] : trace->outputs) {
    layers[place.second].insert(place.first);
  }
  for (size_t i = 0; i < kNumOps; ++i) {
    const Op op = OpAt(i);
    // The product with o_proj has no name, and scores are padded.
    if (!IsPerLayer(op) || op == Op::kOProj || op == Op::kQk ||
        op == Op::kSoftmax || OpKernel(op) == Kernel::kKvCache) {
      continue;
    }
    const bool is_norm_of_heads = op == Op::kQNorm || op == Op::kKNorm;
    const bool has = !is_norm_of_heads || model.checkpoint.config.qk_norm;
    EXPECT_EQ(layers[op].size(), has ? 3u : 0u) << OpName(op);
  }
  DiagnosedWith options;
  options.explain_rounding = false;
  const Diagnosis d = DiagnosisOf(model, *trace, options);
  EXPECT_THAT(FoundIn(d), IsEmpty());
  EXPECT_FALSE(d.first_unexplained.has_value());
  EXPECT_FALSE(d.first_difference.has_value());
  EXPECT_THAT(d.arithmetic.name,
              AnyOf(StartsWith("llama.cpp-cpu"), Eq("f32-f16-kv-cache")));
}

INSTANTIATE_TEST_SUITE_P(All, LlamaCppTraceTest,
                         testing::Values("qwen2", "qwen3", "llama"),
                         [](const auto& c) { return c.param; });

}  // namespace
}  // namespace ulpscope
