#include "kernels/tune/tuning_search.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "gtest/gtest.h"
#include "kernels/measure/random.h"
#include "kernels/ops/tuning.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using Seconds = std::function<double(const MatMulTuning&)>;

// Times that are made up: the true ones, and noise as of a busy machine.
class FakeSubject : public TuningSubject {
 public:
  explicit FakeSubject(Seconds seconds, double noise = 0, uint64_t seed = 1)
      : seconds_(std::move(seconds)), noise_(noise), random_(seed) {}

  double Time(const MatMulTuning& tuning) override {
    ++calls[TuningText(tuning)];
    double seconds =
        seconds_(tuning) * std::exp(noise_ * random_.Gaussian()) * drift;
    // Now and then something else runs.
    if (noise_ > 0 && random_.Below(20) == 0) seconds *= 3;
    drift *= drift_per_call;
    clock_ += seconds;
    return seconds;
  }
  bool IsRight(const MatMulTuning& tuning) override {
    clock_ += seconds_(tuning);
    return !is_wrong(tuning);
  }
  double Clock() override { return clock_; }
  bool AreTheSame(const MatMulTuning& a, const MatMulTuning& b) override {
    return are_the_same(a, b);
  }
  bool Stopped() override { return stopped(); }

  std::function<bool(const MatMulTuning&)> is_wrong = [](const MatMulTuning&) {
    return false;
  };
  std::function<bool(const MatMulTuning&, const MatMulTuning&)> are_the_same =
      std::equal_to<MatMulTuning>();
  std::function<bool()> stopped = [] { return false; };
  std::map<std::string, size_t> calls;
  double drift = 1;
  double drift_per_call = 1;

 private:
  Seconds seconds_;
  double noise_;
  Random random_;
  double clock_ = 0;
};

const std::vector<TuningChoices>& Choices() {
  static const auto* const choices = new std::vector<TuningChoices>{
      {&MatMulTuning::block_steps, {128, 256, 512, 1024}},
      {&MatMulTuning::group_panels, {1, 2, 4, 8}},
      {&MatMulTuning::tile_rows, {4, 8}},
      {&MatMulTuning::threads, {1}},
  };
  return *choices;
}

constexpr double kForever = 1e30;

// Fastest with 512 steps and 2 panels; alone, each of them helps too.
double Valley(const MatMulTuning& t) {
  double seconds = 1e-3;
  seconds *= t.block_steps == 512 ? 0.85 : t.block_steps == 0 ? 1 : 1.1;
  seconds *= t.group_panels == 2 ? 0.9 : t.group_panels == 0 ? 1 : 1.2;
  seconds *= t.tile_rows == 0 ? 1 : 1.3;
  return seconds * (t.threads == 0 ? 1 : 1.9);
}

// 5 % of noise: a median of 9 such ratios has a standard error of 3 %, and of
// 21 one of 2 %.
constexpr double kNoise = 0.05;

TEST(TuningSearchTest, PlantedBestIsFound) {
  for (const double noise : {0.0, 0.005, 0.02}) {
    for (uint64_t seed = 0; seed < 20; ++seed) {
      FakeSubject subject(Valley, noise, seed);
      const auto result = SearchTuning(subject, Choices(), kForever);
      ASSERT_THAT(result, IsOk());
      EXPECT_EQ(TuningText(result->best), "block_steps=512 group_panels=2")
          << noise << " " << seed;
      EXPECT_TRUE(result->complete);
      EXPECT_EQ(result->candidates, 12);
      EXPECT_EQ(result->wrong, 0);
      // Medians of many, within 5 standard deviations of a single time.
      EXPECT_NEAR(result->default_seconds, 1e-3, 5 * noise * 1e-3 + 1e-12);
      EXPECT_NEAR(result->best_seconds, 0.765e-3, 5 * noise * 1e-3 + 1e-12);
      // One thread, added to what was best by then. It is soon dropped: of
      // three rounds, two may be wild.
      EXPECT_GE(result->worst_seconds, (1.9 - 10 * noise) * 0.765e-3 - 1e-12);
      if (noise == 0) {
        EXPECT_NEAR(result->worst_seconds, 1.9 * 0.765e-3, 1e-12);
      }
    }
  }
}

