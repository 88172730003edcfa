#include "model/architecture/attention_form.h"

#include <cmath>
#include <cstdint>
#include <string>
#include <tuple>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/types/span.h"

namespace ulpscope {
namespace {

constexpr uint32_t kMostKeys = 65536;  // of a block
constexpr uint32_t kMostParts = 1024;
constexpr float kDefaultThreshold = 8;

constexpr AttentionFormInfo kForms[] = {
    {"eager", "qk, softmax and av round their results"},
    {"sdpa", "fused as in PyTorch's attention for CPUs"},
    {"fa2(KEYS)", "FlashAttention 2, in blocks of so many keys"},
    {"fa4(LOG2)",
     "FlashAttention 4, which rescales by more than 2^LOG2; or fa4"},
    {"splitkv(PARTS)", "FlashDecoding, of so many parts of the keys"},
    {"ggml", "llama.cpp's flash attention for CPUs, key by key"},
};

auto Fields(const AttentionForm& form) {
  return std::tie(form.kind, form.block, form.parts, form.threshold);
}

// The argument of name(ARGUMENT).
bool ArgumentOf(absl::string_view name, absl::string_view text,
                absl::string_view& argument) {
  argument = text;
  return absl::ConsumePrefix(&argument, name) &&
         absl::ConsumePrefix(&argument, "(") &&
         absl::ConsumeSuffix(&argument, ")");
}

bool ReadCount(absl::string_view text, uint32_t most, uint32_t& count) {
  return absl::SimpleAtoi(text, &count) && count >= 1 && count <= most;
}

// The fewest digits that read back.
std::string NumberText(float x) {
  for (int digits = 1; digits < 9; ++digits) {
    std::string text = absl::StrFormat("%.*g", digits, x);
    float read = 0;
    if (absl::SimpleAtof(text, &read) && read == x) return text;
  }
  return absl::StrFormat("%.9g", x);
}

}  // namespace

absl::StatusOr<AttentionForm> AttentionForm::Parse(absl::string_view text) {
  AttentionForm form;
  absl::string_view argument;
  if (text == "eager") return form;
  if (text == "sdpa") {
    form.kind = AttentionKind::kSdpa;
    return form;
  }
  if (text == "ggml") {
    form.kind = AttentionKind::kGgml;
    return form;
  }
  if (ArgumentOf("fa2", text, argument) &&
      ReadCount(argument, kMostKeys, form.block)) {
    form.kind = AttentionKind::kFlash2;
    return form;
  }
  if (text == "fa4") {
    form.kind = AttentionKind::kFlash4;
    form.threshold = kDefaultThreshold;
    return form;
  }
  if (ArgumentOf("fa4", text, argument) &&
      absl::SimpleAtof(argument, &form.threshold) &&
      std::isfinite(form.threshold) && form.threshold >= 0) {
    form.kind = AttentionKind::kFlash4;
    form.threshold = std::fabs(form.threshold);  // of -0
    return form;
  }
  if (ArgumentOf("splitkv", text, argument) &&
      ReadCount(argument, kMostParts, form.parts)) {
    form.kind = AttentionKind::kSplitKv;
    return form;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "'", text, "' is no form of attention: ",
      absl::StrJoin(kForms, ", ",
                    [](std::string* out, const AttentionFormInfo& info) {
                      absl::StrAppend(out, info.name);
                    }),
      ", with at most ", kMostKeys, " keys and ", kMostParts, " parts"));
}

absl::Span<const AttentionFormInfo> AttentionForms() { return kForms; }

std::string AttentionForm::Text() const {
  switch (kind) {
    case AttentionKind::kEager:
      return "eager";
    case AttentionKind::kSdpa:
      return "sdpa";
    case AttentionKind::kFlash2:
      return absl::StrCat("fa2(", block, ")");
    case AttentionKind::kFlash4:
      return absl::StrCat("fa4(", NumberText(threshold), ")");
    case AttentionKind::kSplitKv:
      return absl::StrCat("splitkv(", parts, ")");
    case AttentionKind::kGgml:
      return "ggml";
  }
  return "";
}

bool operator==(const AttentionForm& a, const AttentionForm& b) {
  return Fields(a) == Fields(b);
}

bool operator<(const AttentionForm& a, const AttentionForm& b) {
  return Fields(a) < Fields(b);
}

}  // namespace ulpscope
