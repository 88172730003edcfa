#include "tests/model/checkpoint/malformed_cases.h"

#include <cstddef>
#include <cstdint>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

using Json = nlohmann::json;

constexpr char kValidHeader[] =
    R"({"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
    R"("v":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]}})";

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

Case RawConfig(std::string name, std::string text,
               std::vector<std::string> message) {
  Case result = Config(std::move(name), Json::object(), std::move(message));
  result.files["config.json"] = std::move(text);
  return result;
}

}  // namespace

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

std::string ValidSafetensors() { return SafetensorsBytes(kValidHeader, 32); }

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
  const Json long_rope = {{"rope_type", "longrope"}, {"factor", 4.0}};
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
      Config("ConfigLongRope", {{"rope_scaling", long_rope}},
             {"rope_scaling.rope_type", "llama3 or yarn", "\"longrope\""}),
      Config("ConfigLongRopeInParameters", {{"rope_parameters", long_rope}},
             {"rope_parameters.rope_type", "\"longrope\""}),
      Config("ConfigTwoScalings",
             {{"rope_scaling", {{"type", "linear"}, {"factor", 2.0}}},
              {"rope_parameters", long_rope}},
             {"rope_scaling", "the same as rope_parameters"}),
      Config(
          "ConfigRopePerLayerType",
          {{"rope_parameters", {{"full_attention", {{"rope_theta", 10.0}}}}}},
          {"rope_parameters.full_attention", "a scalar", "object"}),
      Config("ConfigLlama3WithoutFactor",
             {{"rope_scaling", {{"rope_type", "llama3"}}}},
             {"rope_scaling.factor", "a number", "nothing"}),
      Config("ConfigYarnWithoutFactor",
             {{"rope_scaling", {{"rope_type", "yarn"}}}},
             {"rope_scaling.factor", "a number", "nothing"}),
      Config("ConfigSlidingWindow", {{"use_sliding_window", true}},
             {"sliding_window", "an integer", "nothing"}),
      Config("ConfigSlidingLayers",
             {{"layer_types", {"full_attention", "sliding_attention"}},
              {"sliding_window", 0}},
             {"sliding_window", "a positive number", "found 0"}),
      Config("ConfigLayerTypes",
             {{"layer_types", {"full_attention", "linear_attention"}}},
             {"layer_types", "full_attention", "\"linear_attention\""}),
      Config("ConfigQuantized", {{"quantization_config", {{"bits", 4}}}},
             {"quantization_config", "unquantized", "object"}),
      Config("ConfigAwq", {{"quantization_config", {{"quant_method", "awq"}}}},
             {"quantization_config", "fp8", "\"awq\""}),
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

}  // namespace ulpscope
