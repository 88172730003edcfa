#include "tests/explorer/diagnosis/diagnosed_model.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/diagnosis/diagnosis.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/results.h"
#include "explorer/diagnosis/traced_values.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/architecture/variant.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/weights.h"
#include "model/decoder/activations.h"
#include "model/lockstep/lockstep.h"
#include "model/trace/reference_trace.h"
#include "model/trace/trace_dump.h"
#include "tests/explorer/error/test_monitor.h"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;

// All rows of every op but scores, as a trace has them.
class Collector : public LockstepObserver {
 public:
  explicit Collector(ReferenceTrace& trace) : trace_(trace) {}

  bool Wants(Op op) const override {
    return op != Op::kQk && op != Op::kSoftmax;
  }

  void OnOutput(absl::Span<const size_t> /*streams*/, size_t layer, Op op,
                size_t first_position, Matrix<const double> rows) override {
    TracedTensor& tensor = trace_.outputs[{layer, op}];
    if (tensor.rows.rows() == 0) {
      tensor.name = absl::StrCat(OpName(op), "@", layer);
      tensor.stored_as = "F64";
      tensor.rows = Rows::Allocate(trace_.tokens.size(), rows.cols);
    }
    for (size_t r = 0; r < rows.rows; ++r) {
      std::copy_n(rows.Row(r), rows.cols,
                  tensor.rows.view().Row(first_position + r));
    }
  }

 private:
  ReferenceTrace& trace_;
};

}  // namespace

const OpenedModel& Opened(const std::string& name) {
  static auto* const all = new std::map<std::string, OpenedModel>();
  const auto found = all->find(name);
  if (found != all->end()) return found->second;
  return (*all)[name] = Open(name);
}

OpenedModel Open(const std::string& name) {
  OpenedModel model;
  auto checkpoint = OpenCheckpoint(name);
  EXPECT_THAT(checkpoint, IsOk());
  model.checkpoint = *std::move(checkpoint);
  Parallel parallel(2);
  auto weights = LoadWeights(model.checkpoint, parallel, [](size_t, size_t) {});
  EXPECT_THAT(weights, IsOk());
  model.weights = *std::move(weights);
  return model;
}

ReferenceTrace TraceOf(const std::string& model, absl::string_view plan_text,
                       const std::vector<int32_t>& tokens, TraceKind kind,
                       bool last_state_normed) {
  static int traces = 0;
  const OpenedModel& opened = Opened(model);
  const auto plan = Plan::Parse(plan_text, opened.weights.layers.size());
  EXPECT_THAT(plan, IsOk());
  const std::string path =
      absl::StrCat(TestFolder(), "/trace", traces++,
                   kind == TraceKind::kFolder ? "" : ".safetensors");
  std::filesystem::remove_all(path);  // of an earlier run of the test
  TraceDumpOptions options;
  options.last_state_is_normed = last_state_normed;
  Parallel parallel(2);
  EXPECT_THAT(DumpTrace(opened.weights, *plan, tokens, path, options, parallel),
              IsOk());
  auto trace = LoadReferenceTrace(path, "", opened.checkpoint.config, tokens);
  EXPECT_THAT(trace, IsOk());
  if (!trace.ok()) return {};
  if (kind == TraceKind::kStatesFile) {
    trace->outputs.clear();
    trace->scores.clear();
  }
  return *std::move(trace);
}

ReferenceTrace TraceOfVariant(const std::string& model,
                              absl::string_view plan_text,
                              const std::vector<int32_t>& tokens,
                              const Variant& variant) {
  return TraceOfVariant(Opened(model), plan_text, tokens, variant);
}

ReferenceTrace TraceOfVariant(const OpenedModel& opened,
                              absl::string_view plan_text,
                              const std::vector<int32_t>& tokens,
                              const Variant& variant) {
  auto plan = Plan::Parse(plan_text, opened.weights.layers.size());
  EXPECT_THAT(plan, IsOk());
  ReferenceTrace trace;
  trace.tokens = tokens;
  Stream stream = {*std::move(plan), tokens};
  stream.variant = variant;
  LockstepOptions options;
  options.logits = Logits::kAll;
  Collector collector(trace);
  Parallel parallel(2);
  EXPECT_THAT(
      RunLockstep(opened.weights, {stream}, options, collector, parallel),
      IsOk());
  return trace;
}

AlignedTrace Aligned(const ReferenceTrace& trace, size_t num_layers,
                     int state_shift, bool last_state_normed) {
  TestMonitor monitor;
  Parallel parallel(2);
  const auto values = TracedValues::Of(trace, monitor, parallel);
  EXPECT_THAT(values, IsOk());
  return AlignedTrace(*values, num_layers, state_shift, last_state_normed);
}

Diagnosis DiagnosisOf(const std::string& model, const ReferenceTrace& trace,
                      const DiagnosedWith& options,
                      absl::string_view plan_text) {
  return DiagnosisOf(Opened(model), trace, options, plan_text);
}

Diagnosis DiagnosisOf(const OpenedModel& opened, const ReferenceTrace& trace,
                      const DiagnosedWith& options,
                      absl::string_view plan_text) {
  const auto plan = Plan::Parse(plan_text, opened.weights.layers.size());
  EXPECT_THAT(plan, IsOk());
  Parallel parallel(2);
  TestMonitor monitor(options.stop);
  auto diagnosis =
      Diagnose(RunOf(opened.weights, parallel, monitor, options.memory),
               opened.checkpoint, *plan, trace, options.explain_rounding);
  EXPECT_THAT(diagnosis, IsOk());
  return diagnosis.ok() ? *std::move(diagnosis) : Diagnosis();
}

std::vector<std::string> FoundIn(const Diagnosis& diagnosis) {
  std::vector<std::string> ids;
  for (const DiagnosedCause& cause : diagnosis.causes) {
    if (cause.kind != CauseKind::kRounding) ids.push_back(cause.id);
  }
  return ids;
}

}  // namespace ulpscope
