#include "model/trace/name_mapping.h"

#include <string>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/trace/built_in_mappings.h"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

// What the rules make of a name: its new ones, "" if it is dropped, or "as it
// is".
std::string Mapped(const std::string& rules, const std::string& name) {
  const auto mapping = NameMapping::Parse(rules, "names.txt");
  EXPECT_THAT(mapping, IsOk());
  const auto rule = mapping->Apply(name);
  return rule ? absl::StrJoin(rule->names, ", ") : "as it is";
}

NameRule::Kind KindOf(const std::string& rules, const std::string& name) {
  const auto mapping = NameMapping::Parse(rules, "names.txt");
  EXPECT_THAT(mapping, IsOk());
  return mapping->Apply(name).value().kind;
}

TEST(NameMappingTest, RenamesLiterally) {
  const std::string rules = "result_norm = model.norm\n";
  EXPECT_EQ(Mapped(rules, "result_norm"), "model.norm");
  EXPECT_EQ(Mapped(rules, "result_norm2"), "as it is");
  EXPECT_EQ(Mapped(rules, "a result_norm"), "as it is");
  EXPECT_EQ(Mapped("", "result_norm"), "as it is");
}

TEST(NameMappingTest, CarriesTheLayersNumber) {
  const std::string rules =
      "blk.{i}.attn_q = model.layers.{i}.self_attn.q_proj\n"
      "l_out-{i} = hidden_states.{i+1}\n"
      "after block {i} = model.layers.{i-1}\n";
  EXPECT_EQ(Mapped(rules, "blk.0.attn_q"), "model.layers.0.self_attn.q_proj");
  EXPECT_EQ(Mapped(rules, "blk.123.attn_q"),
            "model.layers.123.self_attn.q_proj");
  EXPECT_EQ(Mapped(rules, "l_out-9"), "hidden_states.10");
  EXPECT_EQ(Mapped(rules, "after block 10"), "model.layers.9");
  EXPECT_EQ(Mapped(rules, "after block 0"), "as it is");
  for (const char* name : {"blk..attn_q", "blk.x.attn_q", "blk.-1.attn_q",
                           "blk.+1.attn_q", "blk. 1.attn_q", "blk.1", "l_out-",
                           "l_out-1.5", "l_out-12345678901234567890"}) {
    EXPECT_EQ(Mapped(rules, name), "as it is") << name;
  }
}

// The text before and after the number must not overlap.
TEST(NameMappingTest, ANameMustBeLongEnough) {
  EXPECT_EQ(Mapped("aba{i}aba = hidden_states.{i}", "aba"), "as it is");
  EXPECT_EQ(Mapped("aba{i}aba = hidden_states.{i}", "ababa"), "as it is");
  EXPECT_EQ(Mapped("aba{i}aba = hidden_states.{i}", "aba1aba"),
            "hidden_states.1");
}

TEST(NameMappingTest, TheFirstRuleThatMatchesCounts) {
  const std::string rules =
      "out-0 = model.embed_tokens\n"
      "out-{i} = model.layers.{i-1}\n";
  EXPECT_EQ(Mapped(rules, "out-0"), "model.embed_tokens");
  EXPECT_EQ(Mapped(rules, "out-1"), "model.layers.0");
}

TEST(NameMappingTest, DropsNames) {
  const std::string rules =
      "norm-0 = norm\n"
      "norm-{i} = -\n"
      "norm = -  # before the weight\n";
  EXPECT_EQ(Mapped(rules, "norm-0"), "norm");
  EXPECT_EQ(Mapped(rules, "norm-1"), "");
  EXPECT_EQ(Mapped(rules, "norm"), "");
  EXPECT_EQ(Mapped(rules, "norm-"), "as it is");
}

TEST(NameMappingTest, TellsRulesApart) {
  const std::string rules =
      "a.{i} = ? model.layers.{i}\n"
      "b.{i} = + model.layers.{i}\n"
      "c.{i} = model.layers.{i}.mlp.gate_proj,model.layers.{i}.mlp.up_proj\n"
      "d = -\n"
      "e = model.norm\n"
      "f = model.layers.{n}.mlp.up_proj\n"
      "g = hidden_states.{n+1}\n";
  EXPECT_EQ(KindOf(rules, "a.3"), NameRule::Kind::kFallback);
  EXPECT_EQ(Mapped(rules, "a.3"), "model.layers.3");
  EXPECT_EQ(KindOf(rules, "b.3"), NameRule::Kind::kTerm);
  EXPECT_EQ(Mapped(rules, "b.3"), "model.layers.3");
  EXPECT_EQ(KindOf(rules, "c.3"), NameRule::Kind::kSplit);
  EXPECT_EQ(Mapped(rules, "c.3"),
            "model.layers.3.mlp.gate_proj, model.layers.3.mlp.up_proj");
  EXPECT_EQ(KindOf(rules, "d"), NameRule::Kind::kDrop);
  EXPECT_EQ(KindOf(rules, "e"), NameRule::Kind::kRename);
  const auto mapping = NameMapping::Parse(rules, "names.txt");
  ASSERT_THAT(mapping, IsOk());
  const auto f = mapping->Apply("f");
  ASSERT_TRUE(f.has_value());
  EXPECT_EQ(f->kind, NameRule::Kind::kUnstack);
  EXPECT_EQ(f->EntryName(0), "model.layers.0.mlp.up_proj");
  EXPECT_EQ(mapping->Apply("g")->EntryName(4), "hidden_states.5");
}

