#ifndef TESTS_FUZZ_SAFETENSORS_MUTATOR_H_
#define TESTS_FUZZ_SAFETENSORS_MUTATOR_H_

#include <string>

#include "absl/strings/string_view.h"
#include "tests/fuzz/fuzz_target.h"

namespace ulpscope {

// Changes the header of a .safetensors file, whose length is then that of the
// header again; mostly also the offsets and the data fit the shapes.
std::string MutateSafetensors(Choice& choice, absl::string_view file);

}  // namespace ulpscope

#endif  // TESTS_FUZZ_SAFETENSORS_MUTATOR_H_
