#include "tests/fuzz/fuzz_target.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace ulpscope {
namespace {

// Of all InputFolders; removed when the process ends as it should.
std::set<std::string>& Folders() {
  static auto& folders = *new std::set<std::string>();
  return folders;
}

void RemoveFolders() {
  std::error_code ignored;
  for (const std::string& folder : Folders()) {
    std::filesystem::remove_all(folder, ignored);
  }
}

std::string TemporaryFolder() {
  for (const char* const name : {"TEST_TMPDIR", "TMPDIR"}) {
    const char* const folder = std::getenv(name);
    if (folder != nullptr && folder[0] != '\0') return folder;
  }
  return "/tmp";
}

}  // namespace

void Require(bool holds, absl::string_view what) {
  if (holds) return;
  std::fprintf(stderr, "FINDING: %s\n", std::string(what).c_str());
  std::abort();
}

void RequireNames(const absl::Status& status, absl::string_view path) {
  Require(!status.ok(), "an error is OK");
  const std::string message(status.message());
  Require(absl::StrContains(message, path),
          absl::StrCat("an error does not name ", path, ": ", message));
  for (const char c : message) {
    Require((static_cast<unsigned char>(c) >= ' ' && c != '\x7f') || c == '\t',
            absl::StrCat("an error has a control character: ", message));
  }
}

void ReadBytes(const void* data, size_t size) {
  const auto* const bytes = static_cast<const volatile uint8_t*>(data);
  for (size_t i = 0; i < size; ++i) (void)bytes[i];
}

InputFolder::InputFolder() {
  if (Folders().empty()) std::atexit(&RemoveFolders);
  path_ = absl::StrCat(TemporaryFolder(), "/fuzz.XXXXXX");
  Require(mkdtemp(path_.data()) != nullptr, "no folder for inputs");
  Folders().insert(path_);
}

std::string InputFolder::PathOf(absl::string_view name) const {
  return absl::StrCat(path_, "/", name);
}

void InputFolder::Set(const std::string& name, absl::string_view contents) {
  const auto [it, is_new] = files_.emplace(name, -1);
  int& file = it->second;
  if (is_new) file = memfd_create("input", 0);
  Require(file >= 0, "no file in memory");
  Require(ftruncate(file, 0) == 0 &&
              pwrite(file, contents.data(), contents.size(), 0) ==
                  static_cast<ssize_t>(contents.size()),
          "the input cannot be written");
  std::error_code is_there;
  std::filesystem::create_symlink(absl::StrCat("/proc/self/fd/", file),
                                  PathOf(name), is_there);
}

void InputFolder::Remove(const std::string& name) {
  std::filesystem::remove(PathOf(name));
}

std::string ReadTestdata(absl::string_view name) {
  const std::string path = absl::StrCat("tests/testdata/", name);
  std::ifstream file(path, std::ios::binary);
  Require(file.good(), absl::StrCat(path, " cannot be read from here"));
  return {std::istreambuf_iterator<char>(file), {}};
}

void Mutate(std::string& text, size_t most_more) {
  const size_t size = text.size();
  text.resize(size + most_more);
  text.resize(LLVMFuzzerMutate(reinterpret_cast<uint8_t*>(text.data()), size,
                               text.size()));
}

}  // namespace ulpscope

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ulpscope::ReadInput({reinterpret_cast<const char*>(data), size});
  return 0;
}
