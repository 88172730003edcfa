#ifndef MODEL_TRACE_NAME_MAPPING_H_
#define MODEL_TRACE_NAME_MAPPING_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ulpscope {

// Renames the tensors of a trace to names of model/trace/trace_names.h. Text, a
// rule per line, of which the first that matches counts:
//
//   # llama.cpp's names
//   blk.{i}.attn_q = model.layers.{i}.self_attn.q_proj
//   l_out-{i} = model.layers.{i}
//   norm = -
//
// {i} stands for a number and is on both sides or on none; the right side also
// knows {i+1} and {i-1}. '-' on the right drops the tensor, whose name would
// otherwise be taken for one of ours. '#' begins a comment.
class NameMapping {
 public:
  NameMapping() = default;  // renames nothing

  // Errors name `file` and the line.
  static absl::StatusOr<NameMapping> Parse(absl::string_view text,
                                           absl::string_view file);
  static absl::StatusOr<NameMapping> Load(absl::string_view path);

  // What a rule makes of the name: empty if it drops the tensor. Nothing if no
  // rule matches.
  std::optional<std::string> Apply(absl::string_view name) const;

 private:
  // A name with at most one number in it.
  struct Pattern {
    std::string before;
    std::string after;
    bool has_number = false;
    int offset = 0;  // added to the number
  };
  struct Rule {
    Pattern theirs;
    Pattern ours;  // of a tensor that is dropped: empty
  };

  static absl::StatusOr<Pattern> ParsePattern(absl::string_view text);
  static absl::StatusOr<Rule> ParseRule(absl::string_view line);

  std::vector<Rule> rules_;
};

}  // namespace ulpscope

#endif  // MODEL_TRACE_NAME_MAPPING_H_
