// The diagnosis of traces of real engines (tests/testdata/engines): what they
// compute is named, and nothing is accused.
#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "explorer/diagnosis/diagnosis.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/parallel.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/weights.h"
#include "model/trace/reference_trace.h"
#include "tests/explorer/diagnosis/diagnosed_model.h"
#include "tests/explorer/error/test_monitor.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::testing::IsEmpty;

struct EngineTrace {
  const char* model;  // of the zoo
  const char* run;    // the rest of the file's name
  const char* arithmetic;
};

class EngineTracesTest : public testing::TestWithParam<EngineTrace> {};

TEST_P(EngineTracesTest, AreExplainedByTheirEngine) {
  const auto [model, run, arithmetic] = GetParam();
  Parallel parallel(2);
  const auto checkpoint =
      OpenCheckpoint(absl::StrCat("tests/testdata/zoo/", model));
  ASSERT_THAT(checkpoint, IsOk());
  const auto weights =
      LoadWeights(*checkpoint, parallel, [](size_t, size_t) {});
  ASSERT_THAT(weights, IsOk());
  const auto trace = LoadReferenceTrace(
      absl::StrCat("tests/testdata/engines/", model, "-", run, ".safetensors"),
      "", checkpoint->config, {});
  ASSERT_THAT(trace, IsOk());
  const auto d = Diagnose(RunOf(*weights, parallel), *checkpoint,
                          Plan(weights->layers.size()), *trace);
  ASSERT_THAT(d, IsOk());
  EXPECT_EQ(d->arithmetic.name, arithmetic);
  EXPECT_THAT(FoundIn(*d), IsEmpty());
  EXPECT_TRUE(d->explained());
  double elements = 0, identical = 0;
  for (const PointResult& point : d->points) {
    if (!point.identical.has_value()) continue;
    elements += static_cast<double>(point.elements);
    identical += *point.identical * static_cast<double>(point.elements);
  }
  EXPECT_GE(identical, 0.99 * elements);
}

std::string NameOfTrace(const testing::TestParamInfo<EngineTrace>& info) {
  return absl::StrReplaceAll(
      absl::StrCat(info.param.model, "_", info.param.run), {{"-", "_"}});
}

INSTANTIATE_TEST_SUITE_P(
    Torch, EngineTracesTest,
    testing::Values(EngineTrace{"qwen3", "bfloat16-sdpa-13", "torch-bf16-sdpa"},
                    EngineTrace{"qwen3", "bfloat16-sdpa-40", "torch-bf16-sdpa"},
                    EngineTrace{"qwen2", "bfloat16-sdpa-37", "torch-bf16-sdpa"},
                    EngineTrace{"qwen2", "float16-sdpa-17", "torch-f16-sdpa"},
                    EngineTrace{"qwen3", "float16-sdpa-40", "torch-f16-sdpa"}),
    NameOfTrace);

}  // namespace
}  // namespace ulpscope
