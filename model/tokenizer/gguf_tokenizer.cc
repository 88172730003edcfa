#include "model/tokenizer/gguf_tokenizer.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "model/files/gguf_file.h"
#include "model/files/tensor.h"

namespace ulpscope {
namespace {

// Of tokenizer.ggml.token_type.
enum TokenType { kNormal = 1, kControl = 3, kUserDefined = 4, kUnused = 5 };

constexpr absl::string_view kPrefix = "tokenizer.ggml.";

class Reader {
 public:
  explicit Reader(std::shared_ptr<const GgufFile> gguf)
      : gguf_(std::move(gguf)) {
    parts_.file = gguf_->file().path();
    parts_.owner = gguf_;
  }

  absl::StatusOr<TokenizerParts> Read();

 private:
  static std::string KeyText(absl::string_view key) {
    return absl::StrCat("metadata ", NameText(absl::StrCat(kPrefix, key)));
  }
  absl::Status Error(absl::string_view key, absl::string_view expected,
                     absl::string_view found) const {
    return TokenizerError(parts_.file, KeyText(key), expected, found);
  }
  absl::Status Refusal(absl::string_view key, absl::string_view expected,
                       absl::string_view found) const {
    return absl::UnimplementedError(Error(key, expected, found).message());
  }
  const GgufValue* Find(absl::string_view key) const {
    return gguf_->FindValue(absl::StrCat(kPrefix, key));
  }

  absl::StatusOr<std::string> Text(absl::string_view key) const;
  absl::StatusOr<bool> Flag(absl::string_view key, bool missing) const;
  absl::StatusOr<const GgufArray*> Array(absl::string_view key) const;
  absl::Status ReadId(absl::string_view key, std::optional<int32_t>& id) const;

  absl::Status ReadKind();
  absl::Status ReadTokens();
  absl::Status ReadMerges();
  absl::Status ReadSpecials();

