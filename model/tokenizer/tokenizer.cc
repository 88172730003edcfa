#include "model/tokenizer/tokenizer.h"

#include <sys/stat.h>

#include <algorithm>
#include <deque>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "model/files/tensor.h"
#include "model/tokenizer/bpe.h"
#include "model/tokenizer/byte_alphabet.h"
#include "model/tokenizer/gguf_tokenizer.h"
#include "model/tokenizer/hf_tokenizer.h"
#include "model/tokenizer/nfc.h"
#include "model/tokenizer/unicode.h"

namespace ulpscope {
namespace {

constexpr size_t kMaxText = size_t{1} << 31;  // positions are int32_t

std::string PairText(absl::string_view first, absl::string_view second) {
  return absl::StrCat(NameText(first), " ", NameText(second));
}

}  // namespace

struct Tokenizer::Data {
  PreTokenizer pre_tokenizer = PreTokenizer::kQwen2;
  bool nfc = false;
  Bpe bpe;
  // Words that are tokens whatever the merges say; empty if there are none.
  absl::flat_hash_map<std::string, int32_t> whole_words;
  AddedTokenFinder raw_finder;         // in the text as it is
  AddedTokenFinder normalized_finder;  // in what lies between these, in NFC
  std::vector<AddedToken> added;
  // The bytes of token i are [ends[i - 1], ends[i]) of this.
  std::string bytes;
  std::vector<size_t> ends;
  std::vector<bool> is_token;
  std::vector<int32_t> prefix;
  std::optional<int32_t> bos;
  std::vector<int32_t> eos;
  std::optional<std::string> chat_template;

  // An id that the file names under `key` must be a token's.
  absl::Status CheckId(const TokenizerParts& parts, absl::string_view key,
                       int64_t id) const {
    if (id >= 0 && id < static_cast<int64_t>(is_token.size()) &&
        is_token[static_cast<size_t>(id)]) {
      return absl::OkStatus();
    }
    return TokenizerError(
        parts.file, key,
        absl::StrCat("the id of one of ", is_token.size(), " tokens"),
        absl::StrCat(id));
  }

