#ifndef BENCHMARKS_SHAPES_H_
#define BENCHMARKS_SHAPES_H_

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

namespace ulpscope {

// What decides the sizes of a decoder's kernels.
struct ModelShape {
  const char* name;
  size_t hidden, intermediate, heads, kv_heads, head_dim, vocab;
};

inline constexpr ModelShape kModelShapes[] = {
    // The seed report's, which is that of Qwen2.5-0.5B.
    {"seed", 896, 4864, 14, 2, 64, 151936},
    {"qwen3-0.6b", 1024, 3072, 16, 8, 128, 151936},
    {"qwen3-4b", 2560, 9728, 32, 8, 128, 151936},
};

// Weights of n outputs and k inputs.
struct MatMulShape {
  std::string name;  // "seed/q_proj"
  size_t n = 0, k = 0;

  bool is_lm_head() const { return name.find("lm_head") != std::string::npos; }
};

// One op per shape: v_proj is as k_proj, up_proj as gate_proj, and where it is
// square o_proj as q_proj. lm_head comes last.
inline std::vector<MatMulShape> MatMulShapes(const ModelShape& model) {
  const size_t q = model.heads * model.head_dim;
  const size_t kv = model.kv_heads * model.head_dim;
  const MatMulShape all[] = {
      {"q_proj", q, model.hidden},
      {"k_proj", kv, model.hidden},
      {"o_proj", model.hidden, q},
      {"gate_proj", model.intermediate, model.hidden},
      {"down_proj", model.hidden, model.intermediate},
      {"lm_head", model.vocab, model.hidden},
  };
  std::vector<MatMulShape> shapes;
  for (const MatMulShape& shape : all) {
    const bool known = std::any_of(
        shapes.begin(), shapes.end(),
        [&](const MatMulShape& s) { return s.n == shape.n && s.k == shape.k; });
    if (known) continue;
    shapes.push_back(
        {std::string(model.name) + "/" + shape.name, shape.n, shape.k});
  }
  return shapes;
}

}  // namespace ulpscope

#endif  // BENCHMARKS_SHAPES_H_
