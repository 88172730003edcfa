#ifndef EXPLORER_PHENOMENA_MASSIVE_CHANNEL_H_
#define EXPLORER_PHENOMENA_MASSIVE_CHANNEL_H_

#include <cstddef>
#include <map>
#include <utility>
#include <vector>

#include "kernels/base/matrix.h"
#include "model/architecture/op.h"

namespace ulpscope {

// A massive channel (explorer/error/massive.h) stays so until one of the two is
// below this share of its threshold: what hovers about a threshold is not born
// and removed every layer.
inline constexpr double kMassiveStays = 0.5;

// One massive spell of a channel at a position. A channel that is removed and
// comes back is two.
struct MassiveChannel {
  size_t channel = 0;
  size_t position = 0;
  size_t born = 0;             // the layer whose add made it
  Op born_op = Op::kEmbed;     // that add; the embedding in layer 0
  size_t removed = 0;          // the layer whose add removed it; 0: none did
  Op removed_op = Op::kEmbed;  // that add, if one did
  double left = 0;             // what that add left in the channel
  // The largest after any layer, signed, and the first layer that it is after.
  // Of a spell that no layer ends in, the one between its layer's two adds.
  double value = 0;
  size_t value_layer = 0;
  // |value| / median |x| of that position then; infinite if most channels are
  // exactly zero.
  double ratio_to_median = 0;
};

// Follows the residual stream of one run.
class MassiveChannels {
 public:
  // The stream after the embedding or after a residual add; in the order in
  // which they run, for any one position. Row r is position first_position + r.
  // A NaN is not massive and counts as infinite in the median (of even counts,
  // the lower one); where that is infinite nothing is massive.
  void Add(size_t layer, Op op, size_t first_position,
           Matrix<const double> stream);

  // So far, the largest first; of equal ones by position, channel and birth.
  std::vector<MassiveChannel> Found() const;

 private:
  struct Spell {
    MassiveChannel found;
    bool has_ended_a_layer = false;  // whether `found.value` is after a layer
  };

  // The spells that last, by position and channel, and those that are over.
  std::map<std::pair<size_t, size_t>, Spell> present_;
  std::vector<MassiveChannel> past_;
};

}  // namespace ulpscope

#endif  // EXPLORER_PHENOMENA_MASSIVE_CHANNEL_H_
