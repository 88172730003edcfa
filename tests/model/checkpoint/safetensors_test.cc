#include "model/checkpoint/safetensors.h"

#include <sys/stat.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/files/mapped_file.h"
#include "model/files/safetensors_file.h"
#include "model/files/tensor.h"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;

// Whether a tensor holds `size` bytes of SafetensorsBytes's data from `begin`.
bool HoldsData(const Tensor& tensor, size_t begin, size_t size) {
  const std::string data = SafetensorsBytes("", begin + size).substr(8);
  return std::memcmp(tensor.data, data.data() + begin, size) == 0;
}

// 24 bytes of F32 and 8 of BF16; `padding` lengthens the header.
std::string TwoTensors(size_t padding) {
  return SafetensorsBytes(
      absl::StrCat(
          R"({"__metadata__":{"format":"pt"},)"
          R"("w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
          R"("v":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]}})",
          std::string(padding, ' ')),
      32);
}

TEST(SafetensorsTest, LoadsWhatIsStored) {
  const std::string path = WriteTestFile("a.safetensors", TwoTensors(0));
  const auto source = OpenSafetensors(path);
  ASSERT_THAT(source, IsOk());
  EXPECT_TRUE((*source)->Has("w"));
  EXPECT_FALSE((*source)->Has("__metadata__"));
  EXPECT_FALSE((*source)->Has("u"));
  const absl::StatusOr<Tensor> w = (*source)->Load("w", {2, 3});
  ASSERT_THAT(w, IsOk());
  EXPECT_EQ(w->name, "w");
  EXPECT_EQ(w->dtype, DType::kF32);
  EXPECT_EQ(w->shape, (std::vector<int64_t>{2, 3}));
  EXPECT_TRUE(HoldsData(*w, 0, 24));
  const absl::StatusOr<Tensor> v = (*source)->Load("v", {4});
  ASSERT_THAT(v, IsOk());
  EXPECT_EQ(v->dtype, DType::kBF16);
  EXPECT_TRUE(HoldsData(*v, 24, 8));
}

// The header's length shifts the data to every residue of the element's size.
TEST(SafetensorsTest, DataIsAlignedWhateverTheHeaderLength) {
  for (size_t padding = 0; padding < 8; ++padding) {
    const std::string path =
        WriteTestFile("a.safetensors", TwoTensors(padding));
    const auto source = OpenSafetensors(path);
    ASSERT_THAT(source, IsOk());
    for (const auto& [name, shape, begin, size] :
         {std::make_tuple("w", std::vector<int64_t>{2, 3}, 0, 24),
          std::make_tuple("v", std::vector<int64_t>{4}, 24, 8)}) {
      const absl::StatusOr<Tensor> tensor = (*source)->Load(name, shape);
      ASSERT_THAT(tensor, IsOk());
      EXPECT_EQ(
          reinterpret_cast<uintptr_t>(tensor->data) % DTypeSize(tensor->dtype),
          0u);
      EXPECT_TRUE(HoldsData(*tensor, begin, size)) << name << padding;
    }
  }
}

TEST(SafetensorsTest, TensorsOutliveTheirSource) {
  const size_t kRows = 3000;  // several pages
  const std::string header =
      absl::StrCat(R"({"w":{"dtype":"F32","shape":[)", kRows,
                   R"(],"data_offsets":[0,)", 4 * kRows, "]}}");
  const std::string path =
      WriteTestFile("a.safetensors", SafetensorsBytes(header, 4 * kRows));
  absl::StatusOr<Tensor> first;
  absl::StatusOr<Tensor> second;
  {
    const auto source = OpenSafetensors(path);
    ASSERT_THAT(source, IsOk());
    first = (*source)->Load("w", {kRows});
    second = (*source)->Load("w", {kRows});
  }
  ASSERT_THAT(first, IsOk());
  ASSERT_THAT(second, IsOk());
  // Releasing one drops pages that the other reads again.
  EXPECT_TRUE(HoldsData(*first, 0, 4 * kRows));
  *first = Tensor();
  EXPECT_TRUE(HoldsData(*second, 0, 4 * kRows));
}

TEST(SafetensorsTest, EmptyTensorsAreValid) {
  const std::string path = WriteTestFile(
      "a.safetensors",
      SafetensorsBytes(
          R"({"e":{"dtype":"F32","shape":[0,3],"data_offsets":[0,0]},)"
          R"("s":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})",
          4));
  const auto source = OpenSafetensors(path);
  ASSERT_THAT(source, IsOk());
  EXPECT_THAT((*source)->Load("e", {0, 3}), IsOk());
  EXPECT_THAT((*source)->Load("s", {}), IsOk());
}

