#include "model/trace/trace_dump.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"
#include "model/decoder/decoder.h"
#include "model/decoder/observer.h"
#include "model/files/mapped_file.h"
#include "model/trace/reference_trace.h"
#include "nlohmann/json.hpp"
#include "tests/model/checkpoint/loaded_model.h"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Json = nlohmann::json;

// An odd number: of the tensors of tiny, only scores have odd sizes then.
const std::vector<int32_t> kTokens = {97, 1, 130, 299, 0, 78, 5};

Plan PlanOf(const Weights& weights, absl::string_view text) {
  const auto plan = Plan::Parse(text, weights.layers.size());
  EXPECT_THAT(plan, IsOk());
  return *plan;
}

// All outputs of a pass over all positions that a trace has: of keys and values
// as they are stored, those that are rounded. Scores [heads, query, key].
class Collector : public Observer {
 public:
  explicit Collector(const Plan& plan) : plan_(plan) {}

  void OnOutput(size_t layer, Op op, size_t first_position,
                Matrix<const double> rows) override {
    if ((op == Op::kKvK || op == Op::kKvV) &&
        StoresAsComputed(plan_.Get(layer, op))) {
      return;
    }
    std::vector<double>& all = outputs[{layer, op}];
    if (op != Op::kQk && op != Op::kSoftmax) {
      for (size_t r = 0; r < rows.rows; ++r) {
        all.insert(all.end(), rows.Row(r), rows.Row(r) + rows.cols);
      }
      return;
    }
    const size_t n = kTokens.size();
    all.resize(rows.rows * n * n);
    for (size_t h = 0; h < rows.rows; ++h) {
      for (size_t i = 0; i < rows.cols; ++i) {
        all[(h * n + first_position) * n + i] = rows.Row(h)[i];
      }
    }
  }

  std::map<std::pair<size_t, Op>, std::vector<double>> outputs;

 private:
  const Plan plan_;
};

Collector Collect(const Weights& weights, const Plan& plan) {
  Parallel parallel;
  Decoder decoder(weights, plan, kTokens.size(), parallel);
  Collector collector(plan);
  EXPECT_THAT(decoder.Forward(kTokens, Logits::kAll, &collector), IsOk());
  return collector;
}

absl::Status Dump(const Weights& weights, const Plan& plan,
                  const std::string& path, TraceDumpOptions options = {}) {
  Parallel parallel;
  return DumpTrace(weights, plan, kTokens, path, options, parallel);
}

bool SameBits(const TracedTensor& tensor, const std::vector<double>& values) {
  return tensor.rows.bytes() == values.size() * sizeof(double) &&
         std::memcmp(tensor.rows.data(), values.data(), tensor.rows.bytes()) ==
             0;
}

std::vector<std::string> FilesInTestFolder() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(TestFolder())) {
    names.push_back(entry.path().filename().string());
  }
  return names;
}

struct Case {
  const char* checkpoint;
  const char* plan;
  const char* stored_as;  // what the states are
};

class TraceDumpTest : public testing::TestWithParam<Case> {
 protected:
  TraceDumpTest()
      : weights_(LoadedOnce(GetParam().checkpoint)),
        plan_(PlanOf(weights_, GetParam().plan)),
        layers_(weights_.layers.size()) {}

  const Weights& weights_;
  const Plan plan_;
  const size_t layers_;
};

TEST_P(TraceDumpTest, SafetensorsHoldEveryOutputBitForBit) {
  const Collector expected = Collect(weights_, plan_);
  for (const bool normed : {true, false}) {
    const std::string path = absl::StrCat(TestFolder(), "/a.safetensors");
    TraceDumpOptions options;
    options.last_state_is_normed = normed;
    ASSERT_THAT(Dump(weights_, plan_, path, options), IsOk());
    const auto trace = LoadReferenceTrace(path, "", weights_.config, {});
    ASSERT_THAT(trace, IsOk());
    for (const auto& entry : trace->not_measured) {
      ADD_FAILURE() << entry.name << ": " << entry.reason;
    }
    EXPECT_TRUE(trace->has_tokens);
    EXPECT_EQ(trace->tokens, kTokens);
    EXPECT_EQ(trace->outputs.size() + trace->scores.size(),
              expected.outputs.size());
    for (const auto& [cell, values] : expected.outputs) {
      const bool is_scores =
          cell.second == Op::kQk || cell.second == Op::kSoftmax;
      const auto& tensors = is_scores ? trace->scores : trace->outputs;
      const auto found = tensors.find(cell);
      ASSERT_NE(found, tensors.end());
      EXPECT_TRUE(SameBits(found->second, values))
          << OpName(cell.second) << " of layer " << cell.first;
      EXPECT_EQ(found->second.first_position, 0u);
    }
    ASSERT_EQ(trace->states.size(), layers_ + 1);
    for (const auto& [index, state] : trace->states) {
      const Op op = index == 0                   ? Op::kEmbed
                    : normed && index == layers_ ? Op::kFinalNorm
                                                 : Op::kMlpResidual;
      const size_t layer = IsPerLayer(op) ? index : 0;
      EXPECT_TRUE(SameBits(state, expected.outputs.at({layer, op}))) << index;
    }
    EXPECT_EQ(trace->states.at(layers_).stored_as, GetParam().stored_as);
  }
}

