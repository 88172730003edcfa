#include "tests/explorer/diagnosis/changed_trace.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "explorer/diagnosis/results.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/architecture/op.h"
#include "model/trace/reference_trace.h"
#include "tests/explorer/diagnosis/diagnosed_model.h"

namespace ulpscope {

using ::testing::IsEmpty;

void KeepStates(ReferenceTrace& trace, const std::vector<size_t>& indices) {
  trace.outputs.clear();
  trace.scores.clear();
  for (auto it = trace.states.begin(); it != trace.states.end();) {
    const bool kept =
        std::find(indices.begin(), indices.end(), it->first) != indices.end();
    it = kept ? std::next(it) : trace.states.erase(it);
  }
}

ReferenceTrace Shifted(const char* plan, int shift, bool normed) {
  ReferenceTrace trace =
      TraceOf("synthetic:tiny", plan, kTokens, TraceKind::kFolder, normed);
  std::map<size_t, TracedTensor> states;
  for (const auto& [index, tensor] : trace.states) {
    const int to = static_cast<int>(index) - shift;
    if (to < 0 || to > static_cast<int>(kLayers)) continue;
    states[static_cast<size_t>(to)] = tensor;
  }
  trace.states = states;
  trace.outputs.clear();
  return trace;
}

std::string FirstUnexplained(const Diagnosis& d) {
  if (!d.first_unexplained.has_value()) return "";
  const PointResult& point = d.points[*d.first_unexplained];
  return absl::StrCat(OpName(point.op), "@", point.layer);
}

void ExpectCorrect(const Diagnosis& d) {
  EXPECT_THAT(FoundIn(d), IsEmpty());
  EXPECT_EQ(FirstUnexplained(d), "");
  EXPECT_FALSE(d.first_difference.has_value());
  EXPECT_EQ(d.alignment.state_shift, 0);
  EXPECT_THAT(d.alignment.other_tokens, IsEmpty());
  EXPECT_EQ(d.stopped_in, "");
}

}  // namespace ulpscope
