#ifndef EXPLORER_DIAGNOSIS_ARITHMETIC_PRESETS_H_
#define EXPLORER_DIAGNOSIS_ARITHMETIC_PRESETS_H_

#include <string>
#include <vector>

#include "explorer/diagnosis/points.h"
#include "kernels/base/format.h"
#include "model/checkpoint/weights.h"

namespace ulpscope {

// An arithmetic that a whole model may be run in.
struct ArithmeticPreset {
  std::string name;
  std::string plan;
  Format result = Format::kF32;  // that holds its results
  // Whether RoPE's angles are those of f32, as in transformers.
  bool rope_angles_f32 = true;
  // Whether it is one of the few that are tried with every trace. Others are
  // tried where their results are of the trace's format, and have to be clearly
  // nearer.
  bool plain = false;
  // Presets that do without one of its parts: it is not taken where one of them
  // comes as near.
  std::vector<std::string> simpler = {};
  bool taken = true;  // else it is only one of these
};

// Those that are tried with a trace, the plain ones first, `f32` among them.
// Ops none of whose values a 16-bit preset's format holds (a head, a final norm
// or a stream in f32 after a body in 16 bits) are in f32 under it.
std::vector<ArithmeticPreset> ArithmeticPresetsFor(const AlignedTrace& trace,
                                                   const Weights& weights);

}  // namespace ulpscope

#endif  // EXPLORER_DIAGNOSIS_ARITHMETIC_PRESETS_H_