TEST_P(TraceDumpTest, BinFilesHoldTheStatesInF32) {
  Collector expected = Collect(weights_, plan_);
  for (auto& [cell, values] : expected.outputs) {
    for (double& value : values) value = static_cast<float>(value);
  }
  for (const bool normed : {true, false}) {
    // A slash at the end changes nothing.
    const std::string path =
        absl::StrCat(TestFolder(), "/", normed ? "normed" : "stream/");
    TraceDumpOptions options;
    options.last_state_is_normed = normed;
    ASSERT_THAT(Dump(weights_, plan_, path, options), IsOk());
    const auto trace = LoadReferenceTrace(path, "", weights_.config, kTokens);
    ASSERT_THAT(trace, IsOk());
    EXPECT_THAT(trace->not_measured, IsEmpty());
    EXPECT_FALSE(trace->has_tokens);
    ASSERT_EQ(trace->states.size(), layers_ + 1);
    for (const auto& [index, state] : trace->states) {
      const Op op = index == 0                   ? Op::kEmbed
                    : normed && index == layers_ ? Op::kFinalNorm
                                                 : Op::kMlpResidual;
      const size_t layer = IsPerLayer(op) ? index : 0;
      EXPECT_TRUE(SameBits(state, expected.outputs.at({layer, op}))) << index;
    }
    EXPECT_EQ(trace->outputs.size(), 1u);
    EXPECT_TRUE(SameBits(trace->outputs.at({0, Op::kLmHead}),
                         expected.outputs.at({0, Op::kLmHead})));
  }
  EXPECT_EQ(FilesInTestFolder().size(), 2u);
}

INSTANTIATE_TEST_SUITE_P(
    All, TraceDumpTest,
    testing::Values(Case{"synthetic:tiny", "f32", "F32"},
                    Case{"synthetic:tiny", "oracle", "F64"},
                    Case{"synthetic:tiny", "kv_k@2-3=q8_0,kv_v=bf16", "F32"},
                    Case{"synthetic:tiny", "matmul@3=oracle,residual=kahan",
                         "F32"},
                    Case{"synthetic:tiny-qwen3", "f32", "F32"},
                    Case{"synthetic:tiny-qwen3", "torch-bf16", "F32"},
                    Case{"synthetic:tiny-qwen3", "oracle", "F64"}),
    [](const testing::TestParamInfo<Case>& c) {
      return absl::StrCat("Case", c.index);
    });

class DumpedFileTest : public testing::Test {
 protected:
  DumpedFileTest()
      : weights_(LoadedOnce("synthetic:tiny-qwen3")),
        plan_(PlanOf(weights_, "f32,down_proj@2=oracle")),
        path_(absl::StrCat(TestFolder(), "/a.safetensors")) {}

  const Weights& weights_;
  const Plan plan_;
  const std::string path_;
};

// What readers other than ours need: data at multiples of 8, without holes, and
// a header that says how it was made.
TEST_F(DumpedFileTest, IsASafetensorsFileThatOthersCanMap) {
  TraceDumpOptions options;
  options.model = "a \"model\"\xFF";  // not JSON as it is, nor UTF-8
  ASSERT_THAT(Dump(weights_, plan_, path_, options), IsOk());
  const auto file = MappedFile::Open(path_);
  ASSERT_THAT(file, IsOk());
  const absl::string_view text = (*file)->text();
  uint64_t length = 0;
  for (size_t i = 8; i > 0; --i) {
    length = length << 8 | static_cast<uint8_t>(text[i - 1]);
  }
  EXPECT_EQ(length % 8, 0u);
  ASSERT_LE(length, text.size() - 8);
  const Json header = Json::parse(text.substr(8, length), nullptr, false);
  ASSERT_TRUE(header.is_object());
  const Json& metadata = header["__metadata__"];
  EXPECT_EQ(metadata["format"], "pt");
  EXPECT_EQ(metadata["made_by"], "ulpscope");
  EXPECT_EQ(metadata["plan"], plan_.Text());
  EXPECT_EQ(metadata["last_hidden_state"], "final_norm");
  EXPECT_THAT(metadata["model"].get<std::string>(), HasSubstr("a \"model\""));
  uint64_t end = 0;
  std::set<std::string> dtypes;
  for (const auto& [name, tensor] : header.items()) {
    if (name == "__metadata__") continue;
    const uint64_t begin = tensor["data_offsets"][0].get<uint64_t>();
    EXPECT_EQ(begin % 8, 0u) << name;
    end = std::max(end, tensor["data_offsets"][1].get<uint64_t>());
    dtypes.insert(tensor["dtype"].get<std::string>());
  }
  EXPECT_EQ(end, text.size() - 8 - length);
  EXPECT_THAT(dtypes, ElementsAre("F32", "F64", "I64"));
  EXPECT_EQ(header["input_ids"]["dtype"], "I64");
  // f32 takes 53 bits nowhere but in the one op that is asked for it.
  EXPECT_EQ(header["model.layers.0.mlp.down_proj"]["dtype"], "F32");
  EXPECT_EQ(header["model.layers.1.mlp.down_proj"]["dtype"], "F64");
  EXPECT_EQ(header["model.layers.1.self_attn.q_rope"]["shape"],
            Json({7, 4 * 24}));
  EXPECT_EQ(header["model.layers.1.self_attn.k_rope"]["shape"],
            Json({7, 2 * 24}));
  EXPECT_EQ(header["model.layers.7.self_attn.attention_scores"]["shape"],
            Json({4, 7, 7}));
}

