#include "model/reference_trace.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/config.h"
#include "model/name_mapping.h"
#include "model/op.h"
#include "model/tensor.h"
#include "model/trace_files.h"
#include "model/trace_layout.h"
#include "model/trace_names.h"

namespace ulpscope {
namespace {

// Of tensors that are none of the model's, so many are named.
constexpr size_t kMaxForeignNames = 20;

// An array whose name says what it is.
struct NamedArray {
  const TraceArray* array = nullptr;
  TraceName name;
  bool mapped = false;  // by a rule
};

// [kind, layer, op, is_k, state]: equal for names of the same thing.
using NameKey = std::tuple<TraceName::Kind, size_t, Op, bool, size_t>;

NameKey KeyOf(const TraceName& name) {
  return {name.kind, name.layer, name.op, name.is_k, name.state};
}

std::string CanonicalName(const TraceName& name) {
  switch (name.kind) {
    case TraceName::Kind::kTokens:
      return "input_ids";
    case TraceName::Kind::kState:
      return StateName(name.state);
    case TraceName::Kind::kOutput:
      break;
  }
  const std::vector<std::string> names = TraceNamesOf(name.layer, name.op);
  return names[name.is_k ? 1 : 0];
}

class Loader {
 public:
  Loader(absl::string_view path, const ModelConfig& config)
      : config_(config),
        layers_(static_cast<size_t>(config.num_hidden_layers)) {
    trace_.path = std::string(path);
  }

  absl::StatusOr<ReferenceTrace> Load(absl::Span<const TraceArray> arrays,
                                      const NameMapping& mapping,
                                      absl::Span<const int32_t> tokens) {
    absl::Status status = Name(arrays, mapping);
    if (status.ok()) status = SettleTokens(tokens);
    if (!status.ok()) return status;
    for (const auto& [key, named] : named_) Measure(named);
    if (!trace_.empty()) ReportMissing();
    ReportForeign();
    if (trace_.empty()) return NothingMeasured();
    return std::move(trace_);
  }

 private:
  void NotMeasured(absl::string_view name, std::string reason) {
    trace_.not_measured.push_back({std::string(name), std::move(reason)});
  }

  void Foreign(absl::string_view name, std::string reason) {
    if (++num_foreign_ > kMaxForeignNames) return;
    foreign_.push_back({std::string(name), std::move(reason)});
  }

  absl::Status Error(absl::string_view message) const {
    return absl::InvalidArgumentError(absl::StrCat(trace_.path, ": ", message));
  }

  // Fills named_ with at most one array for each thing that can be measured.
  absl::Status Name(absl::Span<const TraceArray> arrays,
                    const NameMapping& mapping) {
    for (const TraceArray& array : arrays) {
      const std::optional<std::string> mapped = mapping.Apply(array.name);
      const std::optional<TraceName> name =
          ParseTraceName(mapped ? *mapped : array.name);
      if (!name) {
        Foreign(array.name,
                mapped ? absl::StrCat("its rule of --mapping makes it ",
                                      NameText(*mapped),
                                      ", not a name that is known")
                       : "not a name that is known; --mapping can rename it");
        continue;
      }
      if (name->layer > layers_) {
        Foreign(array.name, absl::StrCat("expected a layer below ", layers_,
                                         ", the model's number of layers, "
                                         "found ",
                                         name->layer - 1));
        continue;
      }
      const absl::Status status = Keep({&array, *name, mapped.has_value()});
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

  absl::Status Keep(const NamedArray& named) {
    const auto [it, is_first] = named_.emplace(KeyOf(named.name), named);
    if (is_first) return absl::OkStatus();
    NamedArray& kept = it->second;
    const std::string name = CanonicalName(named.name);
    if (kept.mapped || named.mapped) {
      return Error(absl::StrCat("expected one array for ", name, ", found ",
                                NameText(kept.array->name), " and ",
                                NameText(named.array->name),
                                " after the rules of --mapping"));
    }
    // Two spellings of it: the usual one counts.
    NamedArray spare = named;
    if (spare.array->name == name) std::swap(spare, kept);
    Foreign(spare.array->name,
            absl::StrCat("the same output as ", kept.array->name,
                         ", which is the one that is read"));
    return absl::OkStatus();
  }

  // The trace's own tokens, or the given ones.
  absl::Status SettleTokens(absl::Span<const int32_t> given) {
    TraceName input_ids;
    input_ids.kind = TraceName::Kind::kTokens;
    std::string lacking = "the trace has no input_ids";
    const auto it = named_.find(KeyOf(input_ids));
    if (it != named_.end()) {
      const TraceArray& array = *it->second.array;
      absl::StatusOr<std::vector<int32_t>> own =
          ReadTokens(array, config_.vocab_size);
      if (own.ok()) {
        trace_.tokens = *std::move(own);
        trace_.has_tokens = true;
      } else {
        lacking = absl::StrCat(array.name, ": ", own.status().message());
        if (absl::IsOutOfRange(own.status())) return Error(lacking);
        NotMeasured(array.name, std::string(own.status().message()));
      }
      named_.erase(it);
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
                                ", as --tokens says, found ", own[i],
                                " in the trace's input_ids"));
    }
    if (own.size() == given.size()) return absl::OkStatus();
    return Error(absl::StrCat("expected ", given.size(),
                              " tokens, as --tokens says, found ", own.size(),
                              " in the trace's input_ids"));
  }

