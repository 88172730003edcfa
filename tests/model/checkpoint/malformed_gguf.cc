#include "tests/model/checkpoint/malformed_gguf.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

// A valid GGUF but for what `spoil` does to its parts.
template <class Spoil>
Case Gguf(std::string name, Spoil spoil, std::vector<std::string> message) {
  GgufParts parts = TinyGguf();
  spoil(parts);
  return RawGguf(std::move(name), parts.Bytes(), std::move(message));
}

// One more metadata entry.
Case GgufValueCase(std::string name, std::string entry,
                   std::vector<std::string> message) {
  return Gguf(
      std::move(name),
      [&](GgufParts& parts) { parts.values.push_back(std::move(entry)); },
      std::move(message));
}

// One more tensor.
Case GgufTensorCase(std::string name, std::string entry,
                    std::vector<std::string> message) {
  return Gguf(
      std::move(name),
      [&](GgufParts& parts) { parts.tensors.push_back(std::move(entry)); },
      std::move(message));
}

// Another last tensor than the F32 [4, 8] blk.0.ffn_down.weight.
Case GgufLastTensor(std::string name, std::string entry,
                    std::vector<std::string> message) {
  message.push_back("blk.0.ffn_down.weight");
  return Gguf(
      std::move(name),
      [&](GgufParts& parts) { parts.tensors.back() = std::move(entry); },
      std::move(message));
}

}  // namespace

Case RawGguf(std::string name, std::string bytes,
             std::vector<std::string> message) {
  message.push_back("model.gguf");
  return {std::move(name), {{"model.gguf", std::move(bytes)}},
          "model.gguf",    "model.layers.0.mlp.down_proj.weight",
          {4, 8},          std::move(message)};
}

