#include "model/tokenizer/tokenizer_json.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "model/files/strict_json.h"
#include "model/files/tensor.h"
#include "nlohmann/json.hpp"

namespace ulpscope {
namespace {

using Json = nlohmann::json;

// The member, or null (the value) if there is none or `object` is none.
const Json& Member(const Json& object, const char* key) {
  static const Json& null = *new Json;
  if (!object.is_object()) return null;
  const auto found = object.find(key);
  return found == object.end() ? null : *found;
}

bool Is(const Json& value, absl::string_view text) {
  return value.is_string() && value.get_ref<const std::string&>() == text;
}

std::string TypeOf(const Json& object) {
  const Json& type = Member(object, "type");
  return type.is_string() ? type.get<std::string>() : std::string();
}

// "an object", for messages.
std::string KindText(const Json& value) {
  return value.is_null() ? "nothing"
                         : absl::StrCat("a JSON ", value.type_name());
}

absl::Status Refusal(absl::string_view file, absl::string_view key,
                     absl::string_view expected, absl::string_view found) {
  return absl::UnimplementedError(
      TokenizerError(file, key, expected, found).message());
}

// A step of the pipeline in words: its type, with its pattern if it has one;
// of a sequence, all of them.
std::string StepText(const Json& step) {
  if (step.is_null()) return "none";
  if (TypeOf(step) == "Sequence") {
    for (const char* key : {"pretokenizers", "normalizers", "processors"}) {
      const Json& steps = Member(step, key);
      if (!steps.is_array()) continue;
      constexpr size_t kMost = 8;
      std::vector<std::string> texts;
      for (size_t i = 0; i < steps.size() && i < kMost; ++i) {
        texts.push_back(TypeOf(steps[i]) == "Sequence" ? "Sequence"
                                                       : StepText(steps[i]));
      }
      return absl::StrCat("Sequence of ", absl::StrJoin(texts, ", "));
    }
  }
  const Json& regex = Member(Member(step, "pattern"), "Regex");
  const std::string type = NameText(TypeOf(step));
  if (!regex.is_string()) return type;
  return absl::StrCat(
      type, " by ",
      JsonString(regex.get_ref<const std::string&>().substr(0, 200)));
}

// ByteLevel as the second of two steps.
bool IsByteLevel(const Json& step, bool use_regex) {
  const Json& splits = Member(step, "use_regex");
  return TypeOf(step) == "ByteLevel" &&
         Member(step, "add_prefix_space") == false &&
         (splits.is_null() ? use_regex : splits == use_regex);
}

absl::Status ReadPreTokenizer(const Json& step, TokenizerParts& parts) {
  const Json& steps = Member(step, "pretokenizers");
  if (TypeOf(step) == "Sequence" && steps.is_array() && steps.size() == 2) {
    const Json& first = steps[0];
    if (TypeOf(first) == "Digits" &&
        Member(first, "individual_digits") == true &&
        IsByteLevel(steps[1], /*use_regex=*/true)) {
      parts.pre_tokenizer = PreTokenizer::kSmolLm;
      return absl::OkStatus();
    }
    if (TypeOf(first) == "Split" && Is(Member(first, "behavior"), "Isolated") &&
        Member(first, "invert") == false &&
        IsByteLevel(steps[1], /*use_regex=*/false)) {
      const Json& regex = Member(Member(first, "pattern"), "Regex");
      if (Is(regex, kQwen2Pattern)) {
        parts.pre_tokenizer = PreTokenizer::kQwen2;
        return absl::OkStatus();
      }
      if (Is(regex, kLlama3Pattern)) {
        parts.pre_tokenizer = PreTokenizer::kLlama3;
        return absl::OkStatus();
      }
    }
  }
  return Refusal(parts.file, "pre_tokenizer",
                 "that of Qwen2, Llama 3 or SmolLM2", StepText(step));
}

absl::Status ReadNormalizer(const Json& step, TokenizerParts& parts) {
  parts.nfc = TypeOf(step) == "NFC";
  if (parts.nfc || step.is_null()) return absl::OkStatus();
  return Refusal(parts.file, "normalizer", "NFC or none", StepText(step));
}

absl::Status ReadMerges(const Json& merges, TokenizerParts& parts) {
  constexpr absl::string_view kKey = "model.merges";
  if (!merges.is_array()) {
    return TokenizerError(parts.file, kKey, "an array", KindText(merges));
  }
  parts.merges.resize(merges.size());
  for (size_t i = 0; i < merges.size(); ++i) {
    const Json& merge = merges[i];
    bool valid = false;
    if (merge.is_string()) {
      valid = SplitMerge(merge.get_ref<const std::string&>(), parts.merges[i]);
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
               merge[1].is_string()) {
      parts.merges[i] = {merge[0].get_ref<const std::string&>(),
                         merge[1].get_ref<const std::string&>()};
      valid = true;
    }
    if (!valid) {
      return TokenizerError(parts.file, absl::StrCat(kKey, "[", i, "]"),
                            "\"FIRST SECOND\" or two strings", KindText(merge));
    }
  }
  return absl::OkStatus();
}

absl::Status ReadModel(const Json& model, TokenizerParts& parts) {
  if (!Is(Member(model, "type"), "BPE")) {
    return Refusal(
        parts.file, "model.type", "BPE",
        model.is_object() ? NameText(TypeOf(model)) : KindText(model));
  }
  const struct {
    const char* key;
    Json other;  // what means as much as null
  } off[] = {
      {"dropout", 0.0},
      {"unk_token", nullptr},
      {"continuing_subword_prefix", ""},
      {"end_of_word_suffix", ""},
      {"byte_fallback", false},
  };
  for (const auto& option : off) {
    const Json& value = Member(model, option.key);
    if (!value.is_null() && value != option.other) {
      return Refusal(parts.file, absl::StrCat("model.", option.key), "it off",
                     value.is_string()
                         ? NameText(value.get_ref<const std::string&>())
                     : value.is_primitive() ? value.dump()
                                            : KindText(value));
    }
  }
  const Json& ignore = Member(model, "ignore_merges");
  if (!ignore.is_null() && !ignore.is_boolean()) {
    return TokenizerError(parts.file, "model.ignore_merges", "a bool",
                          KindText(ignore));
  }
  parts.ignore_merges = ignore == true;
  const absl::Status status =
      ReadVocabularyObject(Member(model, "vocab"), "model.vocab", parts);
  return status.ok() ? ReadMerges(Member(model, "merges"), parts) : status;
}

// What TemplateProcessing puts before the text; nothing may come after it.
absl::Status ReadTemplate(const Json& step, TokenizerParts& parts) {
  constexpr absl::string_view kKey = "post_processor.single";
  const auto error = [&](absl::string_view found) {
    return Refusal(parts.file, kKey, "special tokens, then the text", found);
  };
  const Json& single = Member(step, "single");
  if (!single.is_array()) return error(KindText(single));
  bool after_text = false;
  for (const Json& piece : single) {
    if (after_text) return error("more after the text");
    if (Is(Member(Member(piece, "Sequence"), "id"), "A")) {
      after_text = true;
      continue;
    }
    const Json& name = Member(Member(piece, "SpecialToken"), "id");
    if (!name.is_string()) return error("another piece");
    const Json& token = Member(Member(step, "special_tokens"),
                               name.get_ref<const std::string&>().c_str());
    const Json& ids = Member(token, "ids");
    if (!ids.is_array()) return error("a special token without ids");
    for (const Json& id : ids) {
      if (!id.is_number_unsigned() || id.get<uint64_t>() > kMaxTokenId) {
        return error("a special token whose id is none");
      }
      parts.prefix.push_back(id.get<int32_t>());
    }
  }
  return after_text ? absl::OkStatus() : error("no text");
}

absl::Status ReadPostProcessor(const Json& step, TokenizerParts& parts) {
  // ByteLevel only moves offsets.
  if (step.is_null() || TypeOf(step) == "ByteLevel") return absl::OkStatus();
  if (TypeOf(step) == "TemplateProcessing") return ReadTemplate(step, parts);
  const Json& steps = Member(step, "processors");
  if (TypeOf(step) != "Sequence" || !steps.is_array()) {
    return Refusal(parts.file, "post_processor",
                   "ByteLevel, TemplateProcessing or none", StepText(step));
  }
  for (const Json& one : steps) {
    if (TypeOf(one) == "Sequence") {
      return Refusal(parts.file, "post_processor", "one sequence",
                     "one within another");
    }
    const absl::Status status = ReadPostProcessor(one, parts);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status ReadAddedTokens(const Json& list, TokenizerParts& parts) {
  if (list.is_null()) return absl::OkStatus();
  if (!list.is_array()) {
    return TokenizerError(parts.file, "added_tokens", "an array",
                          KindText(list));
  }
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string key = absl::StrCat("added_tokens[", i, "]");
    const Json& id = Member(list[i], "id");
    if (!id.is_number_unsigned() || id.get<uint64_t>() > kMaxTokenId) {
      return TokenizerError(parts.file, absl::StrCat(key, ".id"),
                            absl::StrCat("an integer of 0 to ", kMaxTokenId),
                            id.is_number() ? id.dump() : KindText(id));
    }
    const absl::Status status =
        ReadAddedToken(list[i], id.get<int64_t>(), key, parts);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadVocabularyObject(const Json& object, absl::string_view key,
                                  TokenizerParts& parts) {
  if (!object.is_object()) {
    return TokenizerError(parts.file, key, "an object", KindText(object));
  }
  parts.tokens.resize(object.size());
  for (const auto& [text, id] : object.get_ref<const Json::object_t&>()) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > kMaxTokenId) {
      return TokenizerError(parts.file, absl::StrCat(key, ".", NameText(text)),
                            absl::StrCat("an integer of 0 to ", kMaxTokenId),
                            id.is_number() ? id.dump() : KindText(id));
    }
    const size_t i = id.get<size_t>();
    if (i >= parts.tokens.size()) parts.tokens.resize(i + 1);
    if (parts.tokens[i].data() != nullptr) {
      return TokenizerError(
          parts.file, absl::StrCat(key, ".", NameText(text)),
          "an id of its own",
          absl::StrCat(i, ", that of ", NameText(parts.tokens[i])));
    }
    parts.tokens[i] = text;
  }
  return absl::OkStatus();
}

absl::Status ReadAddedToken(const Json& object, int64_t id,
                            absl::string_view key, TokenizerParts& parts) {
  const Json& content = Member(object, "content");
  if (!content.is_string()) {
    return TokenizerError(parts.file, absl::StrCat(key, ".content"), "a string",
                          KindText(content));
  }
  AddedToken token;
  token.id = static_cast<int32_t>(id);
  token.content = content.get<std::string>();
  for (const char* flag : {"single_word", "lstrip", "rstrip"}) {
    const Json& value = Member(object, flag);
    if (!value.is_null() && value != false) {
      return Refusal(parts.file, absl::StrCat(key, ".", flag), "false",
                     value == true ? "true" : KindText(value));
    }
  }
  const Json& special = Member(object, "special");
  const Json& normalized = Member(object, "normalized");
  for (const Json* value : {&special, &normalized}) {
    if (!value->is_null() && !value->is_boolean()) {
      return TokenizerError(
          parts.file,
          absl::StrCat(key, value == &special ? ".special" : ".normalized"),
          "a bool", KindText(*value));
    }
  }
  token.special = special == true;
  token.normalized = normalized.is_null() ? !token.special : normalized == true;
  parts.added.push_back(std::move(token));
  return absl::OkStatus();
}

absl::Status ReadTokenizerJson(std::shared_ptr<const Json> json,
                               TokenizerParts& parts) {
  const Json& root = *json;
  absl::Status status = ReadNormalizer(Member(root, "normalizer"), parts);
  if (status.ok()) {
    status = ReadPreTokenizer(Member(root, "pre_tokenizer"), parts);
  }
  if (status.ok()) status = ReadModel(Member(root, "model"), parts);
  if (status.ok()) {
    status = ReadPostProcessor(Member(root, "post_processor"), parts);
  }
  if (status.ok())
    status = ReadAddedTokens(Member(root, "added_tokens"), parts);
  const Json& decoder = Member(root, "decoder");
  if (status.ok() && !decoder.is_null() && TypeOf(decoder) != "ByteLevel") {
    status =
        Refusal(parts.file, "decoder", "ByteLevel or none", StepText(decoder));
  }
  parts.owner = std::move(json);
  return status;
}

}  // namespace ulpscope
