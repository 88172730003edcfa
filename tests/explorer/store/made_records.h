#ifndef TESTS_EXPLORER_STORE_MADE_RECORDS_H_
#define TESTS_EXPLORER_STORE_MADE_RECORDS_H_

#include <string>

#include "absl/strings/str_cat.h"
#include "explorer/error/archive.h"
#include "explorer/error/kept.h"
#include "explorer/store/record.h"

namespace ulpscope {

// A figure that is kept.
struct Figure {
  double value = 0;
};

inline void Visit(Archive& archive, Figure& figure) {
  archive.Figure("value", figure.value);
}

inline Record MadeRecord(int number) {
  Record record;
  record.kind = "error";
  record.input = {{"kind", "error"},
                  {"plan", absl::StrCat("plan ", number)},
                  {"tokens", "1,2,3"}};
  record.key = KeyOf(record.input);
  record.run = "host-1-20261128T221425.123456";
  record.time = "2026-11-28T22:14:25.123456Z";
  record.host = {{"cpu", "A CPU"}, {"target", "AVX2"}, {"build", "unknown"}};
  record.result = absl::StrCat("{\"value\":", number, ".25}");
  return record;
}

inline Subject SubjectOf(const std::string& plan, bool is_time = false) {
  Subject subject;
  subject.kind = is_time ? "time" : "error";
  subject.facts = {{"plan", plan}};
  subject.is_time = is_time;
  return subject;
}

}  // namespace ulpscope

#endif  // TESTS_EXPLORER_STORE_MADE_RECORDS_H_
