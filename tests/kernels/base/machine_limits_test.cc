#include "kernels/base/machine_limits.h"

#include <sched.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/string_view.h"
#include "gtest/gtest.h"

namespace ulpscope {
namespace {

constexpr size_t kGiB = size_t{1} << 30;

constexpr char kVersion2[] =
    "24 30 0:22 / /proc rw,nosuid - proc proc rw\n"
    "31 30 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n";
constexpr char kVersion1[] =
    "33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup "
    "rw,cpu,cpuacct\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup "
    "rw,memory\n";

// A tree of files that stands for /proc and /sys.
class MachineLimitsTest : public testing::Test {
 protected:
  MachineLimitsTest()
      : root_(testing::TempDir() + "machine_limits_" +
              testing::UnitTest::GetInstance()->current_test_info()->name()) {
    std::filesystem::remove_all(root_);
  }
  ~MachineLimitsTest() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& path, absl::string_view text) const {
    const std::filesystem::path file = root_ + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }

  CgroupLimits Limits() const { return ReadCgroupLimits(root_); }

  const std::string root_;
};

TEST_F(MachineLimitsTest, WithoutFilesThereIsNoLimit) {
  EXPECT_EQ(Limits().memory, SIZE_MAX);
  EXPECT_EQ(Limits().cpus, SIZE_MAX);
  EXPECT_GE(AvailableMemory(root_), size_t{1} << 20);
  EXPECT_GE(AvailableCpus(root_), 1u);
}

TEST_F(MachineLimitsTest, Version2LimitsMemoryAndCpus) {
  Write("/proc/self/cgroup", "0::/\n");
  Write("/proc/self/mountinfo", kVersion2);
  Write("/sys/fs/cgroup/memory.max", "1073741824\n");
  Write("/sys/fs/cgroup/cpu.max", "150000 100000\n");
  EXPECT_EQ(Limits().memory, kGiB);
  EXPECT_EQ(Limits().cpus, 2u);  // 1.5, rounded up
  EXPECT_EQ(AvailableMemory(root_), kGiB);
  Write("/sys/fs/cgroup/cpu.max", "5000 100000\n");
  EXPECT_EQ(AvailableCpus(root_), 1u);
}

TEST_F(MachineLimitsTest, Version1LimitsMemoryAndCpus) {
  Write("/proc/self/cgroup", "5:cpu,cpuacct:/job\n4:memory:/a/job\n0::/x\n");
  Write("/proc/self/mountinfo", kVersion1);
  Write("/sys/fs/cgroup/memory/a/job/memory.limit_in_bytes", "1073741824\n");
  Write("/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "300000\n");
  Write("/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(Limits().memory, kGiB);
  EXPECT_EQ(Limits().cpus, 3u);
}

TEST_F(MachineLimitsTest, Version1WritesNoLimitAsAHugeNumberOrMinusOne) {
  Write("/proc/self/cgroup", "5:cpu,cpuacct:/\n4:memory:/\n");
  Write("/proc/self/mountinfo", kVersion1);
  Write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  Write("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  Write("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(AvailableMemory(root_), AvailableMemory(root_ + "/none"));
  EXPECT_EQ(Limits().cpus, SIZE_MAX);
}

TEST_F(MachineLimitsTest, TheLeastOfAGroupAndOfThoseAroundItHolds) {
  Write("/proc/self/cgroup", "0::/slice/pod/container\n");
  Write("/proc/self/mountinfo", kVersion2);
  Write("/sys/fs/cgroup/slice/pod/container/memory.max", "4294967296\n");
  Write("/sys/fs/cgroup/slice/pod/container/cpu.max", "max 100000\n");
  Write("/sys/fs/cgroup/slice/pod/memory.max", "1073741824\n");
  Write("/sys/fs/cgroup/slice/pod/cpu.max", "400000 100000\n");
  Write("/sys/fs/cgroup/slice/memory.max", "max\n");
  Write("/sys/fs/cgroup/slice/cpu.max", "200000 100000\n");
  EXPECT_EQ(Limits().memory, kGiB);
  EXPECT_EQ(Limits().cpus, 2u);
  // A sibling's limit is not ours.
  Write("/sys/fs/cgroup/slice/other/memory.max", "4096\n");
  EXPECT_EQ(Limits().memory, kGiB);
}

TEST_F(MachineLimitsTest, AMountMayBeginBelowTheRootOfTheGroups) {
  Write("/proc/self/mountinfo",
        "31 30 0:27 /docker/1f /sys/fs/cgroup/memory rw - cgroup cgroup "
        "rw,memory\n");
  Write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "2147483648\n");
  Write("/sys/fs/cgroup/memory/in/memory.limit_in_bytes", "1073741824\n");
  Write("/proc/self/cgroup", "4:memory:/docker/1f\n");
  EXPECT_EQ(Limits().memory, 2 * kGiB);
  Write("/proc/self/cgroup", "4:memory:/docker/1f/in\n");
  EXPECT_EQ(Limits().memory, kGiB);
  // A namespace may show the group above what the mount shows.
  Write("/proc/self/cgroup", "4:memory:/../..\n");
  EXPECT_EQ(Limits().memory, 2 * kGiB);
}

TEST_F(MachineLimitsTest, GarbageLimitsNothing) {
  for (const char* garbage :
       {"", "\n", "max", "0", "-1", "1e9", "12 monkeys", "\xff\xfe", "0x10",
        "99999999999999999999999999", "max max", " ", "1 2 3"}) {
    Write("/proc/self/cgroup", "0::/a\n");
    Write("/proc/self/mountinfo", kVersion2);
    Write("/sys/fs/cgroup/a/memory.max", garbage);
    Write("/sys/fs/cgroup/a/cpu.max", garbage);
    EXPECT_EQ(Limits().memory, SIZE_MAX) << garbage;
    EXPECT_EQ(Limits().cpus, SIZE_MAX) << garbage;
    Write("/sys/fs/cgroup/a/memory.max", "4096");
    EXPECT_EQ(Limits().memory, 4096u);
    Write("/proc/self/cgroup", garbage);
    EXPECT_EQ(Limits().memory, SIZE_MAX) << garbage;
    Write("/proc/self/cgroup", "0::/a\n");
    Write("/proc/self/mountinfo", garbage);
    EXPECT_EQ(Limits().memory, SIZE_MAX) << garbage;
  }
}

TEST(AvailableCpusTest, AreThoseOfTheAffinity) {
  cpu_set_t all;
  if (sched_getaffinity(0, sizeof(all), &all) != 0) GTEST_SKIP();
  cpu_set_t one;
  CPU_ZERO(&one);
  for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++cpu) {
    if (CPU_ISSET(cpu, &all)) CPU_SET(cpu, &one);
  }
  if (sched_setaffinity(0, sizeof(one), &one) != 0) GTEST_SKIP();
  EXPECT_EQ(AvailableCpus(), 1u);
  EXPECT_EQ(sched_setaffinity(0, sizeof(all), &all), 0);
  EXPECT_LE(AvailableCpus(), static_cast<size_t>(CPU_COUNT(&all)));
}

}  // namespace
}  // namespace ulpscope
