#include "model/trace/trace_index.h"

#include <cstddef>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/op.h"
#include "model/files/tensor.h"
#include "model/trace/named_arrays.h"
#include "model/trace/trace_contents.h"
#include "model/trace/trace_files.h"
#include "model/trace/trace_names.h"

namespace ulpscope {
namespace {

// Of tensors that are none of the model's, so many are named.
constexpr size_t kMaxForeignNames = 20;

// Of a name that is none of the model's tensors.
std::string WhyForeign(absl::string_view name) {
  if (name == "attention_mask" || name == "position_ids") {
    return "masks, padding and positions are not read: all of a sequence is "
           "taken for real tokens, from position 0 on";
  }
  return "not a name that is known; --mapping can rename it";
}

}  // namespace

absl::StatusOr<TraceIndex> TraceIndex::Make(absl::string_view path,
                                            NamedArrays arrays,
                                            size_t num_layers) {
  TraceIndex index(num_layers);
  index.failed_ = std::move(arrays.failed);
  for (NamedArray& named : arrays.arrays) {
    const std::optional<TraceName> name = ParseTraceName(named.name);
    if (!name) {
      index.AddForeign(named.array.name, WhyForeign(named.array.name));
    } else if (name->layer > num_layers) {
      index.AddForeign(named.array.name,
                       absl::StrCat("expected a layer below num_hidden_layers ",
                                    num_layers, ", found ", name->layer - 1));
    } else {
      const absl::Status status = index.Add(path, *name, std::move(named));
      if (!status.ok()) return status;
    }
  }
  return index;
}

absl::Status TraceIndex::Add(absl::string_view path, const TraceName& name,
                             NamedArray named) {
  const auto [it, is_first] = named_.emplace(name, named);
  if (is_first) return absl::OkStatus();
  NamedArray& kept = it->second;
  const std::string text = TraceNameText(name);
  const auto is_certain = [](const NamedArray& n) {
    return n.rank == NamedArray::Rank::kCertain;
  };
  if (is_certain(kept) && is_certain(named)) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": expected one array for ", text, ", found ",
        NameText(kept.array.name), " and ", NameText(named.array.name),
        " after the rules of --mapping"));
  }
  // Two spellings of a name: a rule's or the usual one counts.
  if (named.rank > kept.rank) std::swap(named, kept);
  if (named.rank == NamedArray::Rank::kFallback) return absl::OkStatus();
  AddForeign(named.array.name,
             absl::StrCat("a name of ", text, ", which is read from ",
                          kept.array.name));
  return absl::OkStatus();
}

void TraceIndex::AddForeign(absl::string_view name, std::string reason) {
  if (++num_foreign_ > kMaxForeignNames) return;
  foreign_.push_back({std::string(name), std::move(reason)});
}

const TraceArray* TraceIndex::Find(const TraceName& name) const {
  const auto it = named_.find(name);
  return it == named_.end() ? nullptr : &it->second.array;
}

std::vector<ReferenceTrace::NotMeasured> TraceIndex::Missing() const {
  std::vector<ReferenceTrace::NotMeasured> missing;
  std::set<std::pair<Op, bool>> series;
  bool has_states = false;
  for (const auto& [name, named] : named_) {
    has_states = has_states || name.kind == TraceName::Kind::kState;
    // What the KV cache stores is there in layers whose plan rounds it.
    if (name.layer > 0 && OpKernel(name.op) != Kernel::kKvCache) {
      series.emplace(name.op, name.is_k);
    }
  }
  TraceName state;
  state.kind = TraceName::Kind::kState;
  for (; has_states && state.state <= num_layers_; ++state.state) {
    if (Find(state) != nullptr) continue;
    missing.push_back({TraceNameText(state), "not in the trace"});
  }
  TraceName output;
  for (output.layer = 1; output.layer <= num_layers_; ++output.layer) {
    for (const auto& [op, is_k] : series) {
      output.op = op;
      output.is_k = is_k;
      if (Find(output) != nullptr) continue;
      missing.push_back({TraceNameText(output),
                         "not in the trace, which has it of other layers"});
    }
  }
  return missing;
}

std::vector<ReferenceTrace::NotMeasured> TraceIndex::Foreign() const {
  std::vector<ReferenceTrace::NotMeasured> foreign = failed_;
  foreign.insert(foreign.end(), foreign_.begin(), foreign_.end());
  if (num_foreign_ > foreign_.size()) {
    foreign.push_back(
        {absl::StrCat("and ", num_foreign_ - foreign_.size(), " more"),
         "none of the model's tensors either"});
  }
  return foreign;
}

}  // namespace ulpscope
