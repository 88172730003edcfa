#include "kernels/ops/engine_operands.h"

#include "kernels/base/dtype.h"
#include "kernels/ops/block_layout.h"
#include "kernels/ops/panels.h"
#include "kernels/strategy/engine.h"

namespace ulpscope {
namespace {

// What ggml's CPU backend rounds activations to: vec_dot_type of
// ggml/src/ggml-cpu/ggml-cpu.c.
OperandForm FormForGgml(const PanelsView& b) {
  if (b.blocks != nullptr) {
    const BlockLayout& layout = b.blocks->layout;
    // FP8 is no type of ggml's: such weights are widened.
    if (layout.is_e4m3) return {};
    if (layout.elements == 256) return {Code::kQ8_K, 256};
    return {layout.has_min ? Code::kQ8_1 : Code::kQ8_0, 32};
  }
  switch (b.dtype) {
    case DType::kF16:
      return {Code::kF16};
    case DType::kBF16:
      return {Code::kBF16};
    case DType::kF32:
    case DType::kF64:
      break;
  }
  return {};
}

}  // namespace

OperandForm FormOfActivations(Quantizer quantizer, const PanelsView& b) {
  switch (quantizer) {
    case Quantizer::kNone:
      return {};
    case Quantizer::kBF16:
      return {Code::kBF16};
    case Quantizer::kF16:
      return {Code::kF16};
    case Quantizer::kTF32:
      return {Code::kTF32};
    case Quantizer::kTF32Nearest:
      return {Code::kTF32Nearest};
    case Quantizer::kE4M3:
      return {Code::kE4M3};
    case Quantizer::kE4M3Blocks:
      return {Code::kE4M3, kE4M3Block};
    case Quantizer::kMXFP8:
      return {Code::kMXE4M3, kMXBlock};
    case Quantizer::kMXFP4:
      return {Code::kMXE2M1, kMXBlock};
    case Quantizer::kNVFP4:
      return {Code::kNVE2M1, kNVBlock};
    case Quantizer::kInt8:
      return {Code::kInt8};
    case Quantizer::kGgml:
      return FormForGgml(b);
  }
  HWY_ABORT("Quantizer %d", static_cast<int>(quantizer));
}

OperandForm FormOfB(Quantizer quantizer, const PanelsView& b) {
  OperandForm form = FormOfActivations(quantizer, b);
  if (quantizer == Quantizer::kGgml) return {Code::kF32, form.block};
  if (b.activations) return form;
  if (quantizer == Quantizer::kE4M3Blocks) {
    form.tile_panels = kE4M3Block / kPanelWidth;
  }
  form.of_tensor = quantizer == Quantizer::kNVFP4;
  return form;
}

}  // namespace ulpscope
