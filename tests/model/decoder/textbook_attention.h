#ifndef TESTS_MODEL_DECODER_TEXTBOOK_ATTENTION_H_
#define TESTS_MODEL_DECODER_TEXTBOOK_ATTENTION_H_

#include <cstddef>
#include <vector>

#include "model/architecture/attention_form.h"
#include "tests/kernels/ops/textbook.h"

namespace ulpscope {

// One query of one head in a fused form, as scalar loops written from
// docs/numerics.md. Exponentials and logarithms alone are the kernels' own,
// which exp_test and torch_exp_test judge.
struct TextbookQuery {
  AttentionForm form;
  const Textbook* qk = nullptr;
  const Textbook* softmax = nullptr;
  const Textbook* av = nullptr;
  double scale = 1;
  std::vector<double> q;                  // [head_dim]
  std::vector<std::vector<double>> k, v;  // [keys][head_dim]
};

struct TextbookAttention {
  std::vector<double> scores, weights;  // [keys], as they are shown
  std::vector<double> y;                // [head_dim]
  // Blocks in which a larger maximum was taken, and in which it was not.
  size_t taken = 0, left = 0;
};

TextbookAttention Attended(const TextbookQuery& query);

}  // namespace ulpscope

#endif  // TESTS_MODEL_DECODER_TEXTBOOK_ATTENTION_H_
