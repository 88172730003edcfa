#ifndef MODEL_ARCHITECTURE_ATTENTION_FORM_H_
#define MODEL_ARCHITECTURE_ATTENTION_FORM_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace ulpscope {

enum class AttentionKind : uint8_t {
  kEager,    // scores, softmax and weighted values, each rounded
  kSdpa,     // PyTorch's fused attention on CPUs
  kFlash2,   // FlashAttention 2, of blocks of keys
  kFlash4,   // its rescaling only where the maximum grows by a threshold
  kSplitKv,  // FlashDecoding: parts of the keys, put together at the end
  kGgml,     // llama.cpp's on CPUs, key by key
};

// How a layer's attention is computed around the strategies of its ops qk,
// softmax and av (docs/numerics.md). All forms but the eager one are fused:
// scores, weights and sums of values are not rounded between these ops.
struct AttentionForm {
  AttentionKind kind = AttentionKind::kEager;
  uint32_t block = 0;   // keys of a block, of kFlash2
  uint32_t parts = 0;   // of kSplitKv
  float threshold = 0;  // in powers of 2, of kFlash4

  bool fused() const { return kind != AttentionKind::kEager; }

  // Reads "eager", "sdpa", "fa2(64)", "fa4(8)" (or "fa4"), "splitkv(4)",
  // "ggml".
  static absl::StatusOr<AttentionForm> Parse(absl::string_view text);
  // Equal forms have equal text, which Parse reads back.
  std::string Text() const;

  friend bool operator==(const AttentionForm& a, const AttentionForm& b);
  friend bool operator!=(const AttentionForm& a, const AttentionForm& b) {
    return !(a == b);
  }
  friend bool operator<(const AttentionForm& a, const AttentionForm& b);
};

// For --help.
struct AttentionFormInfo {
  const char* name;  // "fa2(KEYS)"
  const char* summary;
};

absl::Span<const AttentionFormInfo> AttentionForms();

}  // namespace ulpscope

#endif  // MODEL_ARCHITECTURE_ATTENTION_FORM_H_
