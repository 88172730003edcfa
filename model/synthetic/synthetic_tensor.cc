#include "model/synthetic/synthetic_tensor.h"

#include <algorithm>
#include <cstring>
#include <thread>
#include <vector>

#include "model/synthetic/counter_rng.h"

namespace ulpscope {
namespace {

// Below this a thread costs more than it generates (about 5 ns an element).
constexpr int64_t kMinElementsPerThread = 1 << 16;

// By way of f32, so rounded twice; all that matters is that it is always done
// the same way. NaN does not occur.
uint16_t Bf16Bits(double value) {
  const float narrow = static_cast<float>(value);
  uint32_t bits;
  std::memcpy(&bits, &narrow, sizeof(bits));
  bits += 0x7fff + ((bits >> 16) & 1);
  return static_cast<uint16_t>(bits >> 16);
}

// mean + std * z of a tensor or patch.
class Distribution {
 public:
  Distribution(double mean, double std)
      : mean_(mean), scale_(std / CounterRng::kIrwinHallStd) {}

  uint16_t operator()(const CounterRng& rng, int64_t i) const {
    return Bf16Bits(mean_ + scale_ * rng.IrwinHall(i));
  }

 private:
  double mean_;
  double scale_;
};

}  // namespace

double Bf16ToDouble(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &wide, sizeof(value));
  return value;
}

void Generate(const SyntheticTensor& tensor, int num_threads, uint16_t* out) {
  const CounterRng rng(tensor.stream);
  const int64_t size = tensor.rows * tensor.cols;
  const Distribution base(tensor.mean, tensor.std);
  const auto generate = [&rng, &base, out](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) out[i] = base(rng, i);
  };
  const int64_t parts = std::clamp<int64_t>(size / kMinElementsPerThread, 1,
                                            std::max(num_threads, 1));
  std::vector<std::thread> threads;
  for (int64_t part = 1; part < parts; ++part) {
    threads.emplace_back(generate, size * part / parts,
                         size * (part + 1) / parts);
  }
  generate(0, size / parts);
  for (std::thread& thread : threads) thread.join();

  for (const SyntheticTensor::Patch& patch : tensor.patches) {
    const Distribution patched(patch.mean, patch.std);
    const bool all_rows = patch.row == SyntheticTensor::kAll;
    const bool all_cols = patch.col == SyntheticTensor::kAll;
    const int64_t row_end = all_rows ? tensor.rows : patch.row + 1;
    const int64_t col_end = all_cols ? tensor.cols : patch.col + 1;
    for (int64_t row = all_rows ? 0 : patch.row; row < row_end; ++row) {
      for (int64_t col = all_cols ? 0 : patch.col; col < col_end; ++col) {
        const int64_t i = row * tensor.cols + col;
        out[i] = patched(rng, i);
      }
    }
  }
}

double SyntheticElement(const SyntheticTensor& tensor, int64_t row,
                        int64_t col) {
  double mean = tensor.mean;
  double std = tensor.std;
  for (const SyntheticTensor::Patch& patch : tensor.patches) {
    if ((patch.row == SyntheticTensor::kAll || patch.row == row) &&
        (patch.col == SyntheticTensor::kAll || patch.col == col)) {
      mean = patch.mean;
      std = patch.std;
    }
  }
  const CounterRng rng(tensor.stream);
  return Bf16ToDouble(Distribution(mean, std)(rng, row * tensor.cols + col));
}

double RoundToBf16(double value) { return Bf16ToDouble(Bf16Bits(value)); }

}  // namespace ulpscope
