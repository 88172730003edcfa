#ifndef TESTS_MODEL_CHECKPOINT_REFERENCE_FIXTURE_H_
#define TESTS_MODEL_CHECKPOINT_REFERENCE_FIXTURE_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ulpscope {

// One array of a reference: row-major, rows are tokens.
struct ReferenceArray {
  std::vector<int64_t> shape;
  std::vector<double> values;
};

// A random-weight checkpoint and what transformers, computing in float64
// throughout, makes of a prompt. tools/make_reference_fixtures.py writes them
// and says what each array is: "hidden_states.I", "final_norm", "logits", and
// module outputs such as "model.layers.0.self_attn.q_proj".
struct ReferenceFixture {
  std::string folder;  // the checkpoint, for OpenCheckpoint
  std::vector<int64_t> tokens;
  std::map<std::string, ReferenceArray> arrays;
};

// Reads tests/testdata/reference/`name`, relative to the workspace's runfiles,
// which is where Bazel runs a test.
absl::StatusOr<ReferenceFixture> LoadReferenceFixture(absl::string_view name);

}  // namespace ulpscope

#endif  // TESTS_MODEL_CHECKPOINT_REFERENCE_FIXTURE_H_
