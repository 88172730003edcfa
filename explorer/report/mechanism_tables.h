#ifndef EXPLORER_REPORT_MECHANISM_TABLES_H_
#define EXPLORER_REPORT_MECHANISM_TABLES_H_

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "explorer/attribution/attribution.h"
#include "explorer/attribution/losses.h"
#include "explorer/attribution/luck.h"
#include "explorer/attribution/mechanisms.h"
#include "explorer/results/schema.h"

namespace ulpscope {

// How the error becomes what it is, and what of the set is luck; empty tables
// for none.
std::vector<Table> MechanismTables(const std::vector<Mechanism>& mechanisms,
                                   const std::optional<Luck>& luck);

// The same in sentences of the verdict.
std::vector<std::string> MechanismSentences(
    const std::vector<Mechanism>& mechanisms);
std::vector<std::string> LuckSentences(const Luck& luck);

// Which tokens of the text lose, and where a state that is far off does not
// matter to the logits. `token_at` is the text of a position's token, or empty.
std::vector<std::string> LossSentences(
    const Attribution& attribution, const std::vector<PositionLoss>& losses,
    const std::function<std::string(size_t position)>& token_at);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_MECHANISM_TABLES_H_