std::vector<Case> GgufCases() {
  const std::string valid = TinyGguf().Bytes();
  const auto last = [](const std::vector<uint64_t>& dimensions, uint32_t type,
                       uint64_t offset) {
    return GgufTensorEntry("blk.0.ffn_down.weight", dimensions, type, offset);
  };
  // Where the last tensor of TinyGguf begins: all others together.
  const uint64_t offset = TinyGguf().data_size - 128;
  return {
      RawGguf("GgufEmpty", "", {"empty"}),
      RawGguf("GgufGarbage", std::string(100, '\x7e'),
              {"magic", "GGUF", "0x7e7e7e7e"}),
      RawGguf("GgufCutInCounts", valid.substr(0, 12),
              {"tensor count", "8 bytes at 8", "found 4 (truncated)"}),
      RawGguf("GgufCutInData", valid.substr(0, valid.size() - 1),
              {"blk.0.ffn_down.weight", "128 bytes", "bytes of data"}),
      Gguf("GgufVersion1", [](GgufParts& p) { p.version = 1; },
           {"version", "2 or 3", "found 1"}),
      Gguf("GgufBigEndian", [](GgufParts& p) { p.version = 3u << 24; },
           {"version", "big-endian"}),
      Gguf("GgufTensorCountHuge",
           [](GgufParts& p) { p.tensor_count = ~uint64_t{0}; },
           {"tensor count", "18446744073709551615"}),
      Gguf("GgufMetadataCountHuge",
           [](GgufParts& p) { p.value_count = uint64_t{1} << 40; },
           {"metadata count", "1099511627776"}),
      Gguf("GgufMetadataCountTooLarge",
           [](GgufParts& p) { p.value_count = 1000; }, {"metadata"}),
      Gguf("GgufKeyTooLong",
           [](GgufParts& p) { p.values[0] = Encode64(uint64_t{1} << 62); },
           {"metadata key 0", "4611686018427387904 bytes", "truncated"}),
      GgufValueCase("GgufKeyEmpty", GgufUint32("", 1),
                    {"metadata key 8", "found 0"}),
      GgufValueCase("GgufKeyTwice", GgufUint32("llama.block_count", 1),
                    {"\"llama.block_count\"", "twice"}),
      GgufValueCase("GgufValueTypeUnknown", GgufEntry("a", 13, ""),
                    {"metadata \"a\"", "value type", "found 13"}),
      GgufValueCase("GgufBoolNotBool", GgufEntry("a", 7, "\x02"),
                    {"metadata \"a\"", "0 or 1", "found 2"}),
      GgufValueCase(
          "GgufArrayTooLong",
          GgufEntry("a", 9, Encode32(4) + Encode64(uint64_t{1} << 62)),
          {"metadata \"a\"", "at most", "4611686018427387904"}),
      GgufValueCase("GgufArrayOfArrays",
                    GgufEntry("a", 9, Encode32(9) + Encode64(1)),
                    {"metadata \"a\"", "an array of arrays"}),
      GgufValueCase(
          "GgufStringArrayTooLong",
          GgufEntry("a", 9, Encode32(8) + Encode64(uint64_t{1} << 62)),
          {"metadata \"a\"", "truncated"}),
      GgufValueCase("GgufAlignmentNotPower",
                    GgufUint32("general.alignment", 24),
                    {"general.alignment", "a power of two", "24"}),
      GgufValueCase("GgufAlignmentText",
                    GgufEntry("general.alignment", 8, GgufText("32")),
                    {"general.alignment", "a power of two", "another type"}),
      GgufValueCase("GgufSplit", GgufUint32("split.count", 3),
                    {"split.count", "of N parts", "part 1 of 3"}),
      GgufValueCase("GgufExperts", GgufUint32("llama.expert_count", 8),
                    {"llama.expert_count", "expected 0", "found 8"}),
      GgufValueCase("GgufPartialRope",
                    GgufUint32("llama.rope.dimension_count", 1),
                    {"llama.rope.dimension_count", "head_dim 2", "found 1"}),
      GgufValueCase(
          "GgufLongRope",
          GgufEntry("llama.rope.scaling.type", 8, GgufText("longrope")),
          {"llama.rope.scaling.type", "none, linear or yarn", "\"longrope\""}),
      GgufValueCase("GgufTokensNotArray",
                    GgufUint32("tokenizer.ggml.tokens", 3),
                    {"tokenizer.ggml.tokens", "an array"}),
      GgufValueCase("GgufVocabularyHuge",
                    GgufUint32("llama.vocab_size", 1u << 31),
                    {"vocab_size", "2147483648"}),
      Gguf("GgufOtherArchitecture",
           [](GgufParts& p) {
             p.values[0] =
                 GgufEntry("general.architecture", 8, GgufText("gpt2"));
           },
           {"general.architecture", "llama, qwen2 or qwen3", "\"gpt2\""}),
      Gguf("GgufArchitectureNumber",
           [](GgufParts& p) {
             p.values[0] = GgufUint32("general.architecture", 1);
           },
           {"general.architecture", "a string", "an integer"}),
      Gguf("GgufNoArchitecture", [](GgufParts& p) { p.values.clear(); },
           {"general.architecture", "nothing"}),
      Gguf("GgufNoHiddenSize",
           [](GgufParts& p) { p.values.erase(p.values.begin() + 1); },
           {"llama.embedding_length", "an integer", "nothing"}),
      Gguf("GgufHiddenSizeFloat",
           [](GgufParts& p) {
             p.values[1] = GgufFloat("llama.embedding_length", 4);
           },
           {"llama.embedding_length", "an integer", "a float"}),
      Gguf("GgufNoHeads",
           [](GgufParts& p) {
             p.values[4] = GgufUint32("llama.attention.head_count", 0);
           },
           {"llama.attention.key_length", "0 heads"}),
      Gguf("GgufTensorTwice",
           [](GgufParts& p) {
             p.tensors.push_back(
                 GgufTensorEntry("output_norm.weight", {4}, 0, p.data_size));
             p.data_size += 16;
           },
           {"tensor \"output_norm.weight\"", "twice"}),
      GgufTensorCase("GgufTensorNameTooLong",
                     GgufTensorEntry(std::string(65, 'n'), {1}, 0, 0),
                     {"name of tensor 11", "1 to 64", "65"}),
      GgufTensorCase("GgufEmptyTensor", GgufTensorEntry("t", {0}, 0, 0),
                     {"tensor \"t\"", "product", "dimension 0 = 0"}),
      Gguf("GgufRopeDivisorsWrongShape",
           [](GgufParts& p) {
             p.tensors.push_back(
                 GgufTensorEntry("rope_freqs.weight", {2}, 0, p.data_size));
             p.data_size += 8;
           },
           {"tensor \"rope_freqs.weight\"", "F32 [1]", "found F32 [2]"}),
      GgufLastTensor("GgufNoDimensions", last({}, 0, offset),
                     {"1 to 4 dimensions", "found 0"}),
      GgufLastTensor("GgufFiveDimensions", last({8, 4, 1, 1, 1}, 0, offset),
                     {"1 to 4 dimensions", "found 5"}),
      GgufLastTensor("GgufShapeOverflows",
                     last({uint64_t{1} << 32, uint64_t{1} << 32}, 0, offset),
                     {"product", "dimension 1 = 4294967296"}),
      GgufLastTensor("GgufTypeUnknown", last({8, 4}, 99, offset),
                     {"a known ggml type", "type 99"}),
      GgufLastTensor("GgufPartOfABlock", last({8, 4}, 8, offset),
                     {"a multiple of 32 for Q8_0", "[4, 8]"}),
      GgufLastTensor("GgufOffsetUnaligned", last({8, 4}, 0, offset + 4),
                     {"aligned to 32", absl::StrCat(offset + 4)}),
      GgufLastTensor("GgufOffsetBeyondEnd", last({8, 4}, 0, uint64_t{1} << 62),
                     {"128 bytes at 4611686018427387904"}),
      GgufLastTensor("GgufOffsetWraps", last({8, 4}, 0, ~uint64_t{31}),
                     {"128 bytes at 18446744073709551584"}),
      GgufLastTensor(
          "GgufOverlap", last({8, 4}, 0, offset - 32),
          {absl::StrCat("at least ", offset), absl::StrCat(offset - 32)}),
      GgufLastTensor("GgufWrongShape", last({4, 8}, 0, offset),
                     {"shape [4, 8]", "found [8, 4]"}),
      GgufLastTensor("GgufUnusableType", last({8, 4}, 26, offset),
                     {"model.layers.0.mlp.down_proj.weight", "found I32"}),
      Gguf("GgufMissingTensor", [](GgufParts& p) { p.tensors.pop_back(); },
           {"blk.0.ffn_down.weight", "model.layers.0.mlp.down_proj.weight",
            "missing"}),
  };
}

}  // namespace ulpscope