  const std::shared_ptr<const GgufFile> gguf_;
  TokenizerParts parts_;
  bool add_bos_ = false;  // where the file does not say
};

absl::StatusOr<std::string> Reader::Text(absl::string_view key) const {
  const GgufValue* const value = Find(key);
  if (value == nullptr) return Error(key, "a string", "nothing");
  const auto* const text = std::get_if<absl::string_view>(value);
  if (text == nullptr) return Error(key, "a string", "another type");
  return std::string(*text);
}

absl::StatusOr<bool> Reader::Flag(absl::string_view key, bool missing) const {
  const GgufValue* const value = Find(key);
  if (value == nullptr) return missing;
  const bool* const flag = std::get_if<bool>(value);
  if (flag == nullptr) return Error(key, "a bool", "another type");
  return *flag;
}

absl::StatusOr<const GgufArray*> Reader::Array(absl::string_view key) const {
  const GgufValue* const value = Find(key);
  if (value == nullptr) return Error(key, "an array", "nothing");
  const GgufArray* const array = std::get_if<GgufArray>(value);
  if (array == nullptr) return Error(key, "an array", "another type");
  return array;
}

absl::Status Reader::ReadId(absl::string_view key,
                            std::optional<int32_t>& id) const {
  const GgufValue* const value = Find(key);
  if (value == nullptr) return absl::OkStatus();
  const uint64_t* const stored = std::get_if<uint64_t>(value);
  const int64_t* const with_sign = std::get_if<int64_t>(value);
  if (stored == nullptr && with_sign == nullptr) {
    return Error(key, "an integer", "another type");
  }
  const uint64_t found =
      stored != nullptr ? *stored : static_cast<uint64_t>(*with_sign);
  if (found >= parts_.tokens.size()) {
    return Error(
        key, absl::StrCat("an id below ", parts_.tokens.size()),
        stored != nullptr ? absl::StrCat(*stored) : absl::StrCat(*with_sign));
  }
  id = static_cast<int32_t>(found);
  return absl::OkStatus();
}

absl::Status Reader::ReadKind() {
  if (Find("model") == nullptr) {
    return absl::NotFoundError(
        absl::StrCat(parts_.file, ": has no tokenizer: no ", KeyText("model")));
  }
  const absl::StatusOr<std::string> model = Text("model");
  if (!model.ok()) return model.status();
  if (*model != "gpt2") {
    return Refusal("model", "gpt2, byte-level BPE", NameText(*model));
  }
  if (Find("pre") == nullptr) {
    return Refusal("pre", "qwen2, smollm or llama-bpe", "nothing");
  }
  const absl::StatusOr<std::string> pre = Text("pre");
  if (!pre.ok()) return pre.status();
  if (*pre == "qwen2") {
    parts_.pre_tokenizer = PreTokenizer::kQwen2;
    parts_.nfc = true;
  } else if (*pre == "smollm") {
    parts_.pre_tokenizer = PreTokenizer::kSmolLm;
  } else if (*pre == "llama-bpe" || *pre == "llama3" || *pre == "llama-v3") {
    parts_.pre_tokenizer = PreTokenizer::kLlama3;
    parts_.ignore_merges = true;
    add_bos_ = true;
  } else {
    return Refusal("pre", "qwen2, smollm or llama-bpe", NameText(*pre));
  }
  return absl::OkStatus();
}

absl::Status Reader::ReadTokens() {
  const absl::StatusOr<const GgufArray*> array = Array("tokens");
  if (!array.ok()) return array.status();
  const auto type_array = Array("token_type");
  if (!type_array.ok()) return type_array.status();
  if ((*array)->count > kMaxTokenId) {
    return Error("tokens", absl::StrCat("at most ", kMaxTokenId),
                 absl::StrCat((*array)->count));
  }
  if ((*array)->count != (*type_array)->count) {
    return Error("token_type",
                 absl::StrCat("one for each of ", (*array)->count, " tokens"),
                 absl::StrCat((*type_array)->count));
  }
  auto tokens = GgufStrings(**array);
  if (!tokens) return Error("tokens", "strings", "another type");
  const auto types = GgufIntegers(**type_array);
  if (!types) return Error("token_type", "integers", "another type");
  parts_.tokens = *std::move(tokens);
  for (size_t id = 0; id < types->size(); ++id) {
    const int64_t type = (*types)[id];
    const absl::string_view text = parts_.tokens[id];
    if (type == kUnused) {
      parts_.unused.push_back(static_cast<int32_t>(id));
    } else if (type == kControl || type == kUserDefined) {
      parts_.added.push_back({static_cast<int32_t>(id), std::string(text),
                              type == kControl, /*normalized=*/false});
    } else if (type != kNormal) {
      return Refusal("token_type",
                     "1, 3, 4 or 5: normal, control, user-defined or unused",
                     absl::StrCat(type, " for token ", id));
    }
  }
  return absl::OkStatus();
}

absl::Status Reader::ReadMerges() {
  const absl::StatusOr<const GgufArray*> array = Array("merges");
  if (!array.ok()) return array.status();
  const auto lines = GgufStrings(**array);
  if (!lines) return Error("merges", "strings", "another type");
  parts_.merges.resize(lines->size());
  for (size_t i = 0; i < lines->size(); ++i) {
    if (!SplitMerge((*lines)[i], parts_.merges[i])) {
      return Error("merges", "two tokens with a space between them",
                   absl::StrCat(NameText((*lines)[i]), " as merge ", i));
    }
  }
  return absl::OkStatus();
}

absl::Status Reader::ReadSpecials() {
  absl::Status status = ReadId("bos_token_id", parts_.bos);
  for (const absl::string_view key :
       {"eos_token_id", "eot_token_id", "eom_token_id"}) {
    std::optional<int32_t> id;
    if (status.ok()) status = ReadId(key, id);
    if (id) parts_.eos.push_back(*id);
  }
  if (!status.ok()) return status;
  const auto add_bos = Flag("add_bos_token", add_bos_);
  if (!add_bos.ok()) return add_bos.status();
  if (*add_bos) {
    if (!parts_.bos) return Error("bos_token_id", "an id", "nothing");
    parts_.prefix.push_back(*parts_.bos);
  }
  // Both spellings are in use.
  for (const absl::string_view key :
       {"add_eos_token", "add_space_prefix", "add_prefix_space"}) {
    const absl::StatusOr<bool> flag = Flag(key, false);
    if (!flag.ok()) return flag.status();
    if (*flag) return Refusal(key, "false", "true");
  }
  constexpr absl::string_view kTemplate = "tokenizer.chat_template";
  if (const GgufValue* const value = gguf_->FindValue(kTemplate)) {
    const auto* const text = std::get_if<absl::string_view>(value);
    if (text == nullptr) {
      return TokenizerError(parts_.file,
                            absl::StrCat("metadata ", NameText(kTemplate)),
                            "a string", "another type");
    }
    parts_.chat_template = std::string(*text);
  }
  return absl::OkStatus();
}

absl::StatusOr<TokenizerParts> Reader::Read() {
  absl::Status status = ReadKind();
  if (status.ok()) status = ReadTokens();
  if (status.ok()) status = ReadMerges();
  if (status.ok()) status = ReadSpecials();
  if (!status.ok()) return status;
  return std::move(parts_);
}

}  // namespace

absl::StatusOr<TokenizerParts> ReadGgufTokenizer(absl::string_view path) {
  absl::StatusOr<GgufFile> gguf = GgufFile::Open(path);
  if (!gguf.ok()) return gguf.status();
  return Reader(std::make_shared<const GgufFile>(*std::move(gguf))).Read();
}

}  // namespace ulpscope