  // Reads what a name stands for, or says why it cannot be used. Of `rope`, the
  // part of q brings that of k along.
  void Measure(const NamedArray& named) {
    const TraceName& name = named.name;
    const TraceArray& array = *named.array;
    const std::pair<size_t, Op> cell(name.layer, name.op);
    const size_t positions = trace_.tokens.size();
    if (name.kind == TraceName::Kind::kState) {
      Keep(&trace_.states, name.state, array,
           ReadRows(array, LayoutOfState(name.state, config_), positions));
    } else if (name.op == Op::kQk || name.op == Op::kSoftmax) {
      Keep(&trace_.scores, cell, array, ReadScores(array, config_, positions));
    } else if (name.op == Op::kRope) {
      if (!name.is_k) {
        MeasureRope(name.layer, array);
      } else if (FindRope(name.layer, false) == nullptr) {
        NotMeasured(array.name, "q_rope of this layer is not in the trace");
      }
    } else if ((name.op == Op::kQNorm || name.op == Op::kKNorm) &&
               !config_.qk_norm) {
      NotMeasured(array.name,
                  absl::StrCat("the model has no ", OpName(name.op)));
    } else {
      Keep(&trace_.outputs, cell, array,
           ReadRows(array, LayoutOfOutput(name.op, config_), positions));
    }
  }

  template <typename Map, typename Key>
  void Keep(Map* map, const Key& key, const TraceArray& array,
            absl::StatusOr<TracedTensor> tensor) {
    if (tensor.ok()) {
      map->emplace(key, *std::move(tensor));
    } else {
      NotMeasured(array.name, std::string(tensor.status().message()));
    }
  }

  const TraceArray* FindRope(size_t layer, bool is_k) const {
    TraceName name;
    name.layer = layer;
    name.op = Op::kRope;
    name.is_k = is_k;
    const auto it = named_.find(KeyOf(name));
    return it == named_.end() ? nullptr : it->second.array;
  }

  void MeasureRope(size_t layer, const TraceArray& q) {
    const TraceArray* const k = FindRope(layer, true);
    if (k == nullptr) {
      NotMeasured(q.name, "k_rope of this layer is not in the trace");
      return;
    }
    Keep(&trace_.outputs, std::make_pair(layer, Op::kRope), q,
         ReadRope(q, *k, config_, trace_.tokens.size()));
  }

  // What others of its series let expect.
  void ReportMissing() {
    std::set<NameKey> present;
    for (const auto& [key, named] : named_) present.insert(key);
    std::set<std::pair<Op, bool>> series;
    bool has_states = false;
    for (const auto& [key, named] : named_) {
      if (named.name.kind == TraceName::Kind::kState) has_states = true;
      if (named.name.layer > 0) {
        series.emplace(named.name.op, named.name.is_k);
      }
    }
    for (size_t i = 0; has_states && i <= layers_; ++i) {
      TraceName name;
      name.kind = TraceName::Kind::kState;
      name.state = i;
      if (present.count(KeyOf(name)) == 0) {
        NotMeasured(StateName(i), "not in the trace");
      }
    }
    for (const auto& [op, is_k] : series) {
      for (size_t layer = 1; layer <= layers_; ++layer) {
        TraceName name;
        name.layer = layer;
        name.op = op;
        name.is_k = is_k;
        if (present.count(KeyOf(name)) > 0) continue;
        NotMeasured(CanonicalName(name),
                    "not in the trace, which has it of other layers");
      }
    }
  }

  void ReportForeign() {
    for (ReferenceTrace::NotMeasured& entry : foreign_) {
      trace_.not_measured.push_back(std::move(entry));
    }
    if (num_foreign_ > foreign_.size()) {
      NotMeasured(absl::StrCat("and ", num_foreign_ - foreign_.size(), " more"),
                  "none of this model's outputs either");
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
  const size_t layers_;
  ReferenceTrace trace_;
  std::map<NameKey, NamedArray> named_;
  // Tensors that are none of the model's; the first of them.
  std::vector<ReferenceTrace::NotMeasured> foreign_;
  size_t num_foreign_ = 0;
};

}  // namespace

absl::StatusOr<ReferenceTrace> LoadReferenceTrace(
    absl::string_view path, absl::string_view mapping,
    const ModelConfig& config, absl::Span<const int32_t> tokens) {
  NameMapping names;
  if (!mapping.empty()) {
    absl::StatusOr<NameMapping> loaded = NameMapping::Load(mapping);
    if (!loaded.ok()) return loaded.status();
    names = *std::move(loaded);
  }
  const absl::StatusOr<std::vector<TraceArray>> arrays = OpenTraceFiles(path);
  if (!arrays.ok()) return arrays.status();
  return Loader(path, config).Load(*arrays, names, tokens);
}

}  // namespace ulpscope
