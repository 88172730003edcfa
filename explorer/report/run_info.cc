#include "explorer/report/run_info.h"

#include <string>

#include "absl/strings/str_format.h"
#include "model/architecture/config.h"
#include "nlohmann/json.hpp"

namespace ulpscope {

std::string ModelLine(const RunInfo& info) {
  const ModelConfig& c = info.config;
  return absl::StrFormat(
      "Model: %s%s, %s: %d layers, hidden %d, intermediate %d, %d heads, %d KV "
      "heads of %d, vocabulary %d",
      info.model, info.synthetic ? " (SYNTHETIC weights)" : "",
      ArchitectureName(c.architecture), c.num_hidden_layers, c.hidden_size,
      c.intermediate_size, c.num_attention_heads, c.num_key_value_heads,
      c.head_dim, c.vocab_size);
}

nlohmann::ordered_json ModelJson(const RunInfo& info) {
  const ModelConfig& c = info.config;
  return {{"model", info.model},
          {"synthetic", info.synthetic},
          {"architecture", std::string(ArchitectureName(c.architecture))},
          {"num_hidden_layers", c.num_hidden_layers},
          {"hidden_size", c.hidden_size},
          {"intermediate_size", c.intermediate_size},
          {"num_attention_heads", c.num_attention_heads},
          {"num_key_value_heads", c.num_key_value_heads},
          {"head_dim", c.head_dim},
          {"vocab_size", c.vocab_size}};
}

std::string JsonText(const nlohmann::ordered_json& json) {
  // A path may hold bytes that are not UTF-8; JSON cannot.
  return json.dump(1, ' ', false,
                   nlohmann::ordered_json::error_handler_t::replace) +
         "\n";
}

}  // namespace ulpscope
