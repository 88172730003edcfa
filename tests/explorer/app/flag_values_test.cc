#include "explorer/app/flag_values.h"

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/machine_limits.h"
#include "model/architecture/config.h"

namespace ulpscope {
namespace {

using absl_testing::StatusIs;
using testing::HasSubstr;

constexpr size_t kGiB = size_t{1} << 30;

TEST(ReadMemoryTest, AShareIsOfWhatAContainerMayUse) {
  const std::string root = testing::TempDir() + "container_of_1_gib";
  std::filesystem::create_directories(root + "/proc/self");
  std::filesystem::create_directories(root + "/sys/fs/cgroup");
  std::ofstream(root + "/proc/self/cgroup") << "0::/\n";
  std::ofstream(root + "/proc/self/mountinfo")
      << "31 30 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
  std::ofstream(root + "/sys/fs/cgroup/memory.max") << kGiB << "\n";
  const size_t available = AvailableMemory(root);
  size_t bytes = 0;
  EXPECT_TRUE(ReadMemory("50%", available, bytes));
  EXPECT_EQ(bytes, kGiB / 2);
  EXPECT_TRUE(ReadMemory("100%", available, bytes));
  EXPECT_EQ(bytes, kGiB);
  EXPECT_TRUE(ReadMemory("1.5G", available, bytes));
  EXPECT_EQ(bytes, kGiB / 2 * 3);
  std::filesystem::remove_all(root);
}

TEST(CheckMemoryTest, TokensMustFitIntoWhatIsAvailable) {
  ModelConfig config;
  config.num_hidden_layers = 2;
  config.num_key_value_heads = 4;
  config.head_dim = 8;
  config.vocab_size = 100;
  // A key and a value of f32 in each layer, and two rows of logits in f64.
  const size_t token = 2 * 4 * 8 * 8 + 2 * 100 * 8;
  EXPECT_THAT(CheckMemory(config, 10, true, 10 * token), absl_testing::IsOk());
  EXPECT_THAT(CheckMemory(config, 10, true, 10 * token - 1),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("this process may use")));
}

}  // namespace
}  // namespace ulpscope
