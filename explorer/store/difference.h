#ifndef EXPLORER_STORE_DIFFERENCE_H_
#define EXPLORER_STORE_DIFFERENCE_H_

#include <string>

#include "explorer/store/record.h"

namespace ulpscope {

// The first figure of two results that is not the same.
struct FigureDifference {
  std::string figure;         // "layers/3/error/rmse"
  std::string first, second;  // as JSON has them; empty where it is missing

  std::string Text() const;  // "layers/3/error/rmse: 1.0 and 2.0"
};

// Of records whose results differ.
FigureDifference DifferenceOf(const Record& first, const Record& second);

}  // namespace ulpscope

#endif  // EXPLORER_STORE_DIFFERENCE_H_
