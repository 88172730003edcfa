#include "explorer/tuning/wisdom.h"

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <string>
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
#include "kernels/ops/block_type.h"
#include "kernels/ops/stored_type.h"
#include "kernels/ops/tuning.h"
#include "kernels/strategy/strategy.h"
#include "model/files/strict_json.h"
#include "model/files/tensor.h"
#include "nlohmann/json.hpp"

namespace ulpscope {
namespace {

using Json = nlohmann::json;

constexpr char kFormat[] = "ulpscope wisdom 1";
constexpr size_t kMostBytes = size_t{4} << 20;
constexpr uint32_t kMostThreads = 1024;
constexpr int kMostVersion = 1 << 20;
constexpr uint32_t kMostOfParameter = 1 << 20;

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
                      key.weights.name(), "/", key.shape.m, "x", key.shape.n,
                      "x", key.shape.k);
}

bool ParseDType(absl::string_view name, DType& dtype) {
  for (const DType candidate : kDTypes) {
    if (name != DTypeName(candidate)) continue;
    dtype = candidate;
    return true;
  }
  return false;
}

bool ParseStoredType(absl::string_view name, StoredType& type) {
  if (ParseDType(name, type.dtype)) return true;
  type.blocks = FindBlockType(name);
  return type.blocks != nullptr;
}

absl::Status ParseKernel(const std::string& text, Tunings::Key& key) {
  const auto bad = [&text](absl::string_view what) {
    return absl::DataLossError(
        absl::StrCat("kernel ", NameText(text), ": ", what));
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
  if (!ParseStoredType(parts[2], key.weights)) return bad("unknown weights");
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
      return absl::DataLossError(absl::StrCat(
          "kernel ", NameText(name), ": expected each parameter of this ",
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

}  // namespace

Machine Machine::This(size_t threads) {
  return {CpuName(), KernelTarget(), threads, Tunings::kKernelVersion};
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
  const auto json = ParseJsonObject(text, path);
  if (!json.ok()) {
    return absl::DataLossError(
        absl::StrCat(json.status().message(), " (not wisdom)"));
  }
  const auto format = json->find("format");
  if (format == json->end() || *format != kFormat) {
    return bad(absl::StrCat("expected the format '", kFormat, "'"));
  }
  const auto machines = json->find("machines");
  if (machines == json->end() || !machines->is_array()) {
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
    by_machine[machine] = JsonOf(machine, Json::parse(kernels));
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

void Wisdom::Add(const Wisdom& other) {
  for (const auto& [machine, tunings] : other.tunings_) {
    for (const auto& [key, tuning] : tunings.known()) Set(machine, key, tuning);
  }
}

}  // namespace ulpscope
