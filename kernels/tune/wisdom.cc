#include "kernels/tune/wisdom.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <map>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "kernels/base/cpu.h"
#include "kernels/base/dtype.h"
#include "kernels/base/format.h"
#include "kernels/ops/tuning.h"
#include "kernels/strategy/strategy.h"
#include "nlohmann/json.hpp"

namespace ulpscope {
namespace {

using Json = nlohmann::json;

constexpr char kFormat[] = "ulpscope wisdom 1";
constexpr size_t kMostBytes = size_t{4} << 20;
constexpr uint32_t kMostThreads = 1024;
constexpr int kMostVersion = 1 << 20;
constexpr uint32_t kMostOfParameter = 1 << 20;
// Of JSON, in what another version wrote: nlohmann's dump recurses.
constexpr int kMostDepth = 16;

constexpr DType kDTypes[] = {DType::kF64, DType::kF32, DType::kF16,
                             DType::kBF16};

// FNV-1a. Each byte changes the state by a bijection of both, so that two texts
// of the same length that differ in one byte never have the same checksum.
std::string Checksum(absl::string_view text) {
  uint64_t hash = 0xCBF29CE484222325;
  for (const char c : text) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3;
  }
  return absl::StrFormat("%016x", hash);
}

// The first line but for the checksum.
constexpr absl::string_view kBeforeChecksum = "{\n \"checksum\": \"";
constexpr size_t kChecksumSize = 16;
constexpr absl::string_view kAfterChecksum = "\",\n";

std::string KernelText(const Tunings::Key& key) {
  return absl::StrCat(key.strategy.name(), "/", DTypeName(key.activations), "/",
                      DTypeName(key.weights), "/", key.shape.m, "x",
                      key.shape.n, "x", key.shape.k);
}

bool ParseDType(absl::string_view name, DType& dtype) {
  for (const DType candidate : kDTypes) {
    if (name != DTypeName(candidate)) continue;
    dtype = candidate;
    return true;
  }
  return false;
}

absl::Status ParseKernel(const std::string& text, Tunings::Key& key) {
  const auto bad = [&text](absl::string_view what) {
    return absl::DataLossError(absl::StrCat("kernel '", text, "': ", what));
  };
  const std::vector<absl::string_view> parts = absl::StrSplit(text, '/');
  if (parts.size() != 4) {
    return bad("expected strategy/activations/weights/shape");
  }
  // Of any CPU: the file may be that of several machines.
  size_t index = 0;
  while (index < Strategies().size() && Strategies()[index].name != parts[0]) {
    ++index;
  }
  if (index == Strategies().size() ||
      !(Strategies()[index].kernels & KernelBit(Kernel::kMatMul))) {
    return bad("not a strategy of MatMul");
  }
  key.strategy = Strategy(index);
  if (!ParseDType(parts[1], key.activations) ||
      !(key.activations == DType::kF64 ||
        (key.activations == DType::kF32 &&
         key.strategy.info().result != Format::kF64))) {
    return bad("activations that the strategy cannot have");
  }
  if (!ParseDType(parts[2], key.weights)) return bad("unknown weights");
  const std::vector<absl::string_view> sizes = absl::StrSplit(parts[3], 'x');
  uint32_t* const to[] = {&key.shape.m, &key.shape.n, &key.shape.k};
  bool good = sizes.size() == std::size(to);
  for (size_t i = 0; good && i < std::size(to); ++i) {
    good = absl::SimpleAtoi(sizes[i], to[i]);
  }
  if (!good ||
      !(ShapeClass::Of(key.shape.m, key.shape.n, key.shape.k) == key.shape)) {
    return bad("expected a shape class such as 1x1024x1024");
  }
  return absl::OkStatus();
}

// Whether `json` is an integer from `least` to `most`, which is returned.
template <typename T>
bool ReadInteger(const Json& json, T least, T most, T& value) {
  if (!json.is_number_unsigned()) return false;
  const uint64_t number = json.get<uint64_t>();
  if (number < static_cast<uint64_t>(least) ||
      number > static_cast<uint64_t>(most)) {
    return false;
  }
  value = static_cast<T>(number);
  return true;
}

absl::Status ParseTunings(const Json& json, Tunings& tunings) {
  for (const auto& [name, values] : json.items()) {
    Tunings::Key key;
    const absl::Status status = ParseKernel(name, key);
    if (!status.ok()) return status;
    MatMulTuning tuning;
    bool good =
        values.is_object() && values.size() == TuningParameters().size();
    for (const TuningParameter& parameter : TuningParameters()) {
      if (!good) break;
      const auto found = values.find(parameter.name);
      good = found != values.end() &&
             ReadInteger<uint32_t>(*found, 0, kMostOfParameter,
                                   tuning.*parameter.field);
    }
    if (!good) {
      return absl::DataLossError(
          absl::StrCat("kernel '", name, "': expected each parameter of this ",
                       "version, from 0 to ", kMostOfParameter));
    }
    tunings.Set(key, tuning);
  }
  return absl::OkStatus();
}

Json JsonOf(const Tunings& tunings) {
  Json json = Json::object();
  for (const auto& [key, tuning] : tunings.known()) {
    Json& values = json[KernelText(key)];
    for (const TuningParameter& parameter : TuningParameters()) {
      values[parameter.name] = tuning.*parameter.field;
    }
  }
  return json;
}

Json JsonOf(const Machine& machine, Json kernels) {
  return {{"cpu", machine.cpu},
          {"target", machine.target},
          {"threads", machine.threads},
          {"kernel_version", machine.kernel_version},
          {"matmul", std::move(kernels)}};
}

bool ParseMachine(const Json& json, Machine& machine) {
  if (!json.is_object()) return false;
  const auto field = [&json](const char* name) -> const Json& {
    static const Json* const kNone = new Json();
    const auto found = json.find(name);
    return found == json.end() ? *kNone : *found;
  };
  if (!field("cpu").is_string() || !field("target").is_string() ||
      !field("matmul").is_object() ||
      !ReadInteger<size_t>(field("threads"), 1, kMostThreads,
                           machine.threads) ||
      !ReadInteger(field("kernel_version"), 0, kMostVersion,
                   machine.kernel_version)) {
    return false;
  }
  machine.cpu = field("cpu").get<std::string>();
  machine.target = field("target").get<std::string>();
  return true;
}

// Nothing if it is nested too deeply or is no JSON.
Json ParseJson(absl::string_view text) {
  bool too_deep = false;
  const auto watch = [&too_deep](int depth, Json::parse_event_t, Json&) {
    too_deep |= depth > kMostDepth;
    return !too_deep;
  };
  Json json = Json::parse(text.begin(), text.end(), watch,
                          /*allow_exceptions=*/false);
  return too_deep ? Json(Json::value_t::discarded) : json;
}

absl::Status FileError(absl::string_view path, absl::string_view what) {
  return absl::UnavailableError(
      absl::StrCat(path, ": ", what, ": ", std::strerror(errno)));
}

// Of a whole regular file. NotFound if there is none.
absl::StatusOr<std::string> ReadFile(const std::string& path) {
  // Does not wait for the other end of a pipe.
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) {
    if (errno == ENOENT) return absl::NotFoundError(path);
    return FileError(path, "cannot open");
  }
  struct stat info = {};
  std::string text;
  absl::Status status;
  if (fstat(file, &info) != 0) {
    status = FileError(path, "cannot read");
  } else if (!S_ISREG(info.st_mode)) {
    status = absl::FailedPreconditionError(
        absl::StrCat(path, ": not a regular file"));
  } else {
    char buffer[1 << 16];
    while (text.size() <= kMostBytes) {
      const ssize_t count = read(file, buffer, sizeof(buffer));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) status = FileError(path, "cannot read");
      if (count <= 0) break;
      text.append(buffer, static_cast<size_t>(count));
    }
  }
  close(file);
  if (!status.ok()) return status;
  return text;
}

