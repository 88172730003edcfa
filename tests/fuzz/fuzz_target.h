#ifndef TESTS_FUZZ_FUZZ_TARGET_H_
#define TESTS_FUZZ_FUZZ_TARGET_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

// What libFuzzer calls (llvm.org/docs/LibFuzzer.html), and without it
// replay_main.cc: of ReadInput below, and of MutateInput.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size,
                                          size_t max_size, unsigned int seed);
// Of libFuzzer: a small change in place; returns the new size.
extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace ulpscope {

class Choice;

// Reads an input, and uses what was read. Each X_fuzz.cc has it.
void ReadInput(absl::string_view input);

// Changes an input; none where libFuzzer should change a byte of it. Targets
// have it for whose inputs most changes of a byte would be refused, for a
// length or a checksum: it repairs them. It is their own, with :custom_mutator
// among their dependencies, or comes with :gguf_mutator, :json_text_mutator,
// :record_mutator or :safetensors_mutator.
std::optional<std::string> MutateInput(Choice& choice, absl::string_view input);

// A finding, which ends the process, unless it holds.
void Require(bool holds, absl::string_view what);

// An error has to name what was read, and to be in text that a terminal takes.
void RequireNames(const absl::Status& status, absl::string_view path);

// Reads every byte, for AddressSanitizer.
void ReadBytes(const void* data, size_t size);

// Files in memory, in a folder of this process' own. Nothing is written to a
// disk.
class InputFolder {
 public:
  InputFolder();
  InputFolder(const InputFolder&) = delete;
  InputFolder& operator=(const InputFolder&) = delete;

  const std::string& path() const { return path_; }

  // Makes a file, or replaces its contents, while nothing has it mapped.
  void Set(const std::string& name, absl::string_view contents);
  // Until it is set again.
  void Remove(const std::string& name);
  std::string PathOf(absl::string_view name) const;

 private:
  std::string path_;
  std::map<std::string, int> files_;
};

// The only file of an InputFolder.
class InputFile {
 public:
  explicit InputFile(absl::string_view name)
      : name_(name), path_(folder_.PathOf(name)) {}

  const std::string& folder() const { return folder_.path(); }
  // The path of a file that has these bytes, until the next call.
  const std::string& With(absl::string_view contents) {
    folder_.Set(name_, contents);
    return path_;
  }

 private:
  InputFolder folder_;
  const std::string name_, path_;
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

}  // namespace ulpscope

#endif  // TESTS_FUZZ_FUZZ_TARGET_H_
