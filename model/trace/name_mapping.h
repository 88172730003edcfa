#ifndef MODEL_TRACE_NAME_MAPPING_H_
#define MODEL_TRACE_NAME_MAPPING_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ulpscope {

// What becomes of a tensor of a trace by its name.
struct NameRule {
  enum class Kind {
    kRename,    // it is names[0]
    kDrop,      // it is not read
    kFallback,  // it is names[0] if no other rule gives that name
    kTerm,      // names[0] is the sum of all tensors with such a rule
    kSplit,     // its columns are those of names, one beside the other
    kUnstack,  // the entries of its first dimension are `names`, endlessly: see
               // EntryName
  };
  Kind kind = Kind::kRename;
  std::vector<std::string> names;
  // Of kRename and kFallback: of a Llama, channels of a head are as llama.cpp
  // rotates them, neighbours together.
  bool has_neighbours = false;
  // Of kUnstack: entry n is before + (first + n) + after.
  std::string before, after;
  size_t first = 0;

  std::string EntryName(size_t n) const;
};

// Renames the tensors of a trace to names of model/trace/trace_names.h. Text, a
// rule per line, of which the first that matches counts:
//
//   # THEIR NAME = OUR NAME
//   blk.{i}.attn_q = model.layers.{i}.self_attn.q_proj
//   l_out-{i} = model.layers.{i}
//   norm = -
//   Qcur-{i}.2 = ~ model.layers.{i}.self_attn.q_proj
//   Kcur-{i}.3 = ? model.layers.{i}.self_attn.k_norm
//   block.{i}.0 = + model.layers.{i}
//   block.{i}.1 = + model.layers.{i}
//   blk.{i}.gate_up = model.layers.{i}.mlp.gate_proj,
//   model.layers.{i}.mlp.up_proj all_states = hidden_states.{n}
//
// {i} stands for a number and is on both sides or on none; the right side also
// knows {i+1} and {i-1}. '-' on the right drops the tensor, whose name would
// otherwise be taken for one of ours; '?' gives way to another rule's tensor of
// that name; '+' adds tensors; several names are columns beside each other, as
// wide as the model has them; {n} or {n+1} counts the entries of the first
// dimension. '#' begins a comment.
class NameMapping {
 public:
  NameMapping() = default;  // renames nothing

  // Errors name `file` and the line.
  static absl::StatusOr<NameMapping> Parse(absl::string_view text,
                                           absl::string_view file);
  // A file, or a mapping that is built in (BuiltInMapping).
  static absl::StatusOr<NameMapping> Load(absl::string_view path);

  // What a rule makes of the name; nothing if none matches.
  std::optional<NameRule> Apply(absl::string_view name) const;

 private:
  // A name with at most one number in it.
  struct Pattern {
    std::string before;
    std::string after;
    char number = 0;  // the letter in its braces, or 0
    int offset = 0;   // added to the number
  };
  struct Rule {
    NameRule::Kind kind = NameRule::Kind::kRename;
    bool has_neighbours = false;
    Pattern theirs;
    std::vector<Pattern> ours;  // of a tensor that is dropped: none
  };

  static absl::StatusOr<Pattern> ParsePattern(absl::string_view text);
  static absl::StatusOr<Pattern> ParseOurs(absl::string_view text,
                                           const Rule& rule,
                                           absl::string_view line);
  static absl::StatusOr<Rule> ParseRule(absl::string_view line);

  std::vector<Rule> rules_;
};

}  // namespace ulpscope

#endif  // MODEL_TRACE_NAME_MAPPING_H_
