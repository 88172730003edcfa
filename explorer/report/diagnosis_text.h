#ifndef EXPLORER_REPORT_DIAGNOSIS_TEXT_H_
#define EXPLORER_REPORT_DIAGNOSIS_TEXT_H_

#include <string>
#include <vector>

#include "explorer/diagnosis/results.h"

namespace ulpscope {

// "rope in layer 3", "lm_head".
std::string PointPlace(const PointResult& point);

// The diagnosis in words, each sentence with its numbers: the verdict first,
// then how it was found, in the order in which it was.
std::vector<std::string> Sentences(const Diagnosis& diagnosis);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_DIAGNOSIS_TEXT_H_
