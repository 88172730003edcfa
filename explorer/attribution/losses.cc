#include "explorer/attribution/losses.h"

#include <cmath>
#include <cstddef>
#include <numeric>
#include <vector>

#include "absl/algorithm/container.h"
#include "explorer/attribution/attribution_parts.h"
#include "explorer/phenomena/flips.h"
#include "explorer/phenomena/phenomena.h"
#include "kernels/measure/norms.h"

namespace ulpscope {

std::vector<PositionLoss> LossesOf(const std::vector<PositionError>& errors,
                                   const Phenomena& phenomena) {
  double all = 0;
  for (const PositionError& error : errors) all += error.kl;
  std::vector<PositionLoss> losses(errors.size());
  for (size_t i = 0; i < errors.size(); ++i) {
    losses[i].position = i;
    losses[i].kl_share = RatioOrZero(errors[i].kl, all);
    losses[i].matters = !(errors[i].kl < kMatters);  // a NaN does
  }
  for (const NearTie& tie : phenomena.near_ties) {
    if (!tie.flips || tie.position >= losses.size()) continue;
    losses[tie.position].changes_token = true;
    losses[tie.position].matters = true;
  }
  if (!(all > 0) || !std::isfinite(all)) return losses;
  std::vector<size_t> order(errors.size());
  std::iota(order.begin(), order.end(), size_t{0});
  absl::c_stable_sort(
      order, [&](size_t a, size_t b) { return errors[a].kl > errors[b].kl; });
  double sum = 0;
  for (const size_t i : order) {
    if (sum >= kMostOfKl * all) break;
    losses[i].has_most = true;
    sum += errors[i].kl;
  }
  return losses;
}

}  // namespace ulpscope
