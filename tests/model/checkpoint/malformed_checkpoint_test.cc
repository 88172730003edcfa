// Files that no loader may accept: each is refused with a status that says
// which file, which tensor or key, what was expected and what was found.

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/parallel.h"
#include "kernels/ops/panels.h"
#include "model/checkpoint/checkpoint.h"
#include "model/files/ggml_type.h"
#include "model/files/tensor.h"
#include "nlohmann/json.hpp"
#include "tests/model/checkpoint/malformed_cases.h"
#include "tests/model/checkpoint/malformed_gguf.h"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

std::vector<Case> AllCases() {
  std::vector<Case> all;
  for (std::vector<Case> cases :
       {SafetensorsCases(), IndexCases(), ConfigCases(), GgufCases()}) {
    all.insert(all.end(), cases.begin(), cases.end());
  }
  return all;
}

std::string WriteCase(const Case& c) {
  for (const auto& [name, bytes] : c.files) WriteTestFile(name, bytes);
  return c.gguf.empty() ? TestFolder()
                        : absl::StrCat(TestFolder(), "/", c.gguf);
}

absl::Status OpenAndLoad(const Case& c) {
  absl::StatusOr<Checkpoint> checkpoint = OpenCheckpoint(WriteCase(c));
  if (!checkpoint.ok()) return checkpoint.status();
  return checkpoint->tensors->Load(c.tensor, c.shape).status();
}

class MalformedCheckpointTest : public testing::TestWithParam<Case> {};

TEST_P(MalformedCheckpointTest, IsRefusedWithItsReason) {
  const absl::Status status = OpenAndLoad(GetParam());
  EXPECT_FALSE(status.ok());
  for (const std::string& part : GetParam().message) {
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr(part));
  }
}

INSTANTIATE_TEST_SUITE_P(All, MalformedCheckpointTest,
                         testing::ValuesIn(AllCases()),
                         [](const testing::TestParamInfo<Case>& c) {
                           return c.param.name;
                         });

// Or the cases above could all fail for the same wrong reason.
TEST(MalformedCheckpointTest, AcceptsWhatTheCasesStartFrom) {
  const std::vector<Case> valid = {
      Safetensors("", ValidSafetensors(), {}),
      Index("", R"({"weight_map":{"w":"a.safetensors"}})", {}),
      Config("", nlohmann::json::object(), {}),
      RawGguf("", TinyGguf().Bytes(), {}),
  };
  for (const Case& c : valid) {
    const absl::Status status = OpenAndLoad(c);
    EXPECT_TRUE(status.ok()) << status;
    for (const auto& [name, bytes] : c.files) {
      std::remove(absl::StrCat(TestFolder(), "/", name).c_str());
    }
  }
}

TEST(MalformedCheckpointTest, OtherPathsAreRefused) {
  const std::string missing = absl::StrCat(TestFolder(), "/missing.gguf");
  const std::string text = WriteTestFile("model.bin", "x");
  mkdir(absl::StrCat(TestFolder(), "/folder.gguf").c_str(), 0755);
  const std::string folder = absl::StrCat(TestFolder(), "/folder.gguf");
  for (const std::string& path : {missing, text, folder}) {
    const absl::Status status = OpenCheckpoint(path).status();
    EXPECT_FALSE(status.ok());
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr(path));
  }
}

// Loads what it can and reads every byte, for the sanitizers to judge.
absl::Status OpenAndReadAll(const Case& c) {
  absl::StatusOr<Checkpoint> checkpoint = OpenCheckpoint(WriteCase(c));
  if (!checkpoint.ok()) return checkpoint.status();
  const std::pair<std::string, std::vector<int64_t>> tensors[] = {
      {"w", {2, 3}},
      {"v", {4}},
      {"model.norm.weight", {4}},
      {"model.embed_tokens.weight", {3, 4}},
      {"model.layers.0.self_attn.q_proj.weight", {4, 4}},
      {"model.layers.0.mlp.down_proj.weight", {4, 8}},
  };
  absl::Status status;
  for (const auto& [name, shape] : tensors) {
    if (!checkpoint->tensors->Has(name)) continue;
    const absl::StatusOr<Tensor> tensor =
        checkpoint->tensors->Load(name, shape);
    status.Update(tensor.status());
    if (!tensor.ok()) continue;
    size_t size = DTypeSize(tensor->dtype);
    for (const int64_t n : tensor->shape) size *= static_cast<size_t>(n);
    const auto* bytes = static_cast<const volatile uint8_t*>(tensor->data);
    for (size_t i = 0; i < size; ++i) (void)bytes[i];
  }
  return status;
}