// Every name on the right side is known, or Parse would not have it.
TEST(NameMappingTest, MappingsThatAreBuiltIn) {
  EXPECT_THAT(NameMapping::Parse(FusedNames(), "fused"), IsOk());
  const auto mapping = NameMapping::Load("llama.cpp");
  ASSERT_THAT(mapping, IsOk());
  EXPECT_EQ(mapping->Apply("l_out-7")->names[0], "model.layers.7");
  EXPECT_EQ(mapping->Apply("norm")->kind, NameRule::Kind::kDrop);
  EXPECT_EQ(mapping->Apply("Qcur-0.3")->kind, NameRule::Kind::kFallback);
  EXPECT_FALSE(mapping->Apply("model.norm").has_value());
  EXPECT_TRUE(BuiltInMapping("another").empty());
}

TEST(NameMappingTest, SkipsCommentsAndSpace) {
  const std::string rules =
      "# names of another program\n"
      "\n"
      "  x\t=  model.norm   # the last one\r\n"
      "tokens=input_ids";
  EXPECT_EQ(Mapped(rules, "x"), "model.norm");
  EXPECT_EQ(Mapped(rules, "tokens"), "input_ids");
}

TEST(NameMappingTest, ErrorsNameTheLine) {
  const struct {
    const char* line;
    const char* expected;
    const char* found;
  } kCases[] = {
      {"x model.norm", "expected THEIR NAME = OUR NAME", "\"x model.norm\""},
      {"= model.norm", "expected THEIR NAME = OUR NAME", "\"= model.norm\""},
      {"x =", "expected THEIR NAME = OUR NAME", "\"x =\""},
      {"x.{j} = hidden_states.{i}", "expected {i}, {i+1} or {i-1}", "\"{j}\""},
      {"x.{i = hidden_states.{i}", "expected {i}, {i+1} or {i-1}", "\"{i\""},
      {"x.{i} = hidden_states.{i+2}", "expected {i}, {i+1} or {i-1}",
       "\"{i+2}\""},
      {"x.{i+1} = hidden_states.{i}", "expected {i} on the left side",
       "\"x.{i+1}\""},
      {"x.{i}.{i} = hidden_states.{i}", "expected one {i} in a name",
       "\"x.{i}.{i}\""},
      {"x.i} = hidden_states.1", "expected { before }", "\"x.i}\""},
      {"x = hidden_states.{i}", "expected {i} on both sides or on none",
       "\"x = hidden_states.{i}\""},
      {"x.{i} = model.norm", "expected {i} on both sides or on none",
       "\"x.{i} = model.norm\""},
      {"x.{i} = blk.{i}.y", "expected a name that is known on the right side",
       "\"blk.{i}.y\""},
      {"x = -{i}", "expected {i} on both sides or on none", "\"x = -{i}\""},
      {"x{i-1} = -", "expected {i} on the left side", "\"x{i-1}\""},
      {"x = hidden_states.{n+2}", "expected {i}, {i+1} or {i-1}, or {n}",
       "\"{n+2}\""},
      {"x.{n} = hidden_states.{n}", "expected {i} on the left side",
       "\"x.{n}\""},
      {"x.{i} = hidden_states.{n}", "expected {n} without {i}",
       "\"x.{i} = hidden_states.{n}\""},
      {"x = ?", "expected a name that is known", "\"\""},
      {"x = ~ model.norm", "expected q_proj, k_proj, q_rope or k_rope after ~",
       "\"model.norm\""},
      {"x = ~ + model.norm", "expected one of ? and +",
       "\"x = ~ + model.norm\""},
      {"x = ? + model.norm", "expected one of ? and +",
       "\"x = ? + model.norm\""},
      {"x = + model.norm, logits", "expected one name after ? or +",
       "\"x = + model.norm, logits\""},
      {"x = ? hidden_states.{n}", "expected one name with {n}",
       "\"x = ? hidden_states.{n}\""},
      {"x = model.norm, hidden_states.{n}", "expected one name with {n}",
       "\"x = model.norm, hidden_states.{n}\""},
      {"x = model.norm,", "expected a name that is known", "\"\""},
      {"x = model.norm, input_ids", "expected names of outputs",
       "\"input_ids\""},
      {"x{i} = + model.layers.{i}.self_attn.attention_scores",
       "expected names of outputs",
       "\"model.layers.{i}.self_attn.attention_scores\""},
      {"x = y = model.norm", "expected a name that is known on the right side",
       "\"y = model.norm\""},
  };
  for (const auto& c : kCases) {
    EXPECT_THAT(
        NameMapping::Parse(absl::StrCat("# first\na = model.norm\n", c.line),
                           "names.txt"),
        StatusIs(absl::StatusCode::kInvalidArgument,
                 AllOf(HasSubstr("names.txt:3: "), HasSubstr(c.expected),
                       HasSubstr(absl::StrCat("found ", c.found)))))
        << c.line;
  }
}

TEST(NameMappingTest, ReadsAFile) {
  const std::string path = WriteTestFile("names.txt", "x = model.norm\n");
  const auto mapping = NameMapping::Load(path);
  ASSERT_THAT(mapping, IsOk());
  EXPECT_EQ(mapping->Apply("x").value().names[0], "model.norm");
  EXPECT_THAT(NameMapping::Load(WriteTestFile("bad.txt", "x\n")),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("bad.txt:1: expected")));
  EXPECT_THAT(
      NameMapping::Load(WriteTestFile("big.txt", std::string(2 << 20, '\n'))),
      StatusIs(absl::StatusCode::kInvalidArgument,
               HasSubstr("expected at most 1048576 bytes, found more")));
}

}  // namespace
}  // namespace ulpscope
