#include "explorer/report/diagnosis_csv.h"

#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "explorer/diagnosis/results.h"
#include "explorer/report/diagnosis_figures.h"
#include "explorer/report/report_files.h"
#include "explorer/report/run_info.h"
#include "model/architecture/op.h"

namespace ulpscope {

std::string DiagnosisCsv(const RunInfo& info, absl::string_view reference,
                         const Diagnosis& diagnosis) {
  std::string text =
      "model,synthetic,reference,plan,arithmetic,positions,layer,op,name,"
      "stored_as,held_by,closest,elements,nonfinite,differs,still_differs,"
      "distance,distance_with_causes,allowed,tolerance,identical,"
      "identical_with_causes\n";
  const std::string start = absl::StrCat(
      CsvField(info.model), info.synthetic ? ",true," : ",false,",
      CsvField(reference), ",", CsvField(diagnosis.plan), ",",
      CsvField(diagnosis.arithmetic.name), ",", diagnosis.positions, ",");
  for (const PointResult& p : diagnosis.points) {
    absl::StrAppend(&text, start, p.layer, ",", OpName(p.op), ",",
                    CsvField(p.name), ",", p.stored_as, ",",
                    HeldByName(p.held_by), ",", CsvField(p.closest), ",",
                    p.elements, ",", p.nonfinite, ",");
    absl::StrAppend(&text, p.differs ? "true," : "false,",
                    p.still_differs ? "true" : "false");
    for (const double x : {p.distance, p.distance_with_causes, p.allowed,
                           p.tolerance, p.identical, p.identical_with_causes}) {
      absl::StrAppend(&text, ",",
                      std::isnan(x) ? "" : absl::StrFormat("%.17g", x));
    }
    text += "\n";
  }
  return text;
}

}  // namespace ulpscope