class SpoiledFileTest
    : public testing::TestWithParam<std::pair<Case, std::string>> {};

TEST_P(SpoiledFileTest, TruncatedAnywhereIsRefused) {
  auto [c, file] = GetParam();
  const std::string whole = c.files[file];
  for (size_t size = 0; size < whole.size(); ++size) {
    c.files = {{file, whole.substr(0, size)}};
    if (c.gguf.empty()) c.files["config.json"] = ValidConfig().dump();
    EXPECT_FALSE(OpenAndReadAll(c).ok()) << size << " bytes";
  }
}

TEST_P(SpoiledFileTest, ChangedAnywhereDoesNotCrash) {
  auto [c, file] = GetParam();
  const std::string whole = c.files[file];
  size_t refused = 0;
  for (size_t i = 0; i < whole.size(); ++i) {
    for (const int flip : {0x01, 0x10, 0x80}) {
      c.files[file] = whole;
      c.files[file][i] = static_cast<char>(c.files[file][i] ^ flip);
      refused += !OpenAndReadAll(c).ok();
    }
  }
  EXPECT_GT(refused, 0u);
}

INSTANTIATE_TEST_SUITE_P(
    All, SpoiledFileTest,
    testing::Values(
        std::make_pair(Safetensors("Safetensors", ValidSafetensors(), {}),
                       "model.safetensors"),
        std::make_pair(RawGguf("Gguf", TinyGguf().Bytes(), {}), "model.gguf")),
    [](const auto& c) { return c.param.first.name; });

// A file of three rows of blocks of one type, whose bytes count up.
GgufParts OfBlocks(const GgmlType& type) {
  constexpr uint64_t kElements = 256, kRows = 3;
  GgufParts parts = TinyGguf();
  parts.values[1] = GgufUint32("llama.embedding_length", kElements);
  parts.tensors = {
      GgufTensorEntry("token_embd.weight", {kElements, kRows}, type.id, 0)};
  parts.data_size = static_cast<size_t>(
      kElements * kRows / static_cast<uint64_t>(type.block_elements) *
      static_cast<uint64_t>(type.block_bytes));
  return parts;
}

// Computes with what there is, for the sanitizers to judge.
absl::Status OpenAndPack(const std::string& bytes) {
  const auto checkpoint = OpenCheckpoint(WriteTestFile("blocks.gguf", bytes));
  if (!checkpoint.ok()) return checkpoint.status();
  const auto tensor =
      checkpoint->tensors->Load("model.embed_tokens.weight", {3, 256});
  if (!tensor.ok()) return tensor.status();
  Parallel parallel;
  const auto panels =
      Panels::Pack(*tensor->blocks, tensor->data, 3, 256, parallel);
  if (!panels.ok()) return panels.status();
  std::vector<double> row(256);
  for (size_t j = 0; j < 3; ++j) panels->CopyRow(j, row.data());
  return Dequantized(*tensor).status();
}

TEST(MalformedBlocksTest, OfEveryTypeAreReadOrRefused) {
  for (const GgmlType& type : GgmlTypes()) {
    if (type.blocks() == nullptr) continue;
    SCOPED_TRACE(std::string(type.name));
    const std::string whole = OfBlocks(type).Bytes();
    const size_t data = OfBlocks(type).data_size;
    EXPECT_TRUE(OpenAndPack(whole).ok());
    for (const size_t missing : {size_t{1}, data / 3, data - 1, data}) {
      EXPECT_FALSE(OpenAndPack(whole.substr(0, whole.size() - missing)).ok())
          << missing << " bytes less";
    }
    // Whatever the bytes are.
    for (const int byte : {0x00, 0x7C, 0x7F, 0x80, 0xFF}) {
      std::string garbage = whole;
      garbage.replace(garbage.size() - data, data, data,
                      static_cast<char>(byte));
      EXPECT_TRUE(OpenAndPack(garbage).ok()) << byte;
    }
    // Rows that are longer, or no whole blocks.
    for (const uint64_t k :
         {uint64_t{257}, uint64_t{512}, uint64_t{1} << 40, ~uint64_t{255}}) {
      GgufParts parts = OfBlocks(type);
      parts.tensors = {
          GgufTensorEntry("token_embd.weight", {k, 3}, type.id, 0)};
      EXPECT_FALSE(OpenAndPack(parts.Bytes()).ok()) << k;
    }
  }
}

}  // namespace
}  // namespace ulpscope
