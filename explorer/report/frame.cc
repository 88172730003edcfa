#include "explorer/report/frame.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/results/schema.h"
#include "model/architecture/config.h"

namespace ulpscope {
namespace {

// Tokens that are listed; of more, the number.
constexpr size_t kMostTokens = 16;

std::optional<std::string> IfAny(absl::string_view text) {
  if (text.empty()) return std::nullopt;
  return std::string(text);
}

const Fields<RunInfo>& ContextFields() {
  using I = RunInfo;
  const auto n = Unit::kNone;
  static const auto* fields = new Fields<RunInfo>{
      {"model", "", n, "The checkpoint, as --model names it.", &I::model},
      {"synthetic", "", n, "Whether its weights are generated.", &I::synthetic},
      {"model_fingerprint", "", n,
       "A hash of its hyperparameters and of all bytes of its tensors.",
       &I::model_fingerprint},
      {"architecture", "", n, "Of config.json.",
       [](const I& i) { return ArchitectureName(i.config.architecture); }},
      {"num_hidden_layers", "", n, "Of config.json.",
       [](const I& i) { return i.config.num_hidden_layers; }},
      {"hidden_size", "", n, "Of config.json.",
       [](const I& i) { return i.config.hidden_size; }},
      {"intermediate_size", "", n, "Of config.json.",
       [](const I& i) { return i.config.intermediate_size; }},
      {"num_attention_heads", "", n, "Of config.json.",
       [](const I& i) { return i.config.num_attention_heads; }},
      {"num_key_value_heads", "", n, "Of config.json.",
       [](const I& i) { return i.config.num_key_value_heads; }},
      {"head_dim", "", n, "Of config.json.",
       [](const I& i) { return i.config.head_dim; }},
      {"vocab_size", "", n, "Of config.json.",
       [](const I& i) { return i.config.vocab_size; }},
      {"decode_bytes", "", Unit::kBytes,
       "Bytes of weights that a decode step reads.", &I::decode_bytes},
      {"load_seconds", "", Unit::kSeconds, "Time that loading took.",
       &I::load_seconds},
      {"build_commit", "", n,
       "The commit of the program, with -changed behind it if files were; "
       "unknown without git.",
       &I::build_commit},
      {"cpu", "", n, "The CPU's name.", &I::cpu},
      {"target", "", n, "Highway's SIMD target.", &I::target},
      {"threads", "", n, "Threads of the kernels.", &I::threads},
  };
  return *fields;
}

}  // namespace

Table ContextTable(const RunInfo& info, absl::string_view stopped_in) {
  Table table =
      MakeSingle("context", "What was run, and where.", ContextFields(), &info);
  const bool stopped = !stopped_in.empty();
  AddValue(table, "stopped_by", Unit::kNone,
           "What stopped the run; null if it was finished.",
           IfAny(stopped ? info.stopped_by : ""));
  AddValue(table, "stopped_in", Unit::kNone,
           "The first part that was not finished; null if all was.",
           IfAny(stopped_in));
  return table;
}

void AddAgainst(Table& context, const RunInfo& info) {
  AddValue(context, "against", Unit::kNone,
           "The plan that errors are against, the reference.", info.against);
}

std::string ReportHead(absl::string_view title, const RunInfo& info,
                       absl::string_view more, absl::string_view stopped_in) {
  const ModelConfig& c = info.config;
  std::string text = absl::StrFormat(
      "# %s\n\nModel: %s%s, %s: %d layers, hidden %d, intermediate %d, %d "
      "heads, %d KV heads of %d, vocabulary %d\n\nRun on %s, target %s, %d "
      "threads%s\n",
      title, info.model, info.synthetic ? " (SYNTHETIC weights)" : "",
      ArchitectureName(c.architecture), c.num_hidden_layers, c.hidden_size,
      c.intermediate_size, c.num_attention_heads, c.num_key_value_heads,
      c.head_dim, c.vocab_size, info.cpu, info.target, info.threads, more);
  if (!stopped_in.empty()) {
    absl::StrAppend(&text, "\n**Stopped by ", info.stopped_by, ": ", stopped_in,
                    ".** `-` is what was not measured.\n");
  }
  return text;
}

std::string TokensText(const std::vector<int32_t>& tokens) {
  return tokens.size() > kMostTokens
             ? absl::StrCat(tokens.size(), " tokens")
             : absl::StrCat(tokens.size() == 1 ? "token " : "tokens ",
                            absl::StrJoin(tokens, ","));
}

std::string FirstTokensText(const RunInfo& info,
                            const std::vector<int32_t>& tokens) {
  const auto first =
      absl::MakeConstSpan(tokens).first(std::min(tokens.size(), kMostTokens));
  std::vector<std::string> texts;
  for (size_t i = 0; i < first.size(); ++i) {
    texts.push_back(info.text_of
                        ? absl::StrFormat("\"%s\"(%d)",
                                          info.text_of(first.subspan(i, 1)),
                                          first[i])
                        : absl::StrCat(first[i]));
  }
  const std::string text = absl::StrCat(
      absl::StrJoin(texts, " "), first.size() < tokens.size() ? " ..." : "");
  // One backtick in it would end the code; two with spaces hold it.
  return absl::StrContains(text, '`') ? absl::StrCat("`` ", text, " ``")
                                      : absl::StrCat("`", text, "`");
}

std::string ReportTail(const RunInfo& info) {
  if (!info.synthetic) return "";
  return absl::StrCat("\nAll figures are of SYNTHETIC weights (", info.model,
                      "), not of a trained model.\n");
}

}  // namespace ulpscope
