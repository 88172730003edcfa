#include "model/trace/reference_trace.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/files/tensor.h"
#include "model/trace/batch_row.h"
#include "model/trace/name_mapping.h"
#include "model/trace/named_arrays.h"
#include "model/trace/trace_files.h"
#include "model/trace/trace_index.h"
#include "model/trace/trace_layout.h"
#include "model/trace/trace_names.h"

namespace ulpscope {
namespace {

class Loader {
 public:
  Loader(absl::string_view path, const ModelConfig& config,
         const TraceIndex& index, std::optional<size_t> row,
         absl::string_view given_by)
      : config_(config), index_(index), batch_(row), given_by_(given_by) {
    trace_.path = std::string(path);
  }

  absl::StatusOr<ReferenceTrace> Load(absl::Span<const int32_t> tokens) {
    const absl::Status status = SettleTokens(tokens);
    if (!status.ok()) return status;
    for (const auto& [name, named] : index_.named()) {
      Measure(name, named.array);
      if (!batch_.status().ok()) return Error(batch_.status().message());
    }
    const absl::Status chosen = batch_.CheckChosen();
    if (!chosen.ok()) return Error(chosen.message());
    if (!trace_.empty()) Append(index_.Missing());
    Append(index_.Foreign());
    if (trace_.empty()) return NothingMeasured();
    return std::move(trace_);
  }

 private:
  void NotMeasured(absl::string_view name, absl::string_view reason) {
    trace_.not_measured.push_back({std::string(name), std::string(reason)});
  }

  void Append(const std::vector<ReferenceTrace::NotMeasured>& entries) {
    trace_.not_measured.insert(trace_.not_measured.end(), entries.begin(),
                               entries.end());
  }

  absl::Status Error(absl::string_view message) const {
    return absl::InvalidArgumentError(absl::StrCat(trace_.path, ": ", message));
  }

  // The trace's own tokens, or the given ones.
  absl::Status SettleTokens(absl::Span<const int32_t> given) {
    TraceName input_ids;
    input_ids.kind = TraceName::Kind::kTokens;
    std::string lacking = "the trace has no input_ids";
    if (const TraceArray* const array = index_.Find(input_ids)) {
      absl::StatusOr<std::vector<int32_t>> own =
          ReadTokens(*array, config_.vocab_size, batch_);
      if (!batch_.status().ok()) return Error(batch_.status().message());
      if (own.ok()) {
        trace_.tokens = *std::move(own);
        trace_.has_tokens = true;
      } else {
        lacking = absl::StrCat(array->name, ": ", own.status().message());
        if (absl::IsOutOfRange(own.status())) return Error(lacking);
        NotMeasured(array->name, own.status().message());
      }
    }
    for (size_t i = 0; i < given.size(); ++i) {
      if (given[i] >= 0 && given[i] < config_.vocab_size) continue;
      return absl::InvalidArgumentError(absl::StrCat(
          "--tokens: position ", i, ": expected a token below ",
          config_.vocab_size, ", the model's vocab_size, found ", given[i]));
    }
    if (trace_.has_tokens) {
      return given.empty() ? absl::OkStatus() : CompareTokens(given);
    }
    if (given.empty()) {
      return Error(
          absl::StrCat(lacking, "; give the tokens that it is of: --tokens"));
    }
    trace_.tokens.assign(given.begin(), given.end());
    return absl::OkStatus();
  }

  absl::Status CompareTokens(absl::Span<const int32_t> given) const {
    const std::vector<int32_t>& own = trace_.tokens;
    const size_t both = std::min(own.size(), given.size());
    for (size_t i = 0; i < both; ++i) {
      if (own[i] == given[i]) continue;
      return Error(absl::StrCat("position ", i, ": expected token ", given[i],
                                ", as ", given_by_, " says, found ", own[i],
                                " in the trace's input_ids"));
    }
    if (own.size() == given.size()) return absl::OkStatus();
    return Error(absl::StrCat("expected ", given.size(), " tokens, as ",
                              given_by_, " says, found ", own.size(),
                              " in the trace's input_ids"));
  }

