#include "model/architecture/plan.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/log/check.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/attention_form.h"
#include "model/architecture/op.h"
#include "model/architecture/plan_presets.h"

namespace ulpscope {
namespace {

constexpr absl::string_view kAttention = "attention";
constexpr absl::string_view kPreset = "preset";

Kernel KernelAt(size_t index) { return static_cast<Kernel>(index); }

// What a selector of a plan may be, for messages.
std::string SelectorNames() {
  std::vector<absl::string_view> names;
  for (size_t i = 0; i < kNumKernels; ++i) {
    names.push_back(KernelName(KernelAt(i)));
  }
  for (size_t i = 0; i < kNumOps; ++i) {
    // The op `softmax` is all of its group.
    if (OpAt(i) != Op::kSoftmax) names.push_back(OpName(OpAt(i)));
  }
  names.push_back(kAttention);
  names.push_back(kPreset);
  return absl::StrJoin(names, ", ");
}

std::vector<Op> Select(absl::string_view selector) {
  std::vector<Op> ops;
  for (size_t i = 0; i < kNumOps; ++i) {
    if (OpName(OpAt(i)) == selector ||
        KernelName(OpKernel(OpAt(i))) == selector) {
      ops.push_back(OpAt(i));
    }
  }
  return ops;
}

// The ranges of layers that are equal, and their entries' key, "op@3-5".
// `equal` says whether two are, add(layer, key) takes a range by its first.
template <typename Equal, typename Add>
void ForEachRange(absl::string_view selector, size_t num_layers,
                  const Equal& equal, const Add& add) {
  for (size_t first = 1; first <= num_layers;) {
    size_t last = first;
    while (last < num_layers && equal(last + 1, first)) ++last;
    std::string range;
    if (first != 1 || last != num_layers) {
      range = first == last ? absl::StrCat("@", first)
                            : absl::StrCat("@", first, "-", last);
    }
    add(first, absl::StrCat(selector, range));
    first = last + 1;
  }
}

// "22", "22-23" -> {22, 23}.
std::optional<std::pair<size_t, size_t>> ParseLayers(absl::string_view text) {
  const std::vector<absl::string_view> ends = absl::StrSplit(text, '-');
  size_t first = 0, last = 0;
  if (ends.size() > 2 || !absl::SimpleAtoi(ends.front(), &first) ||
      !absl::SimpleAtoi(ends.back(), &last)) {
    return std::nullopt;
  }
  return std::make_pair(first, last);
}

// The preset that a plan is; null for none. Presets are fixed text that applies
// to any number of layers: of one layer each says what it is of all.
const char* PresetNameOf(const Plan& plan) {
  static const std::vector<Plan>& presets = *[] {
    auto* const plans = new std::vector<Plan>;
    for (const PlanPreset& preset : PlanPresets()) {
      auto of_one_layer = Plan::Parse(preset.name, 1);
      CHECK(of_one_layer.ok()) << of_one_layer.status();
      plans->push_back(*std::move(of_one_layer));
    }
    return plans;
  }();
  const auto is = [&plan](const Plan& preset) {
    for (size_t i = 0; i < kNumOps; ++i) {
      const Op op = OpAt(i);
      const Strategy strategy = preset.Get(1, op);
      if (!IsPerLayer(op) && plan.Get(0, op) != strategy) return false;
      for (size_t l = 1; IsPerLayer(op) && l <= plan.num_layers(); ++l) {
        if (plan.Get(l, op) != strategy) return false;
      }
    }
    for (size_t l = 1; l <= plan.num_layers(); ++l) {
      if (plan.attention(l) != preset.attention(1)) return false;
    }
    return true;
  };
  const auto found = std::find_if(presets.begin(), presets.end(), is);
  return found == presets.end()
             ? nullptr
             : PlanPresets()[static_cast<size_t>(found - presets.begin())].name;
}

// A plan may be a file's, whose control characters a terminal would obey.
std::string Escaped(absl::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) {
      absl::StrAppend(&escaped, "\\x", absl::Hex(c, absl::kZeroPad2));
    } else {
      escaped.push_back(c);
    }
  }
  return escaped;
}

}  // namespace

std::string LayerRangeText(size_t first, size_t last) {
  return first == last ? absl::StrCat("layer ", first)
                       : absl::StrCat("layers ", first, "-", last);
}

Plan::Plan(size_t num_layers)
    : num_layers_(num_layers), cells_((num_layers + 1) * kNumOps) {}

absl::StatusOr<Plan> Plan::Parse(absl::string_view text, size_t num_layers) {
  return Plan(num_layers).With(text);
}

Plan Plan::Oracle(size_t num_layers) { return *Parse("oracle", num_layers); }

absl::StatusOr<Plan> Plan::With(absl::string_view entries) const {
  if (absl::StripAsciiWhitespace(entries).empty()) {
    return absl::InvalidArgumentError(
        "empty plan: expected a preset or entries such as matmul=bf16");
  }
  Plan plan = *this;
  for (absl::string_view entry : absl::StrSplit(entries, ',')) {
    const absl::Status status = plan.Apply(absl::StripAsciiWhitespace(entry));
    if (!status.ok()) {
      return absl::InvalidArgumentError(
          Escaped(absl::StrCat("plan '", entries, "': ", status.message())));
    }
  }
  return plan;
}

absl::Status Plan::ApplyPreset(absl::string_view name) {
  for (const PlanPreset& preset : PlanPresets()) {
    if (preset.name != name) continue;
    std::fill(cells_.begin(), cells_.end(), Strategy());
    attention_.clear();
    for (absl::string_view entry :
         absl::StrSplit(preset.entries, ',', absl::SkipEmpty())) {
      const absl::Status status = Apply(entry);
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "'", name, "' is not a preset (",
      absl::StrJoin(PlanPresets(), ", ",
                    [](std::string* out, const PlanPreset& preset) {
                      absl::StrAppend(out, preset.name);
                    }),
      ") and not an entry SELECTOR[@LAYER[-LAYER]]=STRATEGY"));
}

