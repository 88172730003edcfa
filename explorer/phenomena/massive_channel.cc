#include "explorer/phenomena/massive_channel.h"

#include <cmath>
#include <cstddef>
#include <tuple>
#include <vector>

#include "absl/algorithm/container.h"
#include "explorer/error/massive.h"
#include "kernels/base/matrix.h"
#include "model/architecture/op.h"

namespace ulpscope {

void MassiveChannels::Add(size_t layer, Op op, size_t first_position,
                          Matrix<const double> stream) {
  for (size_t r = 0; r < stream.rows; ++r) {
    const double* row = stream.Row(r);
    const double median = MedianMagnitude({row, stream.cols});

    const size_t position = first_position + r;
    for (size_t c = 0; c < stream.cols; ++c) {
      const double magnitude = std::fabs(row[c]);
      auto found = present_.find({position, c});
      if (found != present_.end() &&
          !IsMassive(magnitude, median, kMassiveStays)) {
        MassiveChannel& past = found->second.found;
        past.removed = layer;
        past.removed_op = op;
        past.left = row[c];
        past_.push_back(past);
        present_.erase(found);
        continue;
      }
      if (found == present_.end()) {
        if (!IsMassive(magnitude, median, 1)) continue;
        Spell born;
        born.found.channel = c;
        born.found.position = position;
        born.found.born = layer;
        born.found.born_op = op;
        found = present_.insert({{position, c}, born}).first;
      }
      Spell& spell = found->second;
      const bool layer_ends = op != Op::kAttnResidual;
      const bool first_end = layer_ends && !spell.has_ended_a_layer;
      if (spell.has_ended_a_layer && !layer_ends) continue;
      spell.has_ended_a_layer |= layer_ends;
      if (first_end || magnitude > std::fabs(spell.found.value)) {
        spell.found.value = row[c];
        spell.found.value_layer = layer;
        spell.found.ratio_to_median = magnitude / median;
      }
    }
  }
}

std::vector<MassiveChannel> MassiveChannels::Found() const {
  std::vector<MassiveChannel> found = past_;
  for (const auto& [where, spell] : present_) found.push_back(spell.found);
  absl::c_sort(found, [](const MassiveChannel& a, const MassiveChannel& b) {
    return std::make_tuple(-std::fabs(a.value), a.position, a.channel, a.born,
                           a.born_op) < std::make_tuple(-std::fabs(b.value),
                                                        b.position, b.channel,
                                                        b.born, b.born_op);
  });
  return found;
}

}  // namespace ulpscope
