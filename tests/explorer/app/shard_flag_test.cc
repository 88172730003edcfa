#include "explorer/app/shard_flag.h"

#include <cstddef>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "explorer/sweep/shard.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ulpscope {
namespace {

using ::testing::HasSubstr;

using Environment = std::map<std::string, std::string>;

// Of --shard=auto/8.
absl::StatusOr<Shard> ShardIn(const Environment& environment,
                              const std::string& text = "auto/8") {
  ShardFlag flag;
  EXPECT_TRUE(ReadShardFlag(text, flag)) << text;
  return ShardOf(flag, [&](const char* name) {
    const auto found = environment.find(name);
    return found == environment.end() ? nullptr : found->second.c_str();
  });
}

// The index, or -1.
int IndexIn(const Environment& environment) {
  const auto shard = ShardIn(environment);
  if (!shard.ok()) return -1;
  EXPECT_EQ(shard->count, 8u);
  return static_cast<int>(shard->index);
}

std::string ErrorIn(const Environment& environment) {
  const auto shard = ShardIn(environment);
  EXPECT_FALSE(shard.ok()) << shard->index;
  EXPECT_TRUE(absl::IsInvalidArgument(shard.status()));
  return shard.ok() ? "" : std::string(shard.status().message());
}

TEST(ShardFlagTest, ReadsIndexAndCount) {
  ShardFlag flag;
  ASSERT_TRUE(ReadShardFlag("3/8", flag));
  EXPECT_EQ(flag.count, 8u);
  EXPECT_EQ(flag.index, 3u);
  ASSERT_TRUE(ReadShardFlag("auto/1000", flag));
  EXPECT_EQ(flag.count, 1000u);
  EXPECT_FALSE(flag.index.has_value());
  ASSERT_TRUE(ReadShardFlag("", flag));
  EXPECT_EQ(flag.count, 0u);
  for (const char* bad : {"8/8",
                          "-1/8",
                          "+1/8",
                          "0/0",
                          "1",
                          "/8",
                          "1/",
                          "1/8/2",
                          "1/ 8",
                          "a/8",
                          "auto",
                          "auto/",
                          "auto/0",
                          "auto/-1",
                          "Auto/8",
                          "0x1/8",
                          "1.5/8",
                          "0/1048577",
                          "99999999999999999999999/8",
                          "1/99999999999999999999999"}) {
    EXPECT_FALSE(ReadShardFlag(bad, flag)) << bad;
  }
}

TEST(ShardFlagTest, NumberThatIsGivenNeedsNoEnvironment) {
  const auto shard =
      ShardIn({{"SLURM_ARRAY_TASK_ID", "5"}, {"PMI_RANK", "x"}}, "3/8");
  ASSERT_TRUE(shard.ok()) << shard.status();
  EXPECT_EQ(shard->index, 3u);
}

TEST(ShardFlagTest, EveryLaunchersVariableIsTaken) {
  ASSERT_EQ(TaskVariables().size(), 6u);
  for (const char* name :
       {"SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX", "OMPI_COMM_WORLD_RANK",
        "PMI_RANK", "FLUX_TASK_RANK", "SLURM_PROCID"}) {
    EXPECT_EQ(IndexIn({{name, "5"}}), 5) << name;
    EXPECT_EQ(IndexIn({{name, "0"}}), 0) << name;
    for (const char* garbage :
         {"8", "-1", "x", "1x", " 1", "1.0", "0x1", "18446744073709551616"}) {
      const std::string error = ErrorIn({{name, garbage}});
      EXPECT_THAT(error, HasSubstr(name));
      EXPECT_THAT(error, HasSubstr("from 0 to 7"));
      EXPECT_THAT(error, HasSubstr(absl::StrCat("found ", garbage)));
    }
  }
}

TEST(ShardFlagTest, WithoutAnyAllAreNamed) {
  for (const Environment& none :
       {Environment{}, Environment{{"SLURM_ARRAY_TASK_ID", ""}},
        // Not enough: they say how many there are, and not always rightly.
        Environment{{"SLURM_ARRAY_TASK_COUNT", "8"},
                    {"SLURM_ARRAY_TASK_MIN", "0"},
                    {"SLURM_NTASKS", "8"}}}) {
    const std::string error = ErrorIn(none);
    EXPECT_THAT(error, HasSubstr("--shard=auto/8"));
    for (const char* const name : TaskVariables()) {
      EXPECT_THAT(error, HasSubstr(name));
    }
  }
}

TEST(ShardFlagTest, FirstOfSeveralCounts) {
  // A task of an array, whose batch script is process 0.
  EXPECT_EQ(IndexIn({{"SLURM_ARRAY_TASK_ID", "5"}, {"SLURM_PROCID", "0"}}), 5);
  // mpirun, and Flux, in a batch script: all inherit its SLURM_PROCID.
  EXPECT_EQ(IndexIn({{"OMPI_COMM_WORLD_RANK", "6"}, {"SLURM_PROCID", "0"}}), 6);
  EXPECT_EQ(IndexIn({{"PMI_RANK", "6"}, {"SLURM_PROCID", "0"}}), 6);
  EXPECT_EQ(IndexIn({{"FLUX_TASK_RANK", "6"}, {"SLURM_PROCID", "0"}}), 6);
  EXPECT_EQ(IndexIn({{"JOB_COMPLETION_INDEX", "3"}, {"PMI_RANK", "1"}}), 3);
  // One that makes no sense is not passed over.
  ErrorIn({{"SLURM_ARRAY_TASK_ID", "x"}, {"SLURM_PROCID", "0"}});
  ErrorIn({{"SLURM_ARRAY_TASK_ID", "9"}, {"SLURM_PROCID", "0"}});
  // One that is empty is not set.
  EXPECT_EQ(IndexIn({{"SLURM_ARRAY_TASK_ID", ""}, {"SLURM_PROCID", "2"}}), 2);
}

// What Slurm says of an array of which FIRST-LAST was submitted.
Environment ArrayTask(int task, int first, int last) {
  return {{"SLURM_ARRAY_TASK_ID", absl::StrCat(task)},
          {"SLURM_ARRAY_TASK_MIN", absl::StrCat(first)},
          {"SLURM_ARRAY_TASK_MAX", absl::StrCat(last)},
          {"SLURM_ARRAY_TASK_COUNT", absl::StrCat(last - first + 1)}};
}

TEST(ShardFlagTest, PartOfAnArrayThatIsSubmittedAgainHasItsIndices) {
  for (int task = 0; task < 8; ++task) {
    EXPECT_EQ(IndexIn(ArrayTask(task, 0, 7)), task);
    EXPECT_EQ(IndexIn(ArrayTask(task, task, task)), task);
    EXPECT_EQ(IndexIn(ArrayTask(task, task, 7)), task);
  }
}

TEST(ShardFlagTest, ArrayThatStartsElsewhereIsRefusedByEveryTask) {
  for (int task = 1; task <= 8; ++task) {
    const std::string error = ErrorIn(ArrayTask(task, 1, 8));
    EXPECT_THAT(error, HasSubstr("of an array 1-8: let it be 0-7"));
    EXPECT_THAT(error, HasSubstr("--shard=$((SLURM_ARRAY_TASK_ID - 1))/8"));
  }
  ErrorIn(ArrayTask(100, 100, 107));
}

}  // namespace
}  // namespace ulpscope