absl::Status Plan::Apply(absl::string_view entry) {
  const size_t equals = entry.find('=');
  if (equals == absl::string_view::npos) return ApplyPreset(entry);
  const absl::string_view value =
      absl::StripAsciiWhitespace(entry.substr(equals + 1));
  const absl::string_view key =
      absl::StripAsciiWhitespace(entry.substr(0, equals));
  const size_t at = key.find('@');
  const absl::string_view selector = key.substr(0, at);
  if (key == kPreset) return ApplyPreset(value);

  const std::vector<Op> ops = Select(selector);
  if (ops.empty() && selector != kAttention) {
    return absl::InvalidArgumentError(absl::StrCat(
        "'", selector,
        "' is neither an op nor a group of ops: ", SelectorNames()));
  }
  std::pair<size_t, size_t> layers = {1, num_layers_};
  if (at != absl::string_view::npos) {
    const absl::string_view range = key.substr(at + 1);
    const auto parsed = ParseLayers(range);
    if (!parsed.has_value() || parsed->first < 1 ||
        parsed->first > parsed->second || parsed->second > num_layers_) {
      return absl::InvalidArgumentError(absl::StrCat(
          "'@", range, "' in '", entry,
          "': expected @N or @A-B with 1 <= A <= B <= ", num_layers_));
    }
    layers = *parsed;
    if (ops.size() == 1 && !IsPerLayer(ops[0])) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", entry, "': ", selector, " is not in a layer"));
    }
  }
  if (selector == kAttention) {
    const auto form = AttentionForm::Parse(value);
    if (!form.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", entry, "': ", form.status().message()));
    }
    for (size_t l = layers.first; l <= layers.second; ++l) {
      SetAttention(l, *form);
    }
  }
  for (const Op op : ops) {
    const auto strategy = FindStrategy(value, OpKernel(op));
    if (!strategy.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", entry, "': ", strategy.status().message()));
    }
    // A range of layers leaves alone what is not in a layer.
    if (at != absl::string_view::npos && !IsPerLayer(op)) continue;
    ForEachCell(op, [&](size_t layer, Op cell_op) {
      if (!IsPerLayer(cell_op) ||
          (layer >= layers.first && layer <= layers.second)) {
        Set(layer, cell_op, *strategy);
      }
    });
  }
  return absl::OkStatus();
}

void Plan::TakeCell(const Plan& from, size_t layer, Op op) {
  Set(layer, op, from.Get(layer, op));
  if (op == Op::kQk || op == Op::kSoftmax || op == Op::kAv) {
    SetAttention(layer, from.attention(layer));
  }
}

bool Plan::emulated() const {
  return std::any_of(cells_.begin(), cells_.end(), [](Strategy strategy) {
    return strategy.info().emulated();
  });
}

bool Plan::SharesCell(const Plan& other, size_t layer, Op op) const {
  return ComputeTheSame(op, Get(layer, op), other.Get(layer, op)) &&
         (op != Op::kSoftmax || attention(layer) == other.attention(layer));
}

bool operator==(const Plan& a, const Plan& b) {
  if (a.num_layers_ != b.num_layers_ || a.cells_ != b.cells_) return false;
  for (size_t layer = 1; layer <= a.num_layers_; ++layer) {
    if (a.attention(layer) != b.attention(layer)) return false;
  }
  return true;
}

std::string Plan::Text() const {
  if (const char* const preset = PresetNameOf(*this)) return preset;
  std::vector<std::string> entries;
  // A group's entry is the strategy of most of its cells, the first in order of
  // Strategies() among equals; f32 needs no entry.
  std::array<Strategy, kNumKernels> group;
  for (size_t g = 0; g < kNumKernels; ++g) {
    std::vector<size_t> count(Strategies().size(), 0);
    for (size_t i = 0; i < kNumOps; ++i) {
      if (OpKernel(OpAt(i)) != KernelAt(g)) continue;
      ForEachCell(OpAt(i), [&](size_t layer, Op op) {
        ++count[Get(layer, op).index()];
      });
    }
    group[g] = Strategy(static_cast<size_t>(
        std::max_element(count.begin(), count.end()) - count.begin()));
    if (group[g] != Strategy()) {
      entries.push_back(
          absl::StrCat(KernelName(KernelAt(g)), "=", group[g].name()));
    }
  }
  for (size_t i = 0; i < kNumOps; ++i) {
    const Op op = OpAt(i);
    const Strategy base = group[static_cast<size_t>(OpKernel(op))];
    if (!IsPerLayer(op)) {
      if (Get(0, op) != base) {
        entries.push_back(absl::StrCat(OpName(op), "=", Get(0, op).name()));
      }
      continue;
    }
    ForEachRange(
        OpName(op), num_layers_,
        [&](size_t a, size_t b) { return Get(a, op) == Get(b, op); },
        [&](size_t layer, const std::string& key) {
          if (Get(layer, op) == base) return;
          entries.push_back(absl::StrCat(key, "=", Get(layer, op).name()));
        });
  }
  ForEachRange(
      kAttention, num_layers_,
      [&](size_t a, size_t b) { return attention(a) == attention(b); },
      [&](size_t layer, const std::string& key) {
        if (attention(layer) == AttentionForm()) return;
        entries.push_back(absl::StrCat(key, "=", attention(layer).Text()));
      });
  return absl::StrJoin(entries, ",");
}

}  // namespace ulpscope
