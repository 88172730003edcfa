#ifndef MODEL_TRACE_TRACE_DUMP_OPTIONS_H_
#define MODEL_TRACE_TRACE_DUMP_OPTIONS_H_

#include <cstddef>
#include <functional>
#include <string>

namespace ulpscope {

struct TraceDumpOptions {
  std::string model;  // its name, for the metadata; or empty
  // Whether the last hidden state is the one after the final norm, as
  // transformers' output_hidden_states has it, or the residual stream.
  bool last_state_is_normed = true;
  std::function<bool()> stop;  // asked before every layer; true ends it
  // After every layer and the logits; of layers + 1.
  std::function<void(size_t done, size_t total)> progress;
};

}  // namespace ulpscope

#endif  // MODEL_TRACE_TRACE_DUMP_OPTIONS_H_
