#ifndef TESTS_MODEL_CHECKPOINT_MALFORMED_CASES_H_
#define TESTS_MODEL_CHECKPOINT_MALFORMED_CASES_H_

#include <cstdint>
#include <map>
#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace ulpscope {

// Files that no loader may accept, and what its status has to say.

struct Case {
  std::string name;
  std::map<std::string, std::string> files;
  std::string gguf;  // the file to open; if empty, the folder
  std::string tensor;
  std::vector<int64_t> shape;
  std::vector<std::string> message;
};

void PrintTo(const Case& c, std::ostream* out);

nlohmann::json ValidConfig();

std::string ValidSafetensors();

// A folder with a valid config; loads "w" as [2, 3].
Case Safetensors(std::string name, std::string bytes,
                 std::vector<std::string> message);

// "w" should be in a.safetensors, which holds the valid tensors.
Case Index(std::string name, absl::string_view index,
           std::vector<std::string> message);

// A valid config but for `patch` (null removes a key).
Case Config(std::string name, const nlohmann::json& patch,
            std::vector<std::string> message);

std::vector<Case> SafetensorsCases();

std::vector<Case> IndexCases();

std::vector<Case> ConfigCases();

}  // namespace ulpscope

#endif  // TESTS_MODEL_CHECKPOINT_MALFORMED_CASES_H_
