#ifndef MODEL_SYNTHETIC_SYNTHETIC_TENSOR_H_
#define MODEL_SYNTHETIC_SYNTHETIC_TENSOR_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace ulpscope {

// The recipe of a generated bf16 tensor: element i (row-major) is
// mean + std * z(i) rounded to bf16, where z(i) is about Gaussian, has unit
// variance and depends on the tensor's name and i alone. A patch changes mean
// and std, not z, of the elements it covers.
struct SyntheticTensor {
  struct Patch {
    int64_t row;  // or kAll
    int64_t col;  // or kAll
    double mean;
    double std;
  };
  static constexpr int64_t kAll = -1;

  std::string stream;  // name of the random stream
  std::vector<int64_t> shape;
  int64_t rows = 1;  // a vector is one row
  int64_t cols = 0;
  double mean = 0;
  double std = 0;
  std::vector<Patch> patches;  // later ones win
};

// By Hugging Face name.
using SyntheticTensors = std::map<std::string, SyntheticTensor, std::less<>>;

// Writes the rows * cols elements, as bf16 bits, to `out`. The bits do not
// depend on num_threads >= 1.
void Generate(const SyntheticTensor& tensor, int num_threads, uint16_t* out);

// One element, the same as Generate writes.
double SyntheticElement(const SyntheticTensor& tensor, int64_t row,
                        int64_t col);

double Bf16ToDouble(uint16_t bits);

// Rounded to bf16, to nearest even.
double RoundToBf16(double value);

}  // namespace ulpscope

#endif  // MODEL_SYNTHETIC_SYNTHETIC_TENSOR_H_