// What another tuning comes to as well is timed once.
TEST(TuningSearchTest, TheSameWorkIsNotTimedAgain) {
  FakeSubject subject(Valley);
  // As where a kernel has no more than 512 steps and tiles of 4 rows.
  subject.are_the_same = [](MatMulTuning a, MatMulTuning b) {
    for (MatMulTuning* tuning : {&a, &b}) {
      tuning->block_steps = std::min<uint32_t>(tuning->block_steps, 512);
      tuning->tile_rows = 0;
    }
    return a == b;
  };
  const auto result = SearchTuning(subject, Choices(), kForever);
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(TuningText(result->best), "block_steps=512 group_panels=2");
  // Of 12: not 1024 steps, nor any tile rows.
  EXPECT_EQ(result->candidates, 9);
  for (const auto& [tuning, calls] : subject.calls) {
    EXPECT_EQ(tuning.find("tile_rows"), std::string::npos) << tuning;
    EXPECT_EQ(tuning.find("1024"), std::string::npos) << tuning;
  }
}

TEST(TuningSearchTest, StopEndsItBeforeTheNextCall) {
  FakeSubject subject(Valley);
  size_t calls = 0;
  subject.stopped = [&calls] { return ++calls > 10; };
  EXPECT_THAT(SearchTuning(subject, Choices(), kForever),
              StatusIs(absl::StatusCode::kCancelled));
  size_t timed = 0;
  for (const auto& [tuning, count] : subject.calls) timed += count;
  EXPECT_LE(timed, 10u);
  EXPECT_GT(timed, 0u);
}

TEST(TuningSearchTest, DefaultStaysWhereAllAreAlike) {
  size_t others = 0;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    FakeSubject subject([](const MatMulTuning&) { return 1e-3; }, kNoise, seed);
    const auto result = SearchTuning(subject, Choices(), kForever);
    ASSERT_THAT(result, IsOk());
    if (!(result->best == MatMulTuning())) ++others;
    EXPECT_LE(result->best_seconds, result->default_seconds);
  }
  // 3 standard errors below by chance, twice over.
  EXPECT_LE(others, 2);
}

TEST(TuningSearchTest, DefaultStaysWhereAllElseIsSlower) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    FakeSubject subject(
        [](const MatMulTuning& t) { return t == MatMulTuning() ? 1 : 1.03; },
        kNoise, seed);
    const auto result = SearchTuning(subject, Choices(), kForever);
    ASSERT_THAT(result, IsOk());
    EXPECT_EQ(TuningText(result->best), "default") << seed;
    EXPECT_EQ(result->best_seconds, result->default_seconds);
    EXPECT_GE(result->worst_seconds, result->default_seconds);
  }
}

// Of any landscape: what is chosen is truly no slower than the default.
TEST(TuningSearchTest, ResultIsNeverSlowerThanTheDefault) {
  size_t faster = 0;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    const auto seconds = [seed](const MatMulTuning& t) {
      double product = 1;
      for (const TuningParameter& parameter : TuningParameters()) {
        const uint32_t value = t.*parameter.field;
        if (value == 0) continue;
        Random random(seed * 1000 + value + 7 * (parameter.name[0] & 31));
        product *= random.Uniform(0.8, 1.3);
      }
      return product;
    };
    FakeSubject subject(seconds, kNoise, seed);
    const auto result = SearchTuning(subject, Choices(), kForever);
    ASSERT_THAT(result, IsOk());
    EXPECT_LE(seconds(result->best), 1) << seed;
    EXPECT_LE(result->best_seconds, result->default_seconds);
    if (seconds(result->best) < 0.95) ++faster;
  }
  // It does find something: each landscape has 11 values, and 0.8 to 1 is two
  // fifths of the range.
  EXPECT_GT(faster, 200);
}

TEST(TuningSearchTest, WrongResultsDoNotCountHoweverFast) {
  FakeSubject subject([](const MatMulTuning& t) {
    return t.group_panels == 4 ? 0.1 : t.group_panels == 8 ? 0.8 : 1;
  });
  subject.is_wrong = [](const MatMulTuning& t) { return t.group_panels == 4; };
  const auto result = SearchTuning(subject, Choices(), kForever);
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(TuningText(result->best), "group_panels=8");
  EXPECT_EQ(result->wrong, 1);
  EXPECT_EQ(subject.calls.count("group_panels=4"), 0);  // not even timed
}

TEST(TuningSearchTest, WrongDefaultIsAnError) {
  FakeSubject subject(Valley);
  subject.is_wrong = [](const MatMulTuning& t) { return t == MatMulTuning(); };
  EXPECT_THAT(SearchTuning(subject, Choices(), kForever),
              StatusIs(absl::StatusCode::kFailedPrecondition));
}

