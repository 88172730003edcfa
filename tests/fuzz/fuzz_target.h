#ifndef TESTS_FUZZ_FUZZ_TARGET_H_
#define TESTS_FUZZ_FUZZ_TARGET_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

// What libFuzzer calls (llvm.org/docs/LibFuzzer.html), and without it
// replay_main.cc: each X_fuzz.cc has the first, and where most changes of a
// byte would be refused for a length or a checksum, the second, which repairs
// them.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size,
                                          size_t max_size, unsigned int seed);
// Of libFuzzer: a small change in place; returns the new size.
extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace ulpscope {

// A finding, which ends the process, unless it holds.
void Require(bool holds, absl::string_view what);

// An error has to name what was read, and to be in text that a terminal takes.
void RequireNames(const absl::Status& status, absl::string_view path);

// Reads every byte, for AddressSanitizer.
void ReadBytes(const void* data, size_t size);

inline absl::string_view TextOf(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// A file in memory, in a folder of this process' own, which may have others of
// them. Nothing is written to a disk.
class InputFolder {
 public:
  InputFolder();
  InputFolder(const InputFolder&) = delete;
  InputFolder& operator=(const InputFolder&) = delete;

  const std::string& path() const { return path_; }

  // Makes a file, of no bytes; returns its number.
  int Add(absl::string_view name);
  // Replaces the contents. Nothing may have the file mapped.
  void Set(int file, absl::string_view contents);
  std::string PathOf(absl::string_view name) const;

 private:
  std::string path_;
};

// The only file of an InputFolder.
class InputFile {
 public:
  explicit InputFile(absl::string_view name)
      : file_(folder_.Add(name)), path_(folder_.PathOf(name)) {}

  const std::string& folder() const { return folder_.path(); }
  // The path of a file that has these bytes, until the next call.
  const std::string& With(absl::string_view contents) {
    folder_.Set(file_, contents);
    return path_;
  }

 private:
  InputFolder folder_;
  const int file_;
  const std::string path_;
};

// A committed file under tests/testdata.
std::string ReadTestdata(absl::string_view name);

// Random numbers of a mutator: few, and the same for the same seed.
class Choice {
 public:
  explicit Choice(uint32_t seed) : state_(seed * 2654435769u + 1) {}
  // 0 ... n - 1.
  size_t Below(size_t n) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<size_t>(state_ >> 33) % n;
  }

 private:
  uint64_t state_;
};

// LLVMFuzzerMutate of a text that may become longer by so much.
void Mutate(std::string& text, size_t most_more = 64);

// As a custom mutator returns it; what does not fit is not changed.
size_t PutBack(const std::string& bytes, uint8_t* data, size_t size,
               size_t max_size);

}  // namespace ulpscope

#endif  // TESTS_FUZZ_FUZZ_TARGET_H_