  // Reads what a name stands for, or says why it cannot be used.
  void Measure(const TraceName& name, const TraceArray& array) {
    const std::pair<size_t, Op> cell(name.layer, name.op);
    const size_t positions = trace_.tokens.size();
    if (name.kind == TraceName::Kind::kTokens) return;
    if (name.kind == TraceName::Kind::kState) {
      Keep(ReadRows(array, LayoutOfState(name.state, config_), positions,
                    batch_),
           array, name.state, &trace_.states);
    } else if (name.op == Op::kQk || name.op == Op::kSoftmax) {
      Keep(ReadScores(array, config_, positions, batch_), array, cell,
           &trace_.scores);
    } else if (name.op == Op::kRope) {
      MeasureRope(name, array);
    } else if ((name.op == Op::kQNorm || name.op == Op::kKNorm) &&
               !config_.qk_norm) {
      NotMeasured(array.name,
                  absl::StrCat("the model has no ", OpName(name.op)));
    } else {
      Keep(ReadRows(array, LayoutOfOutput(name.op, config_), positions, batch_),
           array, cell, &trace_.outputs);
    }
  }

  // The part of q brings that of k along.
  void MeasureRope(const TraceName& name, const TraceArray& array) {
    TraceName other = name;
    other.is_k = !name.is_k;
    const TraceArray* const part = index_.Find(other);
    if (part == nullptr) {
      NotMeasured(array.name,
                  absl::StrCat(TraceNameText(other), " is not in the trace"));
    } else if (!name.is_k) {
      Keep(ReadRope(array, *part, config_, trace_.tokens.size(), batch_), array,
           std::make_pair(name.layer, name.op), &trace_.outputs);
    }
  }

  template <typename Key>
  void Keep(absl::StatusOr<TracedTensor> tensor, const TraceArray& array,
            const Key& key, std::map<Key, TracedTensor>* tensors) {
    if (tensor.ok()) {
      tensors->emplace(key, *std::move(tensor));
    } else {
      NotMeasured(array.name, tensor.status().message());
    }
  }

  absl::Status NothingMeasured() const {
    constexpr size_t kQuoted = 3;
    std::string message =
        "expected hidden states or outputs of this model, found none";
    for (size_t i = 0; i < trace_.not_measured.size() && i < kQuoted; ++i) {
      const ReferenceTrace::NotMeasured& entry = trace_.not_measured[i];
      absl::StrAppend(&message, "; ", NameText(entry.name), ": ", entry.reason);
    }
    if (trace_.not_measured.size() > kQuoted) {
      absl::StrAppend(&message, "; and ", trace_.not_measured.size() - kQuoted,
                      " more");
    }
    return Error(message);
  }

  const ModelConfig& config_;
  const TraceIndex& index_;
  BatchRow batch_;
  const std::string given_by_;
  ReferenceTrace trace_;
};

// Bytes that a stack of hidden states of the model may take, or of another
// output of its layers: to unpack no more.
uint64_t MostStacked(absl::Span<const TraceArray> arrays,
                     const NameMapping& names, const ModelConfig& config,
                     size_t num_given) {
  size_t positions = num_given;
  for (const TraceArray& array : arrays) {
    const auto rule = names.Apply(array.name);
    const bool is_tokens =
        rule ? rule->names == std::vector<std::string>{"input_ids"}
             : array.name == "input_ids";
    if (!is_tokens) continue;
    const auto stored = array.read(0);
    // At least a byte each.
    if (stored.ok()) positions = std::max(positions, stored->bytes.size());
  }
  const int64_t widest = std::max({config.hidden_size, config.q_size(),
                                   config.kv_size(), config.intermediate_size});
  return static_cast<uint64_t>(widest) * sizeof(double) * positions *
         (static_cast<uint64_t>(config.num_hidden_layers) + 1);
}

}  // namespace

absl::StatusOr<ReferenceTrace> LoadReferenceTrace(
    absl::string_view path, absl::string_view mapping,
    const ModelConfig& config, absl::Span<const int32_t> tokens,
    std::optional<size_t> row, absl::string_view tokens_given_by) {
  NameMapping names;
  if (!mapping.empty()) {
    absl::StatusOr<NameMapping> loaded = NameMapping::Load(mapping);
    if (!loaded.ok()) return loaded.status();
    names = *std::move(loaded);
  }
  const absl::StatusOr<std::vector<TraceArray>> arrays = OpenTraceFiles(path);
  if (!arrays.ok()) return arrays.status();
  const absl::StatusOr<TraceIndex> index = TraceIndex::Make(
      path,
      NameArrays(*arrays, names, config,
                 MostStacked(*arrays, names, config, tokens.size())),
      static_cast<size_t>(config.num_hidden_layers));
  if (!index.ok()) return index.status();
  return Loader(path, config, *index, row, tokens_given_by).Load(tokens);
}

}  // namespace ulpscope