// What was fast only while it was compared with others is not kept.
TEST(TuningSearchTest, LuckIsFoundOutInFreshRounds) {
  size_t calls = 0;
  FakeSubject subject([&calls](const MatMulTuning& t) {
    if (t.block_steps != 256) return 1.0;
    return ++calls <= 10 ? 0.5 : 1.0;  // a check, and nine rounds
  });
  const auto result = SearchTuning(
      subject, {{&MatMulTuning::block_steps, {128, 256}}}, kForever);
  ASSERT_THAT(result, IsOk());
  EXPECT_GT(calls, 10);
  EXPECT_EQ(TuningText(result->best), "default");
}

// A machine that slows down by 1 % per call makes 50 % of a round of ten calls.
TEST(TuningSearchTest, DriftFavoursNobody) {
  FakeSubject alike([](const MatMulTuning&) { return 1; });
  alike.drift_per_call = 1.01;
  auto result = SearchTuning(alike, Choices(), kForever);
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(TuningText(result->best), "default");
  FakeSubject valley(Valley);
  valley.drift_per_call = 1.01;
  result = SearchTuning(valley, Choices(), kForever);
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(TuningText(result->best), "block_steps=512 group_panels=2");
}

TEST(TuningSearchTest, HopelessCandidatesAreDroppedEarly) {
  FakeSubject subject(Valley);
  ASSERT_THAT(SearchTuning(subject, Choices(), kForever), IsOk());
  EXPECT_EQ(subject.calls["block_steps=512"], 9 + 9);  // two parameters' rounds
  EXPECT_EQ(subject.calls["block_steps=128"], 3);
  EXPECT_EQ(subject.calls["block_steps=512 group_panels=2 threads=1"], 3);
}

// Where it cannot be told in the rounds that all get, there are more.
TEST(TuningSearchTest, SmallGainsAreFoundInMoreRounds) {
  size_t found = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    FakeSubject subject(
        [](const MatMulTuning& t) { return t.group_panels == 2 ? 0.95 : 1; },
        0.03, seed);
    const auto result = SearchTuning(subject, Choices(), kForever);
    ASSERT_THAT(result, IsOk());
    if (TuningText(result->best) == "group_panels=2") ++found;
  }
  EXPECT_GE(found, 10);
}

TEST(TuningSearchTest, NoParameterIsBegunAfterTheTimeIsOver) {
  FakeSubject subject(Valley);
  const auto result = SearchTuning(subject, Choices(), 0);
  ASSERT_THAT(result, IsOk());
  EXPECT_FALSE(result->complete);
  EXPECT_EQ(result->candidates, 5);  // of the first
  EXPECT_EQ(TuningText(result->best), "block_steps=512");
}

TEST(TuningSearchTest, NothingToChooseGivesTheDefault) {
  FakeSubject subject(Valley);
  const auto result =
      SearchTuning(subject, {{&MatMulTuning::threads, {}}}, kForever);
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(TuningText(result->best), "default");
  EXPECT_EQ(result->candidates, 1);
  EXPECT_EQ(result->default_seconds, 1e-3);
  EXPECT_EQ(result->best_seconds, 1e-3);
  EXPECT_EQ(result->worst_seconds, 1e-3);
}

TEST(TuningSearchTest, FasterIsBeyondNoiseAndAPercent) {
  EXPECT_TRUE(IsFaster({0.9, 0.9, 0.9}));
  EXPECT_FALSE(IsFaster({1.1, 1.1, 1.1}));
  EXPECT_FALSE(IsFaster({0.995, 0.995, 0.995}));
  EXPECT_TRUE(IsFaster({0.985, 0.985, 0.985}));
  // One wild round of nine changes nothing.
  EXPECT_TRUE(IsFaster({0.9, 0.9, 0.9, 0.9, 7, 0.9, 0.9, 0.9, 0.9}));
  EXPECT_FALSE(IsFaster({1, 1, 1, 1, 0.1, 1, 1, 1, 1}));
  // A deviation of 0.1: the error of a median of 9 is 0.062.
  EXPECT_FALSE(IsFaster({0.8, 0.8, 0.8, 0.8, 0.9, 1.0, 1.0, 1.0, 1.0}));
  EXPECT_TRUE(IsFaster({0.7, 0.7, 0.7, 0.7, 0.8, 0.9, 0.9, 0.9, 0.9}));
}

}  // namespace
}  // namespace ulpscope
