#include "model/checkpoint/safetensors.h"

#include <sys/stat.h>

#include <cstring>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "model/files/mapped_file.h"
#include "model/files/safetensors_file.h"
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
