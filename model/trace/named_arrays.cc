#include "model/trace/named_arrays.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/files/stored_array.h"
#include "model/files/tensor.h"
#include "model/trace/built_in_mappings.h"
#include "model/trace/derived_arrays.h"
#include "model/trace/name_mapping.h"
#include "model/trace/trace_files.h"
#include "model/trace/trace_layout.h"
#include "model/trace/trace_names.h"

namespace ulpscope {
namespace {

// A column of what the name stands for, and what it is called.
ColumnPart PartOf(const TraceName& name, const ModelConfig& config) {
  ColumnPart part;
  if (name.kind == TraceName::Kind::kState) {
    part.name = "a state";
    part.width = LayoutOfState(name.state, config).width;
  } else if (name.op == Op::kRope) {
    part.name = name.is_k ? "rotated k" : "rotated q";
    part.width =
        LayoutOfOutput(name.is_k ? Op::kKProj : Op::kQProj, config).width;
  } else {
    part.name = std::string(OpName(name.op));
    part.width = LayoutOfOutput(name.op, config).width;
  }
  return part;
}

class Namer {
 public:
  Namer(const NameMapping& mapping, const ModelConfig& config,
        uint64_t max_bytes)
      : mapping_(mapping),
        fused_(*NameMapping::Parse(FusedNames(), "")),
        config_(config),
        max_bytes_(max_bytes) {}

  NamedArrays Name(absl::Span<const TraceArray> arrays) {
    for (const TraceArray& array : arrays) {
      if (const auto rule = mapping_.Apply(array.name)) {
        Follow(array, *rule, NamedArray::Rank::kCertain);
      } else if (const auto name = ParseTraceName(array.name)) {
        const bool is_usual = array.name == TraceNameText(*name);
        Add(array, array.name,
            is_usual ? NamedArray::Rank::kCertain : NamedArray::Rank::kOther);
      } else if (const auto fused = fused_.Apply(array.name)) {
        Follow(array, *fused, NamedArray::Rank::kOther);
      } else {
        Add(array, "", NamedArray::Rank::kOther);
      }
    }
    for (const auto& [name, sum] : sums_) {
      if (sum.terms.size() > 1) {
        Add(SumOf(sum.terms), name, sum.rank);
      } else {
        Fail(sum.terms[0], absl::StrCat("expected two terms of ", name,
                                        " or more, found this one"));
      }
    }
    return std::move(named_);
  }

 private:
  void Add(TraceArray array, std::string name, NamedArray::Rank rank) {
    named_.arrays.push_back({std::move(array), std::move(name), rank});
  }

  void Fail(const TraceArray& array, std::string reason) {
    named_.failed.push_back({array.name, std::move(reason)});
  }

  void Follow(const TraceArray& array, const NameRule& rule,
              NamedArray::Rank rank) {
    switch (rule.kind) {
      case NameRule::Kind::kDrop:
        return;
      case NameRule::Kind::kRename:
        return Add(InHalves(array, rule), rule.names[0], rank);
      case NameRule::Kind::kFallback:
        return Add(InHalves(array, rule), rule.names[0],
                   NamedArray::Rank::kFallback);
      case NameRule::Kind::kTerm: {
        Sum& sum = sums_[rule.names[0]];
        sum.rank = rank;
        sum.terms.push_back(array);
        return;
      }
      case NameRule::Kind::kSplit:
        return Split(array, rule, rank);
      case NameRule::Kind::kUnstack:
        return Unstack(array, rule, rank);
    }
  }

  TraceArray InHalves(const TraceArray& array, const NameRule& rule) const {
    return rule.has_neighbours && config_.architecture == Architecture::kLlama
               ? HalvesOf(array, static_cast<size_t>(config_.head_dim))
               : array;
  }

  void Split(const TraceArray& array, const NameRule& rule,
             NamedArray::Rank rank) {
    std::vector<ColumnPart> parts;
    for (const std::string& name : rule.names) {
      // Of a number that has too many digits for a layer.
      const auto parsed = ParseTraceName(name);
      if (!parsed) return Add(array, "", rank);
      parts.push_back(PartOf(*parsed, config_));
    }
    const TraceArray once = ReadOnce(array);
    for (size_t p = 0; p < parts.size(); ++p) {
      Add(ColumnsOf(once, parts, p), rule.names[p], rank);
    }
  }

  // Entries that the model cannot have are not looked at: a file may claim any
  // number of empty ones.
  void Unstack(const TraceArray& array, const NameRule& rule,
               NamedArray::Rank rank) {
    const TraceArray once = ReadOnce(array);
    const auto stored = once.read(max_bytes_);
    if (!stored.ok())
      return Fail(array, std::string(stored.status().message()));
    const uint64_t most = static_cast<uint64_t>(config_.num_hidden_layers) + 1;
    const std::vector<int64_t>& shape = stored->shape;
    if (shape.size() < 2 || stored->bytes.empty() || shape[0] < 2 ||
        static_cast<uint64_t>(shape[0]) > most) {
      return Fail(array, absl::StrCat("expected a stack of 2 to ", most,
                                      " entries, num_hidden_layers + 1, found ",
                                      stored->dtype, " ", ShapeText(shape)));
    }
    for (size_t n = 0; n < static_cast<size_t>(shape[0]); ++n) {
      Add(EntryOf(once, n), rule.EntryName(n), rank);
    }
  }

  struct Sum {
    std::vector<TraceArray> terms;
    NamedArray::Rank rank = NamedArray::Rank::kOther;
  };

  const NameMapping& mapping_;
  const NameMapping fused_;
  const ModelConfig& config_;
  const uint64_t max_bytes_;
  NamedArrays named_;
  std::map<std::string, Sum> sums_;  // by what they are the sum for
};

}  // namespace

NamedArrays NameArrays(absl::Span<const TraceArray> arrays,
                       const NameMapping& mapping, const ModelConfig& config,
                       uint64_t max_bytes) {
  return Namer(mapping, config, max_bytes).Name(arrays);
}

}  // namespace ulpscope
