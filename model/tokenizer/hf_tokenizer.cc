#include "model/tokenizer/hf_tokenizer.h"

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "model/files/mapped_file.h"
#include "model/files/strict_json.h"
#include "model/files/tensor.h"
#include "model/tokenizer/tokenizer_json.h"
#include "nlohmann/json.hpp"

namespace ulpscope {
namespace {

using Json = nlohmann::json;
using MappedText = std::shared_ptr<const MappedFile>;

// Links that lead nowhere are there too, and an error when they are opened.
bool Exists(const std::string& path) {
  struct stat info;
  return lstat(path.c_str(), &info) == 0;
}

absl::StatusOr<MappedText> OpenText(const std::string& path) {
  absl::StatusOr<MappedText> file = MappedFile::Open(path);
  if (file.ok() && (*file)->text().size() > kMaxTokenizerFile) {
    return TokenizerError(path, "size",
                          absl::StrCat("at most ", kMaxTokenizerFile, " bytes"),
                          absl::StrCat((*file)->text().size()));
  }
  return file;
}

absl::StatusOr<std::shared_ptr<const Json>> OpenJson(const std::string& path) {
  const absl::StatusOr<MappedText> file = OpenText(path);
  if (!file.ok()) return file.status();
  absl::StatusOr<Json> json = ParseJsonObject((*file)->text(), path);
  if (!json.ok()) return json.status();
  return std::make_shared<const Json>(*std::move(json));
}

// An object without members if there is no such file.
absl::StatusOr<std::shared_ptr<const Json>> OpenJsonIfThere(
    const std::string& path) {
  if (!Exists(path)) return std::make_shared<const Json>(Json::object());
  return OpenJson(path);
}

const Json* Find(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

class Folder {
 public:
  explicit Folder(absl::string_view path) : path_(path) {}

  absl::StatusOr<TokenizerParts> Read();

 private:
  std::string File(absl::string_view name) const {
    return absl::StrCat(path_, "/", name);
  }

  absl::Status ReadMergesFile();
  absl::Status ReadVocabularyFiles();
  absl::Status ReadAddedTokensDecoder();
  // A token that tokenizer_config.json names by its text.
  absl::Status ReadToken(const char* key, std::optional<int32_t>& id) const;
  absl::Status ReadEosIds(const std::string& name, bool& found);
  absl::Status ReadChatTemplate();

  const std::string path_;
  const std::string config_path_ = File("tokenizer_config.json");
  std::shared_ptr<const Json> config_;  // its contents
  TokenizerParts parts_;
};

// What the tokens are views of: both files.
struct VocabularyFiles {
  std::shared_ptr<const Json> vocabulary;
  MappedText merges;
};

// merges.txt: a first line that says "#version", then "FIRST SECOND" by rank.
absl::Status Folder::ReadMergesFile() {
  const std::string path = File("merges.txt");
  const absl::StatusOr<MappedText> file = OpenText(path);
  if (!file.ok()) return file.status();
  absl::string_view rest = (*file)->text();
  for (size_t number = 1; !rest.empty(); ++number) {
    absl::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(line.size() < rest.size() ? line.size() + 1
                                                 : rest.size());
    if (absl::EndsWith(line, "\r")) line.remove_suffix(1);
    if (line.empty() || absl::StartsWith(line, "#version")) continue;
    parts_.merges.emplace_back();
    if (!SplitMerge(line, parts_.merges.back())) {
      return TokenizerError(path, absl::StrCat("line ", number),
                            "two tokens with a space between them",
                            NameText(line));
    }
  }
  parts_.owner = std::make_shared<VocabularyFiles>(VocabularyFiles{
      std::static_pointer_cast<const Json>(parts_.owner), *file});
  return absl::OkStatus();
}

absl::Status Folder::ReadVocabularyFiles() {
  // The files do not say how text is split; the class that reads them does.
  const Json* const kind = Find(*config_, "tokenizer_class");
  const std::string name =
      kind != nullptr && kind->is_string() ? kind->get<std::string>() : "";
  if (name != "Qwen2Tokenizer" && name != "Qwen2TokenizerFast") {
    return absl::UnimplementedError(
        TokenizerError(config_path_, "tokenizer_class",
                       "Qwen2Tokenizer, or a tokenizer.json beside it",
                       name.empty() ? "nothing" : NameText(name))
            .message());
  }
  parts_.pre_tokenizer = PreTokenizer::kQwen2;
  parts_.nfc = true;
  absl::StatusOr<std::shared_ptr<const Json>> json = OpenJson(parts_.file);
  if (!json.ok()) return json.status();
  parts_.owner = *json;
  absl::Status status = ReadVocabularyObject(**json, "vocabulary", parts_);
  if (status.ok()) status = ReadMergesFile();
  return status.ok() ? ReadAddedTokensDecoder() : status;
}

absl::Status Folder::ReadAddedTokensDecoder() {
  constexpr absl::string_view kKey = "added_tokens_decoder";
  const Json* const decoder = Find(*config_, kKey.data());
  if (decoder == nullptr) {
    return TokenizerError(config_path_, kKey, "an object", "nothing");
  }
  if (!decoder->is_object()) {
    return TokenizerError(config_path_, kKey, "an object",
                          decoder->type_name());
  }
  // Messages about these tokens name the file that has them.
  const std::string file = std::exchange(parts_.file, config_path_);
  absl::Status status;
  for (const auto& [id_text, token] :
       decoder->get_ref<const Json::object_t&>()) {
    int64_t id = 0;
    if (!absl::SimpleAtoi(id_text, &id) || id < 0 || id > kMaxTokenId) {
      return TokenizerError(
          config_path_, absl::StrCat(kKey, ".", NameText(id_text)),
          absl::StrCat("an id of 0 to ", kMaxTokenId), NameText(id_text));
    }
    status = ReadAddedToken(token, id, absl::StrCat(kKey, ".", id), parts_);
    if (!status.ok()) return status;
  }
  parts_.file = file;
  return absl::OkStatus();
}

absl::Status Folder::ReadToken(const char* key,
                               std::optional<int32_t>& id) const {
  const Json* token = Find(*config_, key);
  if (token != nullptr && token->is_object()) token = Find(*token, "content");
  if (token == nullptr) return absl::OkStatus();
  if (!token->is_string()) {
    return TokenizerError(config_path_, key, "a string", token->type_name());
  }
  const std::string& content = token->get_ref<const std::string&>();
  for (const AddedToken& added : parts_.added) {
    if (added.content == content) id = added.id;
  }
  if (!id) {
    return TokenizerError(config_path_, key, "an added token",
                          NameText(content));
  }
  return absl::OkStatus();
}

// eos_token_id: an id or several.
absl::Status Folder::ReadEosIds(const std::string& name, bool& found) {
  const std::string path = File(name);
  const absl::StatusOr<std::shared_ptr<const Json>> json =
      OpenJsonIfThere(path);
  if (!json.ok()) return json.status();
  const Json* const value = Find(**json, "eos_token_id");
  if (value == nullptr) return absl::OkStatus();
  found = true;
  const Json ids = value->is_array() ? *value : Json::array({*value});
  for (const Json& id : ids) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > kMaxTokenId) {
      return TokenizerError(path, "eos_token_id",
                            absl::StrCat("ids of 0 to ", kMaxTokenId),
                            id.is_number() ? id.dump() : id.type_name());
    }
    parts_.eos.push_back(id.get<int32_t>());
  }
  return absl::OkStatus();
}

// transformers reads chat_template.jinja first, then the string of
// tokenizer_config.json or, of several named ones, that called default.
absl::Status Folder::ReadChatTemplate() {
  const std::string path = File("chat_template.jinja");
  if (Exists(path)) {
    const absl::StatusOr<MappedText> file = OpenText(path);
    if (!file.ok()) return file.status();
    parts_.chat_template = std::string((*file)->text());
    return absl::OkStatus();
  }
  const Json* value = Find(*config_, "chat_template");
  if (value == nullptr) return absl::OkStatus();
  if (value->is_array()) {
    const Json* chosen = nullptr;
    for (const Json& named : *value) {
      const Json* const name =
          named.is_object() ? Find(named, "name") : nullptr;
      if (name != nullptr && *name == "default") {
        chosen = Find(named, "template");
      }
    }
    value = chosen;
    if (value == nullptr) return absl::OkStatus();
  }
  if (!value->is_string()) {
    return TokenizerError(config_path_, "chat_template", "a string",
                          value->type_name());
  }
  parts_.chat_template = value->get<std::string>();
  return absl::OkStatus();
}

absl::StatusOr<TokenizerParts> Folder::Read() {
  const std::string tokenizer = File("tokenizer.json");
  const std::string vocabulary = File("vocab.json");
  if (!Exists(tokenizer) && !Exists(vocabulary)) {
    return absl::NotFoundError(
        absl::StrCat(path_,
                     ": has no tokenizer: expected tokenizer.json, or "
                     "vocab.json and merges.txt"));
  }
  auto config = OpenJsonIfThere(config_path_);
  if (!config.ok()) return config.status();
  config_ = *std::move(config);
  absl::Status status;
  if (Exists(tokenizer)) {
    parts_.file = tokenizer;
    absl::StatusOr<std::shared_ptr<const Json>> json = OpenJson(tokenizer);
    if (!json.ok()) return json.status();
    status = ReadTokenizerJson(*std::move(json), parts_);
  } else {
    parts_.file = vocabulary;
    status = ReadVocabularyFiles();
  }
  if (status.ok()) status = ReadToken("bos_token", parts_.bos);
  std::optional<int32_t> eos;
  if (status.ok()) status = ReadToken("eos_token", eos);
  if (eos) parts_.eos.push_back(*eos);
  // generation_config.json is what ends transformers' generate.
  bool found = false;
  if (status.ok()) status = ReadEosIds("generation_config.json", found);
  if (status.ok() && !found) status = ReadEosIds("config.json", found);
  if (status.ok()) status = ReadChatTemplate();
  if (!status.ok()) return status;
  return std::move(parts_);
}

}  // namespace

absl::StatusOr<TokenizerParts> ReadHfTokenizer(absl::string_view folder) {
  return Folder(folder).Read();
}

}  // namespace ulpscope
