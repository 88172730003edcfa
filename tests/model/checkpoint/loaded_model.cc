#include "tests/model/checkpoint/loaded_model.h"

#include <cstddef>
#include <map>
#include <string>
#include <utility>

#include "absl/status/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/parallel.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/weights.h"

namespace ulpscope {

using ::absl_testing::IsOk;

Weights LoadedWeights(const std::string& checkpoint, Parallel& parallel) {
  const auto opened = OpenCheckpoint(checkpoint);
  EXPECT_THAT(opened, IsOk());
  auto weights = LoadWeights(*opened, parallel, [](size_t, size_t) {});
  EXPECT_THAT(weights, IsOk());
  return *std::move(weights);
}

const Weights& LoadedOnce(const std::string& checkpoint) {
  static auto* const all = new std::map<std::string, Weights>();
  const auto found = all->find(checkpoint);
  if (found != all->end()) return found->second;
  Parallel parallel;
  return all->emplace(checkpoint, LoadedWeights(checkpoint, parallel))
      .first->second;
}

}  // namespace ulpscope
