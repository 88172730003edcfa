// A .npy file, and the same bytes as a .bin file.

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/types/span.h"
#include "model/files/npy.h"
#include "model/trace/trace_files.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/use_array.h"

namespace ulpscope {
namespace {

void ReadFile(const std::string& path) {
  const auto arrays = OpenTraceFiles(path);
  if (!arrays.ok()) return RequireNames(arrays.status(), path);
  Require(arrays->size() == 1, "a file of one array has several");
  const auto array = (*arrays)[0].read(0);
  // What cannot be opened is named; what is wrong in it has a name already.
  if (array.ok()) UseArray(array);
}

}  // namespace

void ReadInput(absl::string_view input) {
  static auto& npy = *new InputFile("a.npy");
  static auto& bin = *new InputFile("after_layer_1.bin");
  const auto* const bytes = reinterpret_cast<const uint8_t*>(input.data());
  UseArray(ParseNpy(absl::MakeConstSpan(bytes, input.size()), nullptr));
  ReadFile(npy.With(input));
  ReadFile(bin.With(input));
}

}  // namespace ulpscope
