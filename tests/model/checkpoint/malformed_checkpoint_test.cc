// Files that no loader may accept: each is refused with a status that says
// which file, which tensor or key, what was expected and what was found.

#include <sys/stat.h>

#include <cstdio>
#include <map>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/checkpoint/checkpoint.h"
#include "nlohmann/json.hpp"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

using Json = nlohmann::json;

struct Case {
  std::string name;
  std::map<std::string, std::string> files;
  std::string gguf;  // the file to open; if empty, the folder
  std::string tensor;
  std::vector<int64_t> shape;
  std::vector<std::string> message;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

Json ValidConfig() {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"vocab_size", 3},
          {"hidden_size", 4},
          {"intermediate_size", 8},
          {"num_hidden_layers", 1},
          {"num_attention_heads", 2},
          {"num_key_value_heads", 1},
          {"max_position_embeddings", 16}};
}

constexpr char kValidHeader[] =
    R"({"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
    R"("v":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]}})";

std::string ValidSafetensors() { return SafetensorsBytes(kValidHeader, 32); }

// A folder with a valid config; loads "w" as [2, 3].
Case Safetensors(std::string name, std::string bytes,
                 std::vector<std::string> message) {
  message.push_back("model.safetensors");
  return {std::move(name),
          {{"config.json", ValidConfig().dump()},
           {"model.safetensors", std::move(bytes)}},
          "",
          "w",
          {2, 3},
          std::move(message)};
}

Case Header(std::string name, absl::string_view header, size_t data_size,
            std::vector<std::string> message) {
  return Safetensors(std::move(name), SafetensorsBytes(header, data_size),
                     std::move(message));
}

// The header is one tensor "w" with this description.
Case Entry(std::string name, absl::string_view entry,
           std::vector<std::string> message) {
  message.push_back("tensor \"w\"");
  return Header(std::move(name), absl::StrCat(R"({"w":)", entry, "}"), 24,
                std::move(message));
}

// "w" should be in a.safetensors, which holds the valid tensors.
Case Index(std::string name, absl::string_view index,
           std::vector<std::string> message) {
  return {std::move(name),
          {{"config.json", ValidConfig().dump()},
           {"model.safetensors.index.json", std::string(index)},
           {"a.safetensors", ValidSafetensors()}},
          "",
          "w",
          {2, 3},
          std::move(message)};
}

// A valid config but for `patch` (null removes a key).
Case Config(std::string name, const Json& patch,
            std::vector<std::string> message) {
  Json config = ValidConfig();
  config.merge_patch(patch);
  message.push_back("config.json");
  return {std::move(name),
          {{"config.json", config.dump()},
           {"model.safetensors", ValidSafetensors()}},
          "",
          "w",
          {2, 3},
          std::move(message)};
}

Case RawConfig(std::string name, std::string text,
               std::vector<std::string> message) {
  Case result = Config(std::move(name), Json::object(), std::move(message));
  result.files["config.json"] = std::move(text);
  return result;
}

Case RawGguf(std::string name, std::string bytes,
             std::vector<std::string> message) {
  message.push_back("model.gguf");
  return {std::move(name), {{"model.gguf", std::move(bytes)}},
          "model.gguf",    "model.layers.0.mlp.down_proj.weight",
          {4, 8},          std::move(message)};
}

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

