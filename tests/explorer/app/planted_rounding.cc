// A change of one rounding, as a program of the tests has it: linked with
// --wrap (BUILD), every call of AddResidual (kernels/ops/residual.h) comes
// here, and f32's sum is rounded once more.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/strategy/strategy.h"

// The linker's names: of what is called instead, and of what was meant.
#define WRAP_ADD_RESIDUAL \
  __wrap__ZN8ulpscope11AddResidualENS_8StrategyEPKdmPdS3_
#define REAL_ADD_RESIDUAL \
  __real__ZN8ulpscope11AddResidualENS_8StrategyEPKdmPdS3_

extern "C" {

void REAL_ADD_RESIDUAL(ulpscope::Strategy strategy, const double* update,
                       size_t n, double* stream, double* carry);

void WRAP_ADD_RESIDUAL(ulpscope::Strategy strategy, const double* update,
                       size_t n, double* stream, double* carry) {
  REAL_ADD_RESIDUAL(strategy, update, n, stream, carry);
  if (strategy.name() != "f32") return;
  for (size_t i = 0; i < n; ++i) {
    // To bf16, toward zero.
    const float sum = static_cast<float>(stream[i]);
    uint32_t bits;
    std::memcpy(&bits, &sum, sizeof(bits));
    bits &= 0xffff0000u;
    float rounded;
    std::memcpy(&rounded, &bits, sizeof(rounded));
    stream[i] = rounded;
  }
}

}  // extern "C"