TEST(SafetensorsTest, OtherDtypesStandInTheFile) {
  const std::string path = WriteTestFile(
      "a.safetensors",
      SafetensorsBytes(
          R"({"i":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},)"
          R"("w":{"dtype":"F16","shape":[1],"data_offsets":[8,10]}})",
          10));
  const auto source = OpenSafetensors(path);
  ASSERT_THAT(source, IsOk());
  EXPECT_THAT((*source)->Load("i", {1}),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT((*source)->Load("w", {1}), IsOk());
}

// A file of F32 tensors of these names and shapes, whose bytes count up.
std::string FileOf(
    const std::vector<std::pair<std::string, std::vector<int64_t>>>& tensors) {
  std::string header;
  size_t end = 0;
  for (const auto& [name, shape] : tensors) {
    size_t bytes = 4;
    for (const int64_t size : shape) bytes *= static_cast<size_t>(size);
    absl::StrAppend(&header, header.empty() ? "{" : ",", "\"", name,
                    "\":{\"dtype\":\"F32\",\"shape\":[",
                    absl::StrJoin(shape, ","), "],\"data_offsets\":[", end, ",",
                    end + bytes, "]}");
    end += bytes;
  }
  return WriteTestFile("named.safetensors",
                       SafetensorsBytes(header + "}", end));
}

TEST(SafetensorsTest, KnowsNamesWithOtherPrefixes) {
  for (const char* const prefix :
       {"model.", "model.language_model.", "language_model.model.",
        "_orig_mod.model.", "_orig_mod.", ""}) {
    const auto source = OpenSafetensors(
        FileOf({{absl::StrCat(prefix, "embed_tokens.weight"), {3, 2}},
                {absl::StrCat(prefix, "layers.0.mlp.up_proj.weight"), {2, 2}},
                {"lm_head.weight", {3, 2}},
                {"visual.patch.weight", {5}}}));
    ASSERT_THAT(source, IsOk());
    EXPECT_TRUE((*source)->Has("model.layers.0.mlp.up_proj.weight")) << prefix;
    const auto tensor =
        (*source)->Load("model.layers.0.mlp.up_proj.weight", {2, 2});
    ASSERT_THAT(tensor, IsOk());
    EXPECT_TRUE(HoldsData(*tensor, 24, 16)) << prefix;
    EXPECT_EQ(tensor->name, "model.layers.0.mlp.up_proj.weight");
    EXPECT_THAT((*source)->Load("model.embed_tokens.weight", {3, 2}), IsOk());
    EXPECT_THAT((*source)->Load("lm_head.weight", {3, 2}), IsOk());
    EXPECT_THAT((*source)->Unused(),
                testing::ElementsAre("visual.patch.weight"));
    EXPECT_THAT((*source)->Load("model.norm.weight", {2}).status().message(),
                testing::AllOf(testing::HasSubstr("there are 4 others"),
                               testing::HasSubstr("embed_tokens.weight")));
  }
}

TEST(SafetensorsTest, FusedProjectionsAreDivided) {
  const std::string layer = "model.layers.0.";
  const auto source =
      OpenSafetensors(FileOf({{"model.embed_tokens.weight", {3, 2}},
                              {layer + "self_attn.qkv_proj.weight", {8, 2}},
                              {layer + "self_attn.qkv_proj.bias", {8}},
                              {layer + "mlp.gate_up_proj.weight", {6, 2}}}));
  ASSERT_THAT(source, IsOk());
  const auto holds = [&](const std::string& name, std::vector<int64_t> shape,
                         size_t first, size_t bytes) {
    const auto tensor = (*source)->Load(layer + name, shape);
    EXPECT_THAT(tensor, IsOk());
    return tensor.ok() && HoldsData(*tensor, first, bytes);
  };
  EXPECT_TRUE(holds("self_attn.q_proj.weight", {4, 2}, 24, 32));
  EXPECT_TRUE(holds("self_attn.k_proj.weight", {2, 2}, 24 + 32, 16));
  EXPECT_TRUE(holds("self_attn.v_proj.weight", {2, 2}, 24 + 48, 16));
  EXPECT_TRUE(holds("self_attn.v_proj.bias", {2}, 24 + 64 + 24, 8));
  EXPECT_TRUE(holds("mlp.gate_proj.weight", {3, 2}, 24 + 64 + 32, 24));
  EXPECT_TRUE(holds("mlp.up_proj.weight", {3, 2}, 24 + 64 + 32 + 24, 24));
  for (const int64_t rows : {1, 2, 4, 6}) {
    EXPECT_THAT((*source)->Load(layer + "mlp.up_proj.weight", {rows, 2}),
                StatusIs(absl::StatusCode::kInvalidArgument))
        << rows;
  }
  EXPECT_THAT((*source)->Load(layer + "self_attn.k_proj.weight", {3, 2}),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT((*source)->Load(layer + "self_attn.q_proj.weight", {8, 2}),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

// Two blocks of rows and two of columns, the latter whole or not.
TEST(SafetensorsTest, Float8HasScales) {
  for (const size_t k : {256, 200}) {
    constexpr size_t kN = 130;
    const size_t bytes = kN * k;
    const std::string header =
        absl::StrCat("{\"w\":{\"dtype\":\"F8_E4M3\",\"shape\":[", kN, ",", k,
                     "],\"data_offsets\":[0,", bytes,
                     "]},\"w_scale_inv\":{\"dtype\":\"F32\",\"shape\":[2,2],"
                     "\"data_offsets\":[",
                     bytes, ",", bytes + 16, "]}}");
    std::string file = SafetensorsBytes(header, bytes + 16);
    const float scales[4] = {0.3f, -2, 1e-3f, 7};
    std::memcpy(&file[file.size() - 16], scales, 16);
    const auto source = OpenSafetensors(WriteTestFile("f.safetensors", file));
    ASSERT_THAT(source, IsOk());
    auto tensor = (*source)->Load(
        "w", {static_cast<int64_t>(kN), static_cast<int64_t>(k)});
    ASSERT_THAT(tensor, IsOk());
    EXPECT_EQ(tensor->type_name(), k == 256 ? "F8_E4M3" : "F32");
    EXPECT_THAT((*source)->Unused(), testing::IsEmpty());
    tensor = Dequantized(*std::move(tensor));
    ASSERT_THAT(tensor, IsOk());
    const float* const values = static_cast<const float*>(tensor->data);
    const size_t data = file.size() - 16 - bytes;
    for (size_t i = 0; i < bytes; ++i) {
      // The bytes that count up are positive, and below the NaN.
      const int code = static_cast<unsigned char>(file[data + i]);
      ASSERT_LT(code, 127);
      const float value =
          code < 8
              ? std::ldexp(static_cast<float>(code), -9)
              : std::ldexp(static_cast<float>(8 + code % 8), code / 8 - 10);
      ASSERT_EQ(values[i], value * scales[i / k / 128 * 2 + i % k / 128]) << i;
    }
    EXPECT_FALSE((*source)->Load("w", {kN, static_cast<int64_t>(k) + 1}).ok());
  }
  const auto without = OpenSafetensors(
      WriteTestFile("g.safetensors",
                    SafetensorsBytes(R"({"w":{"dtype":"F8_E4M3","shape":[2,2],)"
                                     R"("data_offsets":[0,4]}})",
                                     4)));
  ASSERT_THAT(without, IsOk());
  EXPECT_THAT((*without)->Load("w", {2, 2}).status().message(),
              testing::HasSubstr("_scale_inv"));
  const auto wrong = OpenSafetensors(WriteTestFile(
      "h.safetensors",
      SafetensorsBytes(
          R"({"w":{"dtype":"F8_E4M3","shape":[2,2],"data_offsets":[0,4]},)"
          R"("w_scale_inv":{"dtype":"F32","shape":[2,1],)"
          R"("data_offsets":[4,12]}})",
          12)));
  ASSERT_THAT(wrong, IsOk());
  EXPECT_THAT((*wrong)->Load("w", {2, 2}).status().message(),
              testing::HasSubstr("[1, 1]"));
}

// Written by the safetensors library.
TEST(SafetensorsTest, ReadsAForeignFile) {
  const auto source = OpenSafetensors(TestDataPath("gguf/qwen2.safetensors"));
  ASSERT_THAT(source, IsOk());
  EXPECT_THAT((*source)->Load("model.embed_tokens.weight", {24, 32}), IsOk());
}

// A header of 3 MB, which took minutes while it took the square of its size.
TEST(SafetensorsTest, ReadsFortyThousandTensors) {
  constexpr size_t kTensors = 40000;
  std::string header;
  for (size_t i = 0; i < kTensors; ++i) {
    absl::StrAppend(&header, i == 0 ? "{" : ",", "\"model.experts.", i,
                    ".weight\":{\"dtype\":\"U8\",\"shape\":[1],"
                    "\"data_offsets\":[",
                    i, ",", i + 1, "]}");
  }
  const auto read = ReadSafetensorsFile(WriteTestFile(
      "many.safetensors", SafetensorsBytes(header + "}", kTensors)));
  ASSERT_THAT(read, IsOk());
  EXPECT_EQ(read->size(), kTensors);
  const auto last = read->find("model.experts.39999.weight");
  ASSERT_NE(last, read->end());
  EXPECT_EQ(last->second.bytes[0], 39999 % 61);
}

TEST(SafetensorsFolderTest, FindsTensorsInTheirShards) {
  const auto shard = [](absl::string_view name) {
    return SafetensorsBytes(
        absl::StrCat(R"({")", name,
                     R"(":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                     R"("unlisted":{"dtype":"F32","shape":[1],)"
                     R"("data_offsets":[8,12]}})"),
        12);
  };
  WriteTestFile("a.safetensors", shard("x"));
  WriteTestFile("b.safetensors", shard("y"));
  WriteTestFile("model.safetensors.index.json",
                R"({"metadata":{"total_size":16},)"
                R"("weight_map":{"x":"a.safetensors","y":"b.safetensors"}})");
  const auto source = OpenSafetensorsFolder(TestFolder());
  ASSERT_THAT(source, IsOk());
  EXPECT_THAT((*source)->Load("x", {2}), IsOk());
  EXPECT_THAT((*source)->Load("y", {2}), IsOk());
  EXPECT_FALSE((*source)->Has("unlisted"));
}

}  // namespace
}  // namespace ulpscope