std::vector<Case> SafetensorsCases() {
  const std::string valid = ValidSafetensors();
  return {
      Safetensors("SafetensorsEmpty", "", {"empty"}),
      Safetensors("SafetensorsCutInLength", valid.substr(0, 5),
                  {"expected 8 bytes", "found 5"}),
      Safetensors("SafetensorsCutInHeader", valid.substr(0, 40),
                  {"at most 32 bytes", absl::StrCat(sizeof(kValidHeader) - 1)}),
      Safetensors("SafetensorsCutInData", valid.substr(0, valid.size() - 1),
                  {"tensor \"v\"", "up to 31", "[24, 32]"}),
      Safetensors("SafetensorsTooLong", valid + "x",
                  {"expected 32 bytes of data", "found 33"}),
      Safetensors("SafetensorsHugeHeaderLength",
                  Encode64(~uint64_t{0}) + valid.substr(8),
                  {"18446744073709551615"}),
      Safetensors("SafetensorsGarbage", std::string(64, '\xff'),
                  {"header length"}),
      Header("SafetensorsHeaderNotJson", "not json", 0, {"not valid JSON"}),
      Header("SafetensorsHeaderCutJson", R"({"w":{"dtype":)", 0,
             {"not valid JSON"}),
      Header("SafetensorsHeaderArray", "[]", 0, {"JSON object", "array"}),
      Header("SafetensorsHeaderEmptyText", "", 0, {"not valid JSON"}),
      Header("SafetensorsHeaderBadUtf8", "{\"\xff\":1}", 0, {"not valid JSON"}),
      Header("SafetensorsHeaderNulPadding",
             absl::StrCat(kValidHeader, absl::string_view("\0", 1)), 32,
             {"not valid JSON"}),
      Header("SafetensorsHeaderTooDeep",
             absl::StrCat(R"({"w":)", std::string(200000, '['),
                          std::string(200000, ']'), "}"),
             0, {"nested deeper"}),
      Header("SafetensorsDuplicateTensor",
             R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
             R"("w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
             4, {"\"w\"", "twice"}),
      Header("SafetensorsDuplicateField",
             R"({"w":{"dtype":"F32","dtype":"F32","shape":[1],)"
             R"("data_offsets":[0,4]}})",
             4, {"\"dtype\"", "twice"}),
      Header("SafetensorsMetadataNotObject", R"({"__metadata__":7})", 0,
             {"__metadata__", "expected an object", "number"}),
      Header("SafetensorsMetadataNotString", R"({"__metadata__":{"a":7}})", 0,
             {"__metadata__ \"a\"", "expected a string", "number"}),
      Entry("SafetensorsEntryNotObject", "3", {"an object", "number"}),
      Entry("SafetensorsNoDtype", R"({"shape":[6],"data_offsets":[0,24]})",
            {"dtype, shape and data_offsets", "\"shape\""}),
      Entry("SafetensorsExtraField",
            R"({"dtype":"F32","shape":[6],"data_offsets":[0,24],"x":1})",
            {"dtype, shape and data_offsets", "\"x\""}),
      Entry("SafetensorsDtypeNumber",
            R"({"dtype":3,"shape":[6],"data_offsets":[0,24]})",
            {"a dtype string", "number"}),
      Entry("SafetensorsDtypeUnknown",
            R"({"dtype":"F33","shape":[6],"data_offsets":[0,24]})",
            {"a safetensors dtype", "\"F33\""}),
      Entry("SafetensorsShapeString",
            R"({"dtype":"F32","shape":"6","data_offsets":[0,24]})",
            {"a shape array", "string"}),
      Entry("SafetensorsShapeNegative",
            R"({"dtype":"F32","shape":[-6],"data_offsets":[0,24]})",
            {"non-negative integers", "-6"}),
      Entry("SafetensorsShapeFraction",
            R"({"dtype":"F32","shape":[6.5],"data_offsets":[0,24]})",
            {"non-negative integers", "6.5"}),
      Entry("SafetensorsShapeOverflows",
            R"({"dtype":"F32","shape":[4294967296,4294967296],)"
            R"("data_offsets":[0,24]})",
            {"far too many", "[4294967296, 4294967296]"}),
      Entry("SafetensorsShapeElementTooLarge",
            R"({"dtype":"F32","shape":[18446744073709551615],)"
            R"("data_offsets":[0,24]})",
            {"non-negative integers", "18446744073709551615"}),
      Entry("SafetensorsShapeTooSmall",
            R"({"dtype":"F32","shape":[5],"data_offsets":[0,24]})",
            {"20 bytes for F32 [5]", "24"}),
      Entry("SafetensorsPartOfAByte",
            R"({"dtype":"F4","shape":[3],"data_offsets":[0,1]})",
            {"1 and a part", "F4 [3]"}),
      Entry("SafetensorsOffsetsString",
            R"({"dtype":"F32","shape":[6],"data_offsets":"0,24"})",
            {"two non-negative integers", "string"}),
      Entry("SafetensorsOffsetsThree",
            R"({"dtype":"F32","shape":[6],"data_offsets":[0,12,24]})",
            {"two non-negative integers"}),
      Entry("SafetensorsOffsetsNegative",
            R"({"dtype":"F32","shape":[6],"data_offsets":[-24,0]})",
            {"two non-negative integers"}),
      Entry("SafetensorsOffsetsDescending",
            R"({"dtype":"F32","shape":[6],"data_offsets":[24,0]})",
            {"ascending", "[24, 0]"}),
      Entry("SafetensorsOffsetsBeyondEnd",
            R"({"dtype":"F32","shape":[7],"data_offsets":[0,28]})",
            {"up to 24", "[0, 28]"}),
      Entry("SafetensorsWrongShape",
            R"({"dtype":"F32","shape":[3,2],"data_offsets":[0,24]})",
            {"shape [2, 3]", "found [3, 2]"}),
      Entry("SafetensorsUnusableDtype",
            R"({"dtype":"I32","shape":[2,3],"data_offsets":[0,24]})",
            {"dtype F32, F16 or BF16", "found I32"}),
      Header("SafetensorsF8",
             R"({"w":{"dtype":"F8_E4M3","shape":[2,3],"data_offsets":[0,6]}})",
             6, {"tensor \"w\"", "dtype F32, F16 or BF16", "found F8_E4M3"}),
      Header("SafetensorsMissingTensor", "{}", 0,
             {"\"w\"", "[2, 3]", "missing"}),
      Header("SafetensorsOverlap",
             R"({"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
             R"("v":{"dtype":"F32","shape":[2],"data_offsets":[20,28]}})",
             28, {"tensor \"v\"", "at 24", "found 20 (overlap)"}),
      Header("SafetensorsHole",
             R"({"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
             R"("v":{"dtype":"F32","shape":[2],"data_offsets":[28,36]}})",
             36, {"tensor \"v\"", "at 24", "found 28 (hole)"}),
      Header("SafetensorsControlCharactersInName", "{\"\\u001b[31m\":3}", 0,
             {"\"\\x1b[31m\""}),
  };
}

