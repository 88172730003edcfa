#ifndef TESTS_EXPLORER_ATTRIBUTION_PLANTED_FAULT_H_
#define TESTS_EXPLORER_ATTRIBUTION_PLANTED_FAULT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "explorer/attribution/attribution.h"
#include "kernels/base/parallel.h"
#include "kernels/measure/random.h"
#include "model/architecture/cell.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"

namespace ulpscope {

// A fault: every op in f32, and at one cell bf16_acc, or bf16 where the op has
// no sum. A tool that says where errors come from must name that cell.

// `count` different cells of the model, each as likely as any other.
std::vector<Cell> DrawnCells(const ModelConfig& config, size_t count,
                             Random& random);

// A plan with a fault at each of the cells; f32 there where the plan has the
// fault itself.
Plan WithFaults(Plan plan, absl::Span<const Cell> cells);

// f32 with a fault at each of the cells.
Plan PlanWithFaults(size_t num_layers, absl::Span<const Cell> cells);

// Whether a bit of the final hidden state or of the logits, at any position,
// differs between the two plans, each run alone by a Decoder.
bool ResultsDiffer(const Weights& weights, const Plan& a, const Plan& b,
                   const std::vector<int32_t>& tokens, Parallel& parallel);

// "down_proj@3".
std::string CellName(const Cell& cell);

// The cells of the cause map by their effect on the logits, the largest first,
// and of the repair map by how much of the logits' error goes away, or by how
// far the logits move.
std::vector<std::string> LargestCauses(const Attribution& attribution,
                                       size_t count);
std::vector<std::string> BestRepairs(const Attribution& attribution,
                                     size_t count);
std::vector<std::string> LargestMoves(const Attribution& attribution,
                                      size_t count);

// A fault counts for a repair if its error can be told from f32's own, which
// better sums at other cells could repair.
inline constexpr double kVisibleFault = 4;

// The cells of the smallest repair of a plan with a fault, to f32 or f64. The
// budget is half way, as ratios go, between the plan's logits_rel_l2 and that
// of f32.
std::vector<std::string> SmallestRepair(const Weights& weights,
                                        const Plan& plan, double plan_error,
                                        double f32_error,
                                        const std::vector<int32_t>& tokens,
                                        Parallel& parallel);

}  // namespace ulpscope

#endif  // TESTS_EXPLORER_ATTRIBUTION_PLANTED_FAULT_H_
