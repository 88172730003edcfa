#ifndef TESTS_MODEL_DECODER_ATTENDED_POSITIONS_H_
#define TESTS_MODEL_DECODER_ATTENDED_POSITIONS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/base/format.h"
#include "kernels/base/matrix.h"
#include "model/architecture/attention_form.h"
#include "model/decoder/attention.h"
#include "model/decoder/kv_cache.h"
#include "tests/model/decoder/textbook_attention.h"

namespace ulpscope {

// Attention of random positions, of 4 heads that share 2 of keys and values.
inline constexpr size_t kHeads = 4, kKvHeads = 2;

// As AttentionForm::Parse reads it.
AttentionForm FormOf(const std::string& text);

// Queries, keys and values.
class Positions {
 public:
  // Scores have about `spread` as their standard deviation, and grow as
  // positions do.
  Positions(size_t count, size_t head_dim, double spread, uint64_t seed);

  size_t count() const { return count_; }
  size_t head_dim() const { return head_dim_; }
  double scale() const;
  Matrix<const double> q() const {
    return {q_.data(), count_, kHeads * head_dim_};
  }
  std::vector<double>& queries() { return q_; }
  double* Key(size_t position) {
    return k_.data() + position * kKvHeads * head_dim_;
  }

  // Rounds everything.
  void RoundTo(Format format);

  // Of one layer, in f64.
  KvCache Cache() const;

  // Of one head at one position: all but strategies and form.
  TextbookQuery QueryOf(size_t position, size_t head) const;

 private:
  size_t count_, head_dim_;
  std::vector<double> q_, k_, v_;
};

// By name.
struct Strategies3 {
  std::string qk, softmax, av;
};

// The arguments of all positions; y is made for them.
AttentionArgs ArgsOf(const Positions& positions, const KvCache& cache,
                     const AttentionForm& form, const Strategies3& strategies,
                     std::vector<double>& y);

void AttendAll(const AttentionArgs& args, size_t rows_at_once);

// y of all positions.
std::vector<double> All(const Positions& positions, const std::string& form,
                        const Strategies3& strategies);

// What is shown of one position: a row per head.
struct Shown {
  std::vector<double> scores, weights, y;
};

Shown ShownAt(const Positions& positions, const KvCache& cache, size_t position,
              const AttentionForm& form, const Strategies3& strategies);

}  // namespace ulpscope

#endif  // TESTS_MODEL_DECODER_ATTENDED_POSITIONS_H_