std::vector<Case> IndexCases() {
  const auto map = [](absl::string_view file) {
    return absl::StrCat(R"({"weight_map":{"w":")", file, R"("}})");
  };
  constexpr char kIndex[] = "model.safetensors.index.json";
  Case no_weights = Config("FolderWithoutWeights", Json::object(), {});
  no_weights.files.erase("model.safetensors");
  no_weights.message = {"model.safetensors.index.json", "neither"};
  Case no_config =
      Config("FolderWithoutConfig", Json::object(), {"cannot open"});
  no_config.files.erase("config.json");
  Case bad_shard = Index("IndexBadShard", map("a.safetensors"),
                         {"a.safetensors", "expected 8 bytes"});
  bad_shard.files["a.safetensors"] = "x";
  return {
      no_weights,
      no_config,
      bad_shard,
      Index("IndexNotJson", "{", {kIndex, "not valid JSON"}),
      Index("IndexEmpty", "", {kIndex, "empty"}),
      Index("IndexNoWeightMap", "{}", {kIndex, "weight_map", "nothing"}),
      Index("IndexWeightMapArray", R"({"weight_map":[]})",
            {kIndex, "weight_map", "array"}),
      Index("IndexShardNumber", R"({"weight_map":{"w":1}})",
            {kIndex, "tensor \"w\"", "a file name", "number"}),
      Index("IndexShardElsewhere", map("/etc/a.safetensors"),
            {kIndex, "tensor \"w\"", "in this folder", "/etc/"}),
      Index("IndexShardAbove", map("..safetensors"),
            {kIndex, "tensor \"w\"", "in this folder", ".."}),
      Index("IndexShardNotSafetensors", map("a.bin"),
            {kIndex, "tensor \"w\"", "a .safetensors file", "a.bin"}),
      Index("IndexShardMissing", map("b.safetensors"),
            {"b.safetensors", "cannot open", "tensor \"w\"", kIndex}),
      Index("IndexTensorNotInShard",
            R"({"weight_map":{"w":"a.safetensors","u":"a.safetensors"}})",
            {"a.safetensors", "tensor \"u\"", "missing", kIndex}),
      Index("IndexTensorNotMapped", R"({"weight_map":{}})",
            {"\"w\"", "[2, 3]", "missing"}),
  };
}

