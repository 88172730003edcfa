// Without libFuzzer: gives every file of the folders that the arguments name to
// the target, and, if it has a mutator of its own, what that makes of each.
// Flags are libFuzzer's, and ignored.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tests/fuzz/fuzz_target.h"

extern "C" __attribute__((weak)) size_t LLVMFuzzerCustomMutator(
    uint8_t* data, size_t size, size_t max_size, unsigned int seed);

namespace {

constexpr unsigned kMutations = 8;

uint64_t changes = 0;

void Run(const std::string& input) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()),
                         input.size());
}

void RunMutated(const std::string& input) {
  if (LLVMFuzzerCustomMutator == nullptr) return;
  std::string changed = input;
  for (unsigned seed = 0; seed < kMutations; ++seed) {
    const size_t size = changed.size();
    changed.resize(size + 256);
    changed.resize(
        LLVMFuzzerCustomMutator(reinterpret_cast<uint8_t*>(changed.data()),
                                size, changed.size(), seed));
    Run(changed);
  }
}

}  // namespace

// Another byte, one more or one less, at places that go round.
extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size,
                                   size_t max_size) {
  const uint64_t n = ++changes * 0x9E3779B97F4A7C15u >> 16;
  if (size < max_size && (size == 0 || n % 3 == 0)) {
    data[size] = static_cast<uint8_t>(n >> 8);
    return size + 1;
  }
  if (size > 1 && n % 3 == 1) return size - 1;
  if (size > 0) data[(n >> 8) % size] ^= static_cast<uint8_t>(1 + n % 255);
  return size;
}

int main(int argc, char** argv) {
  size_t count = 0;
  Run("");
  for (int i = 1; i < argc; ++i) {
    if (argv[i][0] == '-') continue;
    std::vector<std::filesystem::path> paths;
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(argv[i])) {
      if (!entry.is_directory()) paths.push_back(entry.path());
    }
    std::sort(paths.begin(), paths.end());
    for (const std::filesystem::path& path : paths) {
      std::ifstream file(path, std::ios::binary);
      const std::string input(std::istreambuf_iterator<char>(file), {});
      std::printf("%s\n", path.c_str());
      std::fflush(stdout);
      Run(input);
      RunMutated(input);
      ++count;
    }
  }
  std::printf("%zu inputs\n", count);
  return count > 0 ? 0 : 1;
}
