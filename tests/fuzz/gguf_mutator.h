#ifndef TESTS_FUZZ_GGUF_MUTATOR_H_
#define TESTS_FUZZ_GGUF_MUTATOR_H_

#include <cstddef>
#include <cstdint>

namespace ulpscope {

// A custom mutator of GGUF files: one entry of the metadata or of the tensors
// is changed, left out, doubled or moved, and lengths and counts fit again.
size_t MutateGguf(uint8_t* data, size_t size, size_t max_size,
                  unsigned int seed);

}  // namespace ulpscope

#endif  // TESTS_FUZZ_GGUF_MUTATOR_H_