std::vector<Case> ConfigCases() {
  const Json yarn = {{"rope_type", "yarn"}, {"factor", 4.0}};
  return {
      RawConfig("ConfigEmpty", "", {"empty"}),
      RawConfig("ConfigNotJson", "hidden_size = 4", {"not valid JSON"}),
      RawConfig("ConfigArray", "[1]", {"JSON object", "array"}),
      RawConfig("ConfigTooLong", std::string((1 << 20) + 1, ' '),
                {"at most 1048576", "1048577"}),
      Config("ConfigNoArchitecture", {{"architectures", nullptr}},
             {"architectures", "nothing"}),
      Config("ConfigOtherArchitecture",
             {{"architectures", {"GPT2LMHeadModel"}}},
             {"Qwen3ForCausalLM", "\"GPT2LMHeadModel\""}),
      Config("ConfigMixtureOfExperts",
             {{"architectures", {"Qwen3MoeForCausalLM"}}},
             {"\"Qwen3MoeForCausalLM\""}),
      Config("ConfigNoHiddenSize", {{"hidden_size", nullptr}},
             {"hidden_size", "an integer", "nothing"}),
      Config("ConfigHiddenSizeText", {{"hidden_size", "4"}},
             {"hidden_size", "an integer", "\"4\""}),
      Config("ConfigHiddenSizeFraction", {{"hidden_size", 4.5}},
             {"hidden_size", "an integer", "4.5"}),
      Config("ConfigHiddenSizeZero", {{"hidden_size", 0}},
             {"hidden_size", "found 0"}),
      Config("ConfigHiddenSizeNegative", {{"hidden_size", -4}},
             {"hidden_size", "found -4"}),
      Config("ConfigVocabularyHuge", {{"vocab_size", int64_t{1} << 40}},
             {"vocab_size", "1 to 16777216", "1099511627776"}),
      Config("ConfigLayersHuge", {{"num_hidden_layers", 5000}},
             {"num_hidden_layers", "1 to 4096", "5000"}),
      Config("ConfigBeyondInt64", {{"vocab_size", ~uint64_t{0}}},
             {"vocab_size", "an integer", "18446744073709551615"}),
      Config("ConfigTooManyParameters",
             {{"hidden_size", 1 << 24}, {"intermediate_size", 1 << 24}},
             {"number of parameters"}),
      Config("ConfigHeadsDoNotDivide", {{"num_attention_heads", 3}},
             {"hidden_size", "num_attention_heads 3", "found 4"}),
      Config("ConfigKeyValueHeadsDoNotDivide",
             {{"num_attention_heads", 4},
              {"head_dim", 2},
              {"num_key_value_heads", 3}},
             {"num_key_value_heads", "num_attention_heads 4", "found 3"}),
      Config("ConfigOddHeadDim", {{"head_dim", 3}},
             {"head_dim", "even", "found 3"}),
      Config("ConfigEpsilonZero", {{"rms_norm_eps", 0}},
             {"rms_norm_eps", "positive", "found 0"}),
      Config("ConfigThetaNegative", {{"rope_theta", -1.0}},
             {"rope_theta", "positive", "found -1"}),
      Config("ConfigActivation", {{"hidden_act", "gelu"}},
             {"hidden_act", "\"silu\"", "\"gelu\""}),
      Config("ConfigYarn", {{"rope_scaling", yarn}},
             {"rope_scaling.rope_type", "linear or llama3", "\"yarn\""}),
      Config("ConfigYarnInParameters", {{"rope_parameters", yarn}},
             {"rope_parameters.rope_type", "\"yarn\""}),
      Config("ConfigTwoScalings",
             {{"rope_scaling", {{"type", "linear"}, {"factor", 2.0}}},
              {"rope_parameters", yarn}},
             {"rope_scaling", "the same as rope_parameters"}),
      Config(
          "ConfigRopePerLayerType",
          {{"rope_parameters", {{"full_attention", {{"rope_theta", 10.0}}}}}},
          {"rope_parameters.full_attention", "a scalar", "object"}),
      Config("ConfigLlama3WithoutFactor",
             {{"rope_scaling", {{"rope_type", "llama3"}}}},
             {"rope_scaling.factor", "a number", "nothing"}),
      Config("ConfigSlidingWindow", {{"use_sliding_window", true}},
             {"use_sliding_window", "expected false"}),
      Config("ConfigLayerTypes",
             {{"layer_types", {"full_attention", "sliding_attention"}}},
             {"layer_types", "full_attention", "\"sliding_attention\""}),
      Config("ConfigMlpBias", {{"mlp_bias", true}},
             {"mlp_bias", "expected false"}),
      Config("ConfigQuantized", {{"quantization_config", {{"bits", 4}}}},
             {"quantization_config", "unquantized", "object"}),
      Config("ConfigTensorParallel", {{"pretraining_tp", 2}},
             {"pretraining_tp", "expected 1", "found 2"}),
      Config("ConfigPartialRotary", {{"partial_rotary_factor", 0.5}},
             {"partial_rotary_factor", "expected 1", "found 0.5"}),
      Config("ConfigEosText", {{"eos_token_id", "</s>"}},
             {"eos_token_id", "token ids", "</s>"}),
      Config("ConfigTiedText", {{"tie_word_embeddings", "yes"}},
             {"tie_word_embeddings", "true or false", "\"yes\""}),
  };
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
                    {"split.count", "expected 1", "found 3"}),
      GgufValueCase("GgufExperts", GgufUint32("llama.expert_count", 8),
                    {"llama.expert_count", "expected 0", "found 8"}),
      GgufValueCase("GgufPartialRope",
                    GgufUint32("llama.rope.dimension_count", 1),
                    {"llama.rope.dimension_count", "head_dim 2", "found 1"}),
      GgufValueCase("GgufYarn",
                    GgufEntry("llama.rope.scaling.type", 8, GgufText("yarn")),
                    {"llama.rope.scaling.type", "none or linear", "\"yarn\""}),
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
      Config("", Json::object(), {}),
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

}  // namespace
}  // namespace ulpscope