TEST_F(DumpedFileTest, ReplacesAFileButNotAFolderWithFiles) {
  WriteTestFile("a.safetensors", "something else");
  ASSERT_THAT(Dump(weights_, plan_, path_), IsOk());
  EXPECT_THAT(LoadReferenceTrace(path_, "", weights_.config, {}), IsOk());
  EXPECT_THAT(Dump(weights_, plan_, TestFolder()),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("expected no such folder or an empty one, "
                                 "found one with files")));
  const std::string file = WriteTestFile("b", "something else");
  EXPECT_THAT(Dump(weights_, plan_, file),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("expected no such folder or an empty one, "
                                 "found a file")));
  const std::string empty = absl::StrCat(TestFolder(), "/empty");
  ASSERT_EQ(mkdir(empty.c_str(), 0755), 0);
  EXPECT_THAT(Dump(weights_, plan_, empty), IsOk());
  EXPECT_EQ(FilesInTestFolder().size(), 3u);
}

TEST_F(DumpedFileTest, StoppedLeavesNothing) {
  for (const char* name : {"a.safetensors", "folder"}) {
    const std::string path = absl::StrCat(TestFolder(), "/", name);
    int asked = 0;
    TraceDumpOptions options;
    options.stop = [&asked] { return ++asked == 5; };
    EXPECT_THAT(Dump(weights_, plan_, path, options),
                StatusIs(absl::StatusCode::kCancelled));
    EXPECT_EQ(asked, 5);
    EXPECT_THAT(FilesInTestFolder(), IsEmpty());
  }
}

TEST_F(DumpedFileTest, TellsProgress) {
  std::vector<size_t> done;
  TraceDumpOptions options;
  options.progress = [&done](size_t n, size_t total) {
    EXPECT_EQ(total, 9u);
    done.push_back(n);
  };
  ASSERT_THAT(Dump(weights_, plan_, path_, options), IsOk());
  EXPECT_THAT(done, ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 9));
}

TEST_F(DumpedFileTest, ErrorsLeaveNothing) {
  Parallel parallel;
  EXPECT_THAT(DumpTrace(weights_, plan_, {1, 300}, path_, {}, parallel),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("token 300 is not in the vocabulary")));
  EXPECT_THAT(DumpTrace(weights_, plan_, {}, path_, {}, parallel),
              StatusIs(absl::StatusCode::kInvalidArgument));
  for (const char* name : {"/missing/a.safetensors", "/missing/folder"}) {
    EXPECT_THAT(Dump(weights_, plan_, TestFolder() + name),
                StatusIs(absl::StatusCode::kNotFound,
                         AllOf(HasSubstr(name), HasSubstr("cannot create"))));
  }
  EXPECT_THAT(FilesInTestFolder(), IsEmpty());
}

// The file system takes no more than so many bytes of a file.
TEST_F(DumpedFileTest, FailsWhenItCannotWrite) {
  struct rlimit old_limit;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  struct rlimit limit = old_limit;
  limit.rlim_cur = 20000;
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  int layers = 0;
  TraceDumpOptions options;
  options.progress = [&layers](size_t, size_t) { ++layers; };
  const absl::Status status = Dump(weights_, plan_, path_, options);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old_limit), 0);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_THAT(status.message(),
              AllOf(HasSubstr("a.safetensors"), HasSubstr("cannot write")));
  EXPECT_EQ(layers, 0);  // of eight
  EXPECT_THAT(FilesInTestFolder(), IsEmpty());
}

TEST_F(DumpedFileTest, OfAnotherModelIsNothingToMeasure) {
  ASSERT_THAT(Dump(weights_, plan_, path_), IsOk());
  ModelConfig other = weights_.config;
  other.hidden_size = 96;
  other.vocab_size = 301;
  other.head_dim = 32;
  other.intermediate_size = 200;
  other.num_attention_heads = 8;
  EXPECT_THAT(LoadReferenceTrace(path_, "", other, {}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("\"hidden_states.0\": expected 7 positions x "
                                 "hidden_size 96, found [7, 64]")));
}

}  // namespace
}  // namespace ulpscope
