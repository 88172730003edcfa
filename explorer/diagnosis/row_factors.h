#ifndef EXPLORER_DIAGNOSIS_ROW_FACTORS_H_
#define EXPLORER_DIAGNOSIS_ROW_FACTORS_H_

#include <cstddef>
#include <optional>
#include <vector>

#include "explorer/diagnosis/compared_values.h"
#include "explorer/diagnosis/description_results.h"
#include "kernels/base/format.h"

namespace ulpscope {

// Elements that have one factor: a row, or a head of one.
struct FactorGroup {
  size_t row = 0, first_channel = 0, channels = 0;
};

// The rows, or their heads where a norm is of heads.
std::vector<FactorGroup> GroupsOf(const ComparedValues& values,
                                  const std::vector<size_t>& rows,
                                  bool of_heads);

// The number by which ours is nearest to theirs; none if ours is zero.
std::optional<double> BestFactor(const ComparedValues& values,
                                 const FactorGroup& group);

// Beyond rounding: whether a factor of each group makes theirs of ours, within
// rounding, where the factors are not the same and this is not by chance.
std::optional<RowFactors> FindFactors(const ComparedValues& values,
                                      const std::vector<FactorGroup>& groups);

// Within rounding, of values in a 16-bit format: whether a factor of each
// group, near 1, gives theirs the bits that ours has without one. For one
// factor the elements of theirs that are the number next to ours are on one
// side of it, while other rounding leaves them on either: with n elements of a
// group that are up or down by s_i spacings, z = sum s_i / sqrt(sum s_i^2) has
// P(|z| > x) <= 2 exp(-x^2 / 2) where signs are random (Efron 1969). And no
// more elements may be left without their bits than ours leaves, rounded from
// the exact values with the best factor, and six standard deviations.
std::optional<RowFactors> FindRoundedFactors(
    const ComparedValues& values, const std::vector<FactorGroup>& groups,
    Format format);

// Whether each group's factor is what `inverse_rms[g]` becomes when it is
// rounded to the format, by itself: more elements get their bits by it than
// lose them, beyond chance, and at least half as many as the best factors give
// theirs, but for what these owe to being chosen (as much as ours gains by
// them, which has the factor 1).
bool AreRounded(const ComparedValues& values,
                const std::vector<FactorGroup>& groups, Format format,
                const std::vector<double>& inverse_rms);

}  // namespace ulpscope

#endif  // EXPLORER_DIAGNOSIS_ROW_FACTORS_H_
