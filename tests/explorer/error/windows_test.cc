#include "explorer/error/windows.h"

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace ulpscope {
namespace {

Prompt PromptOf(const std::string& name, size_t size) {
  Prompt prompt = {name, std::vector<int32_t>(size)};
  std::iota(prompt.tokens.begin(), prompt.tokens.end(), 0);
  return prompt;
}

struct Cut {
  size_t begin, end, first_scored, end_scored;

  friend bool operator==(const Cut& a, const Cut& b) {
    return a.begin == b.begin && a.end == b.end &&
           a.first_scored == b.first_scored && a.end_scored == b.end_scored;
  }
};

std::vector<Cut> Cuts(const std::vector<Window>& windows) {
  std::vector<Cut> cuts;
  for (const Window& w : windows) {
    // Tokens are their places.
    EXPECT_EQ(w.tokens.front(), static_cast<int32_t>(w.begin));
    cuts.push_back(
        {w.begin, w.begin + w.tokens.size(), w.first_scored, w.end_scored});
  }
  return cuts;
}

TEST(WindowsOfTest, WholePromptsWithoutAWindow) {
  EXPECT_EQ(Cuts(WindowsOf({PromptOf("a", 5), PromptOf("b", 1)}, {})),
            (std::vector<Cut>{{0, 5, 0, 5}, {0, 1, 0, 1}}));
}

TEST(WindowsOfTest, WithoutOverlapEachScoresItsOwn) {
  EXPECT_EQ(Cuts(WindowsOf({PromptOf("a", 10)}, {4, 0, 0})),
            (std::vector<Cut>{{0, 4, 0, 4}, {4, 8, 0, 4}, {8, 10, 0, 2}}));
  // Nothing comes after a last token alone.
  EXPECT_EQ(Cuts(WindowsOf({PromptOf("a", 9)}, {4, 0, 0})),
            (std::vector<Cut>{{0, 4, 0, 4}, {4, 8, 0, 4}}));
  EXPECT_EQ(Cuts(WindowsOf({PromptOf("a", 4)}, {4, 0, 0})),
            (std::vector<Cut>{{0, 4, 0, 4}}));
}

// As transformers' recipe: labels of the tokens that an earlier window had are
// -100, and the one before a label predicts it.
TEST(WindowsOfTest, OverlapsAreContext) {
  const std::vector<Window> windows = WindowsOf({PromptOf("a", 11)}, {6, 2, 0});
  EXPECT_EQ(Cuts(windows),
            (std::vector<Cut>{
                {0, 6, 0, 5}, {2, 8, 3, 5}, {4, 10, 3, 5}, {6, 11, 3, 5}}));
  // Every token but the first is predicted once.
  std::vector<int> predicted(11, 0);
  for (const Window& w : windows) {
    for (size_t p = w.first_scored; p < w.end_scored; ++p) {
      if (p + 1 < w.tokens.size()) ++predicted[w.begin + p + 1];
    }
  }
  predicted[0] = 1;
  EXPECT_EQ(predicted, std::vector<int>(11, 1));
}

TEST(WindowsOfTest, NoMoreThanAreAskedFor) {
  const std::vector<Window> windows =
      WindowsOf({PromptOf("a", 8), PromptOf("b", 8)}, {4, 0, 3});
  ASSERT_EQ(windows.size(), 3u);
  EXPECT_EQ(windows[1].prompt, "a");
  EXPECT_EQ(windows[2].prompt, "b");
}

}  // namespace
}  // namespace ulpscope
