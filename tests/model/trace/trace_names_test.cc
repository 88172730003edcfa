#include "model/trace/trace_names.h"

#include <cstddef>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/architecture/op.h"

namespace ulpscope {
namespace {

using ::testing::ElementsAre;

TEST(TraceNamesTest, EveryOutputsNameReadsBack) {
  std::set<std::string> all;
  for (size_t i = 0; i < kNumOps; ++i) {
    const Op op = OpAt(i);
    for (const size_t layer : {size_t{1}, size_t{28}}) {
      const size_t at = IsPerLayer(op) ? layer : 0;
      const std::vector<std::string> names = TraceNamesOf(at, op);
      EXPECT_EQ(names.size(), op == Op::kRope ? 2u : 1u) << OpName(op);
      for (size_t part = 0; part < names.size(); ++part) {
        all.insert(names[part]);
        const std::optional<TraceName> parsed = ParseTraceName(names[part]);
        ASSERT_TRUE(parsed) << names[part];
        EXPECT_EQ(parsed->kind, TraceName::Kind::kOutput);
        EXPECT_EQ(parsed->layer, at);
        EXPECT_EQ(parsed->op, op);
        EXPECT_EQ(parsed->is_k, part == 1);
        EXPECT_EQ(TraceNameText(*parsed), names[part]);
      }
    }
  }
  EXPECT_EQ(all.size(), (kNumOps - 3 + 1) * 2 + 3);
}

// Spelled out, since others write them.
TEST(TraceNamesTest, TheyAreThoseOfTransformersModules) {
  EXPECT_THAT(TraceNamesOf(0, Op::kEmbed), ElementsAre("model.embed_tokens"));
  EXPECT_THAT(TraceNamesOf(0, Op::kFinalNorm), ElementsAre("model.norm"));
  EXPECT_THAT(TraceNamesOf(0, Op::kLmHead), ElementsAre("logits"));
  EXPECT_THAT(TraceNamesOf(4, Op::kMlpResidual), ElementsAre("model.layers.3"));
  EXPECT_THAT(TraceNamesOf(1, Op::kRope),
              ElementsAre("model.layers.0.self_attn.q_rope",
                          "model.layers.0.self_attn.k_rope"));
  // Of ours alone.
  EXPECT_THAT(TraceNamesOf(2, Op::kKvK),
              ElementsAre("model.layers.1.self_attn.kv_k"));
  EXPECT_THAT(TraceNamesOf(2, Op::kKvV),
              ElementsAre("model.layers.1.self_attn.kv_v"));
  EXPECT_THAT(TraceNamesOf(12, Op::kAv),
              ElementsAre("model.layers.11.self_attn.o_proj.input"));
  EXPECT_THAT(TraceNamesOf(1, Op::kAttnResidual),
              ElementsAre("model.layers.0.post_attention_layernorm.input"));
  EXPECT_EQ(StateName(3), "hidden_states.3");
}

TEST(TraceNamesTest, OtherSpellingsAreUnderstood) {
  const auto canonical = [](const char* name) {
    const std::optional<TraceName> parsed = ParseTraceName(name);
    return parsed ? TraceNameText(*parsed) : "none";
  };
  EXPECT_EQ(canonical("input_ids"), "input_ids");
  EXPECT_EQ(canonical("after_embeddings"), "hidden_states.0");
  EXPECT_EQ(canonical("after_layer_24"), "hidden_states.24");
  EXPECT_EQ(canonical("hidden_states_7"), "hidden_states.7");
  EXPECT_EQ(canonical("final_logits"), "logits");
  EXPECT_EQ(canonical("lm_head"), "logits");
  EXPECT_EQ(canonical("norm"), "model.norm");
  EXPECT_EQ(canonical("transformer.norm"), "model.norm");
  EXPECT_EQ(canonical("embed_tokens"), "model.embed_tokens");
  EXPECT_EQ(canonical("layers.0.mlp.up_proj"), "model.layers.0.mlp.up_proj");
  EXPECT_EQ(canonical("transformer.layers.2"), "model.layers.2");
}

TEST(TraceNamesTest, OthersAreNone) {
  for (const char* name :
       {"", "hidden_states", "hidden_states.", "hidden_states.-1",
        "hidden_states.01", "hidden_states.1x", "hidden_states.1.weight",
        "hidden_states.1000000", "model.layers", "model.layers.x",
        "model.layers.0.", "model.layers.0.mlp", "model.layers.0.mlp.up_proj.",
        "model.layers.0.self_attn.v_norm", "model.layers.0x",
        "model.layers.0.mlp.up_proj.weight", "model.norm.weight", "Logits"}) {
    EXPECT_FALSE(ParseTraceName(name)) << name;
  }
}

TEST(TraceNamesTest, TheyAreOrderedByLayerAndOp) {
  const std::vector<std::string> ascending = {"input_ids",
                                              "hidden_states.2",
                                              "hidden_states.11",
                                              "model.embed_tokens",
                                              "logits",
                                              "model.layers.0.self_attn.q_rope",
                                              "model.layers.0.self_attn.k_rope",
                                              "model.layers.0",
                                              "model.layers.1.input_layernorm"};
  for (size_t i = 0; i < ascending.size(); ++i) {
    for (size_t j = 0; j < ascending.size(); ++j) {
      EXPECT_EQ(*ParseTraceName(ascending[i]) < *ParseTraceName(ascending[j]),
                i < j)
          << ascending[i] << " " << ascending[j];
    }
  }
}

}  // namespace
}  // namespace ulpscope
