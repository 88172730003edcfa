#ifndef TESTS_MODEL_SYNTHETIC_TENSOR_VALUES_H_
#define TESTS_MODEL_SYNTHETIC_TENSOR_VALUES_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "model/architecture/config.h"
#include "model/files/tensor.h"

namespace ulpscope {

// What a synthetic checkpoint should hold and what it does.

using NamedShape = std::pair<std::string, std::vector<int64_t>>;

// Every tensor of a decoder, written down independently of the generator's.
std::vector<NamedShape> AllTensors(const ModelConfig& c);

std::vector<uint16_t> LoadBits(TensorSource* source, const NamedShape& named);

double Std(const std::vector<double>& x);

}  // namespace ulpscope

#endif  // TESTS_MODEL_SYNTHETIC_TENSOR_VALUES_H_