  absl::Status ReadVocabulary(const TokenizerParts& parts);
  absl::Status ReadMerges(
      const TokenizerParts& parts,
      const absl::flat_hash_map<absl::string_view, int32_t>& ids);
  absl::Status ReadAdded(const TokenizerParts& parts);
  absl::Status ReadSpecials(const TokenizerParts& parts);
};

// What tokens are called, which id each has, and the bytes of all.
absl::Status Tokenizer::Data::ReadVocabulary(const TokenizerParts& parts) {
  size_t size = parts.tokens.size();
  for (const AddedToken& token : parts.added) {
    if (token.id < 0 || token.id > kMaxTokenId) {
      return TokenizerError(
          parts.file, absl::StrCat("added token ", NameText(token.content)),
          absl::StrCat("an id of 0 to ", kMaxTokenId), absl::StrCat(token.id));
    }
    size = std::max(size, static_cast<size_t>(token.id) + 1);
  }
  std::vector<const AddedToken*> added_by_id(size);
  for (const AddedToken& token : added) {
    added_by_id[static_cast<size_t>(token.id)] = &token;
  }
  is_token.resize(size);
  ends.reserve(size);
  for (size_t id = 0; id < size; ++id) {
    const bool in_vocabulary =
        id < parts.tokens.size() && parts.tokens[id].data() != nullptr;
    is_token[id] = in_vocabulary || added_by_id[id] != nullptr;
    if (added_by_id[id] != nullptr) {
      bytes += added_by_id[id]->content;
    } else if (in_vocabulary) {
      AppendTokenBytes(parts.tokens[id], bytes);
    }
    ends.push_back(bytes.size());
  }

  absl::flat_hash_map<absl::string_view, int32_t> ids;
  ids.reserve(parts.tokens.size());
  std::vector<bool> is_unused(size);
  for (const int32_t id : parts.unused) {
    const absl::Status status = CheckId(parts, "unused token", id);
    if (!status.ok()) return status;
    is_unused[static_cast<size_t>(id)] = true;
  }
  for (size_t id = 0; id < parts.tokens.size(); ++id) {
    const absl::string_view text = parts.tokens[id];
    if (text.data() == nullptr || is_unused[id]) continue;
    const auto [entry, inserted] =
        ids.try_emplace(text, static_cast<int32_t>(id));
    if (!inserted) {
      return TokenizerError(parts.file, absl::StrCat("token ", NameText(text)),
                            "one id", absl::StrCat(entry->second, " and ", id));
    }
  }
  for (const AddedToken& token : added) {
    const auto found = ids.find(token.content);
    const bool other_id = found != ids.end() && found->second != token.id;
    const size_t id = static_cast<size_t>(token.id);
    const bool other_text = id < parts.tokens.size() &&
                            parts.tokens[id].data() != nullptr &&
                            parts.tokens[id] != token.content;
    if (other_id || other_text) {
      return TokenizerError(
          parts.file, absl::StrCat("added token ", NameText(token.content)),
          "the id and the text of the vocabulary",
          other_id ? absl::StrCat("id ", token.id, ", not ", found->second)
                   : absl::StrCat("id ", token.id, ", which is ",
                                  NameText(parts.tokens[id])));
    }
  }
  for (int byte = 0; byte < 256; ++byte) {
    const auto found = ids.find(ByteText(static_cast<uint8_t>(byte)));
    if (found != ids.end()) {
      bpe.SetByte(static_cast<uint8_t>(byte), found->second);
    }
  }
  if (parts.ignore_merges) {
    for (const auto& [text, id] : ids) {
      std::string word;
      AppendTokenBytes(text, word);
      whole_words.try_emplace(std::move(word), id);
    }
  }
  return ReadMerges(parts, ids);
}

absl::Status Tokenizer::Data::ReadMerges(
    const TokenizerParts& parts,
    const absl::flat_hash_map<absl::string_view, int32_t>& ids) {
  bpe.Reserve(parts.merges.size());
  std::string merged;
  for (size_t rank = 0; rank < parts.merges.size(); ++rank) {
    const auto& [first, second] = parts.merges[rank];
    merged.assign(first.data(), first.size());
    merged.append(second.data(), second.size());
    int32_t id[3];
    size_t i = 0;
    for (const absl::string_view text :
         {first, second, absl::string_view(merged)}) {
      const auto found = ids.find(text);
      if (found == ids.end()) {
        return TokenizerError(
            parts.file,
            absl::StrCat("merge ", rank, " (", PairText(first, second), ")"),
            "tokens of the vocabulary",
            absl::StrCat("unknown ", NameText(text)));
      }
      id[i++] = found->second;
    }
    if (!bpe.AddMerge(id[0], id[1], static_cast<uint32_t>(rank), id[2])) {
      return TokenizerError(
          parts.file,
          absl::StrCat("merge ", rank, " (", PairText(first, second), ")"),
          "each pair once", "it twice");
    }
  }
  return absl::OkStatus();
}

absl::Status Tokenizer::Data::ReadAdded(const TokenizerParts& parts) {
  added = parts.added;
  std::sort(
      added.begin(), added.end(),
      [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  absl::flat_hash_map<absl::string_view, int32_t> ids;
  for (size_t i = 0; i < added.size(); ++i) {
    const AddedToken& token = added[i];
    const std::string key =
        absl::StrCat("added token ", NameText(token.content));
    if (token.content.empty() ||
        token.content.size() > AddedTokenFinder::kMaxContent ||
        FindInvalidUtf8(token.content)) {
      return TokenizerError(
          parts.file, key,
          absl::StrCat("UTF-8 of 1 to ", AddedTokenFinder::kMaxContent,
                       " bytes"),
          absl::StrCat(token.content.size(), " bytes"));
    }
    const auto [entry, inserted] = ids.try_emplace(token.content, token.id);
    if (!inserted) {
      return TokenizerError(
          parts.file, key, "it once",
          absl::StrCat("ids ", entry->second, " and ", token.id));
    }
    if (i > 0 && added[i - 1].id == token.id) {
      return TokenizerError(
          parts.file, key, "an id of its own",
          absl::StrCat("that of ", NameText(added[i - 1].content)));
    }
    if (token.normalized) {
      const std::optional<std::string> normal =
          nfc ? ToNfc(token.content) : std::nullopt;
      normalized_finder.Add(normal ? *normal : token.content, token.id);
    } else {
      raw_finder.Add(token.content, token.id);
    }
  }
  return absl::OkStatus();
}

absl::Status Tokenizer::Data::ReadSpecials(const TokenizerParts& parts) {
  prefix = parts.prefix;
  bos = parts.bos;
  eos = parts.eos;
  std::sort(eos.begin(), eos.end());
  eos.erase(std::unique(eos.begin(), eos.end()), eos.end());
  chat_template = parts.chat_template;
  for (const int32_t id : prefix) {
    const absl::Status status = CheckId(parts, "tokens before a text", id);
    if (!status.ok()) return status;
  }
  if (bos) {
    const absl::Status status = CheckId(parts, "bos token", *bos);
    if (!status.ok()) return status;
  }
  for (const int32_t id : eos) {
    const absl::Status status = CheckId(parts, "eos token", id);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::StatusOr<Tokenizer> Tokenizer::FromParts(const TokenizerParts& parts) {
  const auto data = std::make_shared<Data>();
  data->pre_tokenizer = parts.pre_tokenizer;
  data->nfc = parts.nfc;
  absl::Status status = data->ReadAdded(parts);
  if (status.ok()) status = data->ReadVocabulary(parts);
  if (status.ok()) status = data->ReadSpecials(parts);
  if (!status.ok()) return status;
  return Tokenizer(data);
}

absl::StatusOr<Tokenizer> Tokenizer::Load(absl::string_view path) {
  struct stat info;
  const bool is_folder =
      stat(std::string(path).c_str(), &info) == 0 && S_ISDIR(info.st_mode);
  absl::StatusOr<TokenizerParts> parts = absl::NotFoundError(absl::StrCat(
      path,
      ": has no tokenizer: expected a Hugging Face folder or a .gguf file"));
  if (is_folder) {
    parts = ReadHfTokenizer(path);
  } else if (absl::EndsWith(path, ".gguf")) {
    parts = ReadGgufTokenizer(path);
  }
  if (!parts.ok()) return parts.status();
  return FromParts(*parts);
}

// Encodes pieces of a text, one after the other.
struct Tokenizer::Run {
  const Data& data;
  Encoding encoding;
  Bpe::Scratch scratch;
  std::vector<absl::string_view> words;
  // Normalized pieces, which `seen` refers to.
  std::deque<std::string> normalized;
  // Where in `encoding.ids` the tokens of a word are that has come before.
  struct Place {
    size_t begin;
    size_t size;
    size_t dropped_bytes;
  };
  absl::flat_hash_map<absl::string_view, Place> seen;

  // Text in which there are no added tokens any more.
  void AddPlain(absl::string_view text) {
    words.clear();
    Split(data.pre_tokenizer, text, words);
    std::vector<int32_t>& ids = encoding.ids;
    for (const absl::string_view word : words) {
      const auto [entry, is_new] =
          seen.try_emplace(word, Place{ids.size(), 0, 0});
      Place& place = entry->second;
      if (is_new) {
        place.dropped_bytes = AddWord(word);
        place.size = ids.size() - place.begin;
      } else {
        const size_t size = ids.size();
        ids.resize(size + place.size);
        std::copy_n(ids.data() + place.begin, place.size, ids.data() + size);
      }
      encoding.dropped_bytes += place.dropped_bytes;
    }
  }

  // Returns the number of bytes that have no token.
  size_t AddWord(absl::string_view word) {
    if (!data.whole_words.empty()) {
      const auto whole = data.whole_words.find(word);
      if (whole != data.whole_words.end()) {
        encoding.ids.push_back(whole->second);
        return 0;
      }
    }
    return data.bpe.Append(word, scratch, encoding.ids);
  }

  // Calls `add` with what lies between the tokens that `finder` finds.
  template <class Add>
  void Between(const AddedTokenFinder& finder, absl::string_view text,
               Add add) {
    size_t at = 0;
    while (const auto match = finder.Find(text, at)) {
      if (match->begin > at) add(text.substr(at, match->begin - at));
      encoding.ids.push_back(match->id);
      at = match->begin + match->size;
    }
    if (at < text.size()) add(text.substr(at));
  }

  absl::string_view Normalized(absl::string_view text) {
    std::optional<std::string> normal = data.nfc ? ToNfc(text) : std::nullopt;
    if (!normal) return text;
    encoding.normalized = true;
    normalized.push_back(*std::move(normal));
    return normalized.back();
  }
};

absl::StatusOr<Encoding> Tokenizer::Encode(absl::string_view text,
                                           const EncodeOptions& options) const {
  if (text.size() >= kMaxText) {
    return absl::InvalidArgumentError(absl::StrCat(
        "text: expected fewer than 2^31 bytes, found ", text.size()));
  }
  if (const std::optional<size_t> at = FindInvalidUtf8(text)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "text: expected UTF-8, found another byte at offset ", *at));
  }
  Run run{*data_, {}, {}, {}, {}, {}};
  if (options.add_bos) run.encoding.ids = data_->prefix;
  if (options.added_tokens) {
    run.Between(data_->raw_finder, text, [&](absl::string_view raw) {
      run.Between(data_->normalized_finder, run.Normalized(raw),
                  [&](absl::string_view plain) { run.AddPlain(plain); });
    });
  } else {
    run.AddPlain(run.Normalized(text));
  }
  return std::move(run.encoding);
}

absl::StatusOr<absl::string_view> Tokenizer::TokenBytes(int32_t id) const {
  const size_t i = static_cast<size_t>(id);
  if (id < 0 || i >= data_->is_token.size() || !data_->is_token[i]) {
    return absl::OutOfRangeError(
        absl::StrCat("token ", id, ": expected an id of the vocabulary of ",
                     data_->is_token.size()));
  }
  const size_t begin = i == 0 ? 0 : data_->ends[i - 1];
  return absl::string_view(data_->bytes).substr(begin, data_->ends[i] - begin);
}

absl::StatusOr<std::string> Tokenizer::Decode(
    absl::Span<const int32_t> ids) const {
  std::string text;
  for (const int32_t id : ids) {
    const absl::StatusOr<absl::string_view> bytes = TokenBytes(id);
    if (!bytes.ok()) return bytes.status();
    absl::StrAppend(&text, *bytes);
  }
  return text;
}

std::optional<int32_t> Tokenizer::FindToken(absl::string_view content) const {
  for (const AddedToken& token : data_->added) {
    if (token.content == content) return token.id;
  }
  return std::nullopt;
}

int32_t Tokenizer::vocab_size() const {
  return static_cast<int32_t>(data_->is_token.size());
}

const std::vector<AddedToken>& Tokenizer::added_tokens() const {
  return data_->added;
}

const std::vector<int32_t>& Tokenizer::eos_ids() const { return data_->eos; }

std::optional<int32_t> Tokenizer::bos_id() const { return data_->bos; }

const std::vector<int32_t>& Tokenizer::prefix() const { return data_->prefix; }

const std::optional<std::string>& Tokenizer::chat_template() const {
  return data_->chat_template;
}

}  // namespace ulpscope
