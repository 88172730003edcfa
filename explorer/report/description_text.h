#ifndef EXPLORER_REPORT_DESCRIPTION_TEXT_H_
#define EXPLORER_REPORT_DESCRIPTION_TEXT_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "explorer/diagnosis/description_results.h"
#include "explorer/diagnosis/results.h"
#include "model/architecture/op.h"

namespace ulpscope {

// What is said of points that differ, and of what is not finite.

// "0-5, 9"; of many ranges the first ones, and how many more there are.
std::string RangesText(const IndexRanges& ranges);

// "rope@1"; of what several ops may have made, "layer 1", "layers 1-3" or
// "model".
std::string ShortPlace(const Origin& origin);

// "op rope of layer 1", "one of the ops of layer 1, none of which is traced".
std::string PlaceText(const Origin& origin);

absl::string_view DescribedAsName(DescribedAs status);  // "unexplained"
absl::string_view OrderName(OrderKind kind);            // "neighbours"
absl::string_view ReasonName(NonFiniteReason reason);   // "overflow"

// "f16 ends at 65504", "inf - inf"; empty if it is not known.
std::string Because(const FirstNonFinite& nonfinite);

// A sentence on the first values that are not finite of "the trace".
std::string NonFiniteSentence(absl::string_view whose,
                              const FirstNonFinite& nonfinite);

// A sentence on the share of the trace that is finite and judged.
std::string FiniteSentence(const FiniteValues& values);

// A sentence on a point.
std::string DescriptionSentence(const Diagnosis& d,
                                const PointDescription& description);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_DESCRIPTION_TEXT_H_
