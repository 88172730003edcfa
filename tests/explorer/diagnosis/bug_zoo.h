#ifndef TESTS_EXPLORER_DIAGNOSIS_BUG_ZOO_H_
#define TESTS_EXPLORER_DIAGNOSIS_BUG_ZOO_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace ulpscope {

// A trace of tests/testdata/zoo: transformers, patched by
// tools/make_bug_zoo.py.
struct ZooTrace {
  std::string name;  // of the file, without its ending
  std::string file;
  std::string checkpoint;  // folder
  std::string dtype;       // "float32", ...
  // Ids of the catalogue (explorer/diagnosis/hypotheses.h) that are in it.
  std::vector<std::string> bugs;
  bool outside = false;  // it has a bug that is not in the catalogue
  bool has_ops = true;   // false: states and logits are all there is
  // Where the output of transformers first differs from the correct model's;
  // empty where none does. Layers from 1, 0 for ops in no layer.
  size_t first_layer = 0;
  std::string first_op;
};

// All of them, as zoo.json lists them; none if that cannot be read.
std::vector<ZooTrace> BugZoo();

}  // namespace ulpscope

#endif  // TESTS_EXPLORER_DIAGNOSIS_BUG_ZOO_H_