absl::Status WriteAll(int file, absl::string_view text,
                      const std::string& path) {
  while (!text.empty()) {
    const ssize_t count = write(file, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return FileError(path, "cannot write");
    text.remove_prefix(static_cast<size_t>(count));
  }
  if (fsync(file) != 0) return FileError(path, "cannot write");
  return absl::OkStatus();
}

// Through a file beside it, which takes its place when it is complete.
absl::Status ReplaceFile(const std::string& path, absl::string_view text) {
  const std::string temporary = absl::StrCat(path, ".tmp.", getpid());
  const int file =
      open(temporary.c_str(),
           O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
  if (file < 0) return FileError(temporary, "cannot create");
  absl::Status status = WriteAll(file, text, temporary);
  if (close(file) != 0 && status.ok()) {
    status = FileError(temporary, "cannot write");
  }
  if (status.ok() && std::rename(temporary.c_str(), path.c_str()) != 0) {
    status = FileError(path, "cannot replace");
  }
  if (!status.ok()) unlink(temporary.c_str());
  return status;
}

}  // namespace

Machine Machine::This(size_t threads) {
  return {CpuName(), KernelTarget(), threads, Tunings::kKernelVersion};
}

absl::StatusOr<Wisdom> Wisdom::Load(const std::string& path) {
  const auto text = ReadFile(path);
  if (absl::IsNotFound(text.status())) return Wisdom();
  if (!text.ok()) return text.status();
  return Parse(*text, path);
}

absl::StatusOr<Wisdom> Wisdom::Parse(absl::string_view text,
                                     absl::string_view path) {
  const auto bad = [path](absl::string_view what) {
    return absl::DataLossError(absl::StrCat(path, ": not wisdom: ", what));
  };
  if (text.size() > kMostBytes) {
    return bad(absl::StrCat("more than ", kMostBytes, " bytes"));
  }
  // Nothing is parsed before the checksum is right.
  absl::string_view rest = text;
  if (!absl::ConsumePrefix(&rest, kBeforeChecksum)) {
    return bad("it does not start with a checksum");
  }
  const absl::string_view checksum = rest.substr(0, kChecksumSize);
  rest.remove_prefix(checksum.size());
  if (!absl::ConsumePrefix(&rest, kAfterChecksum) ||
      checksum != Checksum(rest)) {
    return bad("the checksum is wrong");
  }
  const Json json = ParseJson(text);
  if (!json.is_object()) return bad("not a JSON object");
  const auto format = json.find("format");
  if (format == json.end() || *format != kFormat) {
    return bad(absl::StrCat("expected the format '", kFormat, "'"));
  }
  const auto machines = json.find("machines");
  if (machines == json.end() || !machines->is_array()) {
    return bad("expected machines");
  }
  Wisdom wisdom;
  for (const Json& entry : *machines) {
    Machine machine;
    if (!ParseMachine(entry, machine)) {
      return bad(
          "expected a machine's cpu, target, threads, kernel_version "
          "and matmul");
    }
    const Json& kernels = *entry.find("matmul");
    if (machine.kernel_version != Tunings::kKernelVersion) {
      wisdom.others_[machine] = kernels.dump();
      continue;
    }
    const absl::Status status = ParseTunings(kernels, wisdom.tunings_[machine]);
    if (!status.ok()) return bad(status.message());
  }
  // What is repeated, out of order or not known here would be lost.
  if (wisdom.Text() != text) return bad("not as ulpscope writes it");
  return wisdom;
}

const Tunings* Wisdom::Find(const Machine& machine) const {
  const auto found = tunings_.find(machine);
  return found == tunings_.end() ? nullptr : &found->second;
}

std::string Wisdom::Text() const {
  std::map<Machine, Json> by_machine;
  for (const auto& [machine, tunings] : tunings_) {
    by_machine[machine] = JsonOf(machine, JsonOf(tunings));
  }
  for (const auto& [machine, kernels] : others_) {
    by_machine[machine] = JsonOf(machine, ParseJson(kernels));
  }
  Json machines = Json::array();
  for (auto& [machine, json] : by_machine) machines.push_back(std::move(json));
  const Json json = {{"checksum", std::string(kChecksumSize, '0')},
                     {"format", kFormat},
                     {"machines", std::move(machines)}};
  std::string text =
      json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
  const size_t end =
      kBeforeChecksum.size() + kChecksumSize + kAfterChecksum.size();
  text.replace(kBeforeChecksum.size(), kChecksumSize,
               Checksum(absl::string_view(text).substr(end)));
  return text;
}

absl::Status Wisdom::Save(const std::string& path) const {
  std::error_code error;
  // Behind a link, the file that it points to.
  std::filesystem::path file = std::filesystem::canonical(path, error);
  if (error) file = path;
  if (file.has_parent_path()) {
    std::filesystem::create_directories(file.parent_path(), error);
    if (error) {
      return absl::UnavailableError(
          absl::StrCat(path, ": cannot create its folder: ", error.message()));
    }
  }
  absl::StatusOr<Wisdom> all = Load(file.string());
  if (absl::IsDataLoss(all.status())) {
    const std::string bad = absl::StrCat(file.string(), ".bad");
    std::filesystem::copy_file(
        file, bad, std::filesystem::copy_options::overwrite_existing, error);
    if (error) {
      return absl::UnavailableError(absl::StrCat(
          bad, ": cannot keep what is not wisdom: ", error.message()));
    }
    all = Wisdom();
  }
  if (!all.ok()) return all.status();
  for (const auto& [machine, tunings] : tunings_) {
    for (const auto& [key, tuning] : tunings.known()) {
      all->Set(machine, key, tuning);
    }
  }
  for (const auto& [machine, kernels] : others_) {
    all->others_.emplace(machine, kernels);
  }
  return ReplaceFile(file.string(), all->Text());
}

std::string DefaultWisdomPath() {
  // The XDG specification ignores paths that are not absolute.
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && cache[0] == '/') {
    return absl::StrCat(cache, "/ulpscope/wisdom.json");
  }
  const char* home = std::getenv("HOME");
  if (home != nullptr && home[0] == '/') {
    return absl::StrCat(home, "/.cache/ulpscope/wisdom.json");
  }
  return "";
}

}  // namespace ulpscope
