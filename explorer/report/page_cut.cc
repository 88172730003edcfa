#include "explorer/report/page_cut.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/results/results_json.h"
#include "explorer/results/schema.h"

namespace ulpscope {
namespace {

using Row = std::vector<Value>;

constexpr char kPlans[] = "plans";
constexpr size_t kMostGroups = 12;
// Tables of which a plan may have many rows, and how many go with the plan.
constexpr absl::string_view kLongTables[] = {"tokens", "window_errors"};
constexpr size_t kRowsOfLongTables = 10;
// The table of repairs, of which a cell's are many and say the least each.
constexpr char kRepairs[] = "repairs";

double NumberOf(const Value& value, double otherwise) {
  const double* const x = std::get_if<double>(&value);
  return x == nullptr ? otherwise : *x;
}

// A table and which of its rows are kept.
class CutTable {
 public:
  explicit CutTable(const Table& table)
      : table_(table), json_(table), kept_(table.rows.size(), false) {}

  const Table& table() const { return table_; }

  // With what stands between two rows. A page writes "<" in six bytes.
  size_t BytesOf(size_t row) const {
    constexpr size_t kBetween = 4;
    const std::string text = json_.Of(table_.rows[row]);
    return text.size() + kBetween +
           5 * static_cast<size_t>(absl::c_count(text, '<'));
  }

  bool Has(size_t row) const { return kept_[row]; }
  void Keep(size_t row) { kept_[row] = true; }

  // Keeps it if it fits, and takes it from the room.
  bool KeepIfFits(size_t row, size_t& room) {
    const size_t bytes = BytesOf(row);
    if (bytes > room) return false;
    room -= bytes;
    Keep(row);
    return true;
  }

  size_t rows_kept() const {
    return static_cast<size_t>(absl::c_count(kept_, true));
  }
  bool whole() const { return rows_kept() == kept_.size(); }

  Table Take() const {
    Table table = {
        table_.name, table_.about, table_.single, table_.columns, {}};
    for (size_t r = 0; r < kept_.size(); ++r) {
      if (kept_[r]) table.rows.push_back(table_.rows[r]);
    }
    return table;
  }

 private:
  const Table& table_;
  const RowJson json_;
  std::vector<bool> kept_;
};

// The order in which a table's rows are kept: its own, but of repairs those of
// single cells come last.
std::vector<size_t> OrderOf(const Table& table) {
  std::vector<size_t> order(table.rows.size());
  std::iota(order.begin(), order.end(), size_t{0});
  if (table.name == kRepairs) {
    const size_t scope = table.Find("scope");
    std::stable_partition(order.begin(), order.end(), [&](size_t r) {
      return std::get<std::string>(table.rows[r][scope]) != "cell";
    });
  }
  return order;
}

// Rows of tables that are of no plan: all, or as many of the largest ones as
// fit, from the first on.
void KeepFirstRows(absl::Span<CutTable* const> tables, size_t& room) {
  std::vector<std::pair<size_t, CutTable*>> by_bytes;
  for (CutTable* table : tables) {
    size_t bytes = 0;
    for (size_t r = 0; r < table->table().rows.size(); ++r) {
      bytes += table->BytesOf(r);
    }
    by_bytes.emplace_back(bytes, table);
  }
  // The smaller ones are whole, and leave what they do not need of an equal
  // share to the larger ones.
  absl::c_stable_sort(
      by_bytes, [](const auto& a, const auto& b) { return a.first < b.first; });
  for (size_t t = 0; t < by_bytes.size(); ++t) {
    size_t share = room / (by_bytes.size() - t);
    const size_t before = share;
    CutTable& table = *by_bytes[t].second;
    for (const size_t r : OrderOf(table.table())) {
      if (table.table().single) {
        const size_t bytes = table.BytesOf(r);
        share -= std::min(share, bytes);
        table.Keep(r);
      } else if (!table.KeepIfFits(r, share)) {
        break;
      }
    }
    room -= std::min(room, before - share);
  }
}

// What is known of a sweep's plans, by the rows of their table.
struct PlanColumns {
  explicit PlanColumns(const Table& plans)
      : table(plans),
        rank(plans.Find("rank")),
        pareto(plans.Find("pareto")),
        speed(plans.Find("decode_tokens_per_second")),
        score(plans.Find("score")) {}

  bool IsMeasured(size_t row) const { return Has(row, rank); }
  bool IsTimed(size_t row) const { return Has(row, speed); }
  bool IsOnFront(size_t row) const {
    const bool* const front = std::get_if<bool>(&table.rows[row][pareto]);
    return front != nullptr && *front;
  }
  size_t RankOf(size_t row) const {
    return static_cast<size_t>(std::get<int64_t>(table.rows[row][rank]));
  }
  std::optional<double> ScoreOf(size_t row) const {
    const double* const x = std::get_if<double>(&table.rows[row][score]);
    return x == nullptr ? std::nullopt : std::optional<double>(*x);
  }

  // Of the measured ones; none if none is timed.
  std::optional<size_t> Fastest() const {
    std::optional<size_t> fastest;
    const auto speed_of = [&](size_t row) {
      return NumberOf(table.rows[row][speed], 0);
    };
    for (size_t r = 0; r < table.rows.size(); ++r) {
      if (!IsMeasured(r) || !IsTimed(r)) continue;
      if (!fastest || speed_of(r) > speed_of(*fastest)) fastest = r;
    }
    return fastest;
  }

  bool Has(size_t row, size_t column) const {
    return !std::holds_alternative<std::monostate>(table.rows[row][column]);
  }

  const Table& table;
  const size_t rank, pareto, speed, score;
};

// Which of a sweep's plans come first.
struct PlanOrders {
  std::vector<size_t> rows;     // of `plans`
  std::vector<size_t> details;  // the same without a place for the timed ones
};

PlanOrders OrdersOf(const PlanColumns& plans) {
  const size_t count = plans.table.rows.size();
  std::optional<size_t> best, worst;  // they stand in the order of their ranks
  for (size_t r = 0; r < count; ++r) {
    if (!plans.IsMeasured(r)) continue;
    if (!best) best = r;
    worst = r;
  }
  const std::optional<size_t> fastest = plans.Fastest();
  const auto ordered = [&](bool with_timed) {
    std::vector<size_t> order(count);
    std::iota(order.begin(), order.end(), size_t{0});
    const auto place = [&](size_t r) {
      return r == best || r == worst || r == fastest ? 0
             : plans.IsOnFront(r)                    ? 1
             : with_timed && plans.IsTimed(r)        ? 2
                                                     : 3;
    };
    absl::c_stable_sort(
        order, [&](size_t a, size_t b) { return place(a) < place(b); });
    return order;
  };
  return {ordered(true), ordered(false)};
}

// Of the rows of `plans` that are left out, in the order of ranks.
std::vector<LeftOutPlans> GroupsOf(const CutTable& cut,
                                   const PlanColumns& plans) {
  std::vector<size_t> measured;
  LeftOutPlans others;
  for (size_t r = 0; r < plans.table.rows.size(); ++r) {
    if (cut.Has(r)) continue;
    if (plans.IsMeasured(r)) {
      measured.push_back(r);
    } else {
      ++others.plans;
    }
  }
  std::vector<LeftOutPlans> groups;
  const size_t count = std::min(kMostGroups, measured.size());
  for (size_t g = 0; g < count; ++g) {
    const size_t begin = g * measured.size() / count;
    const size_t end = (g + 1) * measured.size() / count;
    LeftOutPlans& group = groups.emplace_back();
    group.plans = end - begin;
    for (size_t i = begin; i < end; ++i) {
      if (plans.IsTimed(measured[i])) ++group.timed;
    }
    group.first_rank = plans.RankOf(measured[begin]);
    group.last_rank = plans.RankOf(measured[end - 1]);
    // They rank by it.
    group.least_score = plans.ScoreOf(measured[begin]);
    group.median_score = plans.ScoreOf(measured[begin + (end - begin - 1) / 2]);
    group.largest_score = plans.ScoreOf(measured[end - 1]);
  }
  if (others.plans > 0) groups.push_back(others);
  return groups;
}

void CountPlans(const PlanColumns& plans, PageCut& cut) {
  const Table& table = plans.table;
  const size_t reason = table.Find("not_timed");
  cut.plans = table.rows.size();
  for (size_t r = 0; r < table.rows.size(); ++r) {
    if (!plans.IsMeasured(r)) continue;
    ++cut.measured;
    if (plans.IsTimed(r)) ++cut.timed;
    if (plans.IsOnFront(r)) ++cut.front;
    if (const auto* const text =
            std::get_if<std::string>(&table.rows[r][reason])) {
      ++cut.not_timed[*text];
    }
  }
  if (const auto fastest = plans.Fastest()) {
    cut.fastest =
        std::get<std::string>(table.rows[*fastest][table.Find("plan")]);
  }
}

// The rows of a table that are of each plan. Of a long one those of the largest
// KL divergence come first.
std::unordered_map<std::string, std::vector<size_t>> RowsByPlan(
    const Table& table) {
  std::unordered_map<std::string, std::vector<size_t>> rows;
  const size_t plan = table.Find("plan");
  for (size_t r = 0; r < table.rows.size(); ++r) {
    rows[std::get<std::string>(table.rows[r][plan])].push_back(r);
  }
  if (!absl::c_linear_search(kLongTables, table.name)) return rows;
  const size_t kl = table.Find("kl_nats");
  const auto key = [&](size_t r) {
    const double x = NumberOf(table.rows[r][kl], -1);
    return std::isnan(x) ? HUGE_VAL : x;
  };
  for (auto& [name, of_plan] : rows) {
    absl::c_stable_sort(of_plan,
                        [&](size_t a, size_t b) { return key(a) > key(b); });
  }
  return rows;
}

// Keeps what belongs to plans, plan by plan; returns of how many.
size_t KeepDetails(const CutTable& plans, const std::vector<size_t>& order,
                   std::vector<CutTable*> tables, size_t& room) {
  std::vector<std::unordered_map<std::string, std::vector<size_t>>> rows;
  for (const CutTable* table : tables) {
    rows.push_back(RowsByPlan(table->table()));
  }
  const size_t name_at = plans.table().Find("plan");
  const auto name_of = [&](size_t p) {
    return std::get<std::string>(plans.table().rows[p][name_at]);
  };
  const auto is_long = [&](size_t t) {
    return absl::c_linear_search(kLongTables, tables[t]->table().name);
  };
  std::vector<size_t> with_details;
  for (const size_t p : order) {
    if (!plans.Has(p)) continue;
    std::vector<std::pair<CutTable*, size_t>> some;
    size_t bytes = 0;
    for (size_t t = 0; t < tables.size(); ++t) {
      const std::vector<size_t>& of_plan = rows[t][name_of(p)];
      const size_t count =
          std::min(of_plan.size(), is_long(t) ? kRowsOfLongTables : SIZE_MAX);
      for (size_t i = 0; i < count; ++i) {
        some.emplace_back(tables[t], of_plan[i]);
        bytes += tables[t]->BytesOf(of_plan[i]);
      }
    }
    if (bytes > room) break;
    room -= bytes;
    for (const auto& [table, row] : some) table->Keep(row);
    with_details.push_back(p);
  }
  for (size_t t = 0; t < tables.size(); ++t) {
    for (const size_t p : with_details) {
      const std::vector<size_t>& of_plan = rows[t][name_of(p)];
      for (const size_t r : of_plan) {
        if (!tables[t]->Has(r) && !tables[t]->KeepIfFits(r, room)) break;
      }
    }
  }
  return with_details.size();
}

// "3 of 40 rows of `cells`, 5 of 60 rows of `repairs`" of tables that lack
// some.
std::string RowsText(absl::Span<CutTable* const> tables) {
  std::vector<std::string> parts;
  for (const CutTable* table : tables) {
    if (table->whole()) continue;
    parts.push_back(absl::StrCat(table->rows_kept(), " of ",
                                 table->table().rows.size(), " rows of `",
                                 table->table().name, "`"));
  }
  return absl::StrJoin(parts, ", ");
}

std::string Sentence(absl::Span<CutTable* const> cut) {
  const bool of_repairs = absl::c_any_of(cut, [](const CutTable* table) {
    return table->table().name == kRepairs && !table->whole();
  });
  return absl::StrCat(
      "results.json, in this page's folder, has all rows. Here are the first ",
      RowsText(cut),
      of_repairs ? ", whole ops, groups and layers before cells." : ".");
}

// Of a sweep. Whatever fits is the beginning of the order that it names.
std::string SweepSentence(const PageCut& cut, const CutTable& plans,
                          size_t details, absl::Span<CutTable* const> others) {
  std::string text =
      absl::StrCat("results.json, in this page's folder, has all ", cut.plans,
                   cut.plans == 1 ? " plan." : " plans.");
  if (!plans.whole()) {
    absl::StrAppend(
        &text, " Here are ", plans.rows_kept(),
        " of them, as many as fit: those that rank first and last and the "
        "fastest, then those of the Pareto front, those that are timed, and "
        "the others as they rank.");
  }
  if (details == 0) {
    text += " Here are no plan's layers, tokens and times.";
  } else {
    absl::StrAppend(
        &text, " Here are the layers, tokens (of many the worst) and times of ",
        details, details == 1 ? " plan" : " plans",
        ", as many as fit: of those that rank first and last and the fastest, "
        "then of those of the Pareto front, and of the others as they rank.");
  }
  const std::string rows = RowsText(others);
  if (!rows.empty()) {
    absl::StrAppend(&text, " Here are the first ", rows, ".");
  }
  return text;
}

// Of the JSON of tables that have no rows.
size_t FrameBytes(const Results& results) {
  Results frame = {results.mode, {}};
  for (const Table& table : results.tables) {
    Table& empty = frame.tables.emplace_back();
    empty.name = table.name;
    empty.single = table.single;
    empty.columns = table.columns;
  }
  return ResultsJson(frame).size();
}

}  // namespace

PageCut CutToFit(const Results& results, size_t most_bytes) {
  std::vector<CutTable> tables;
  for (const Table& table : results.tables) tables.emplace_back(table);
  CutTable* plans = nullptr;
  std::vector<CutTable*> details, others;
  // A recommendation's are a dozen.
  const bool has_plans = results.mode == "sweep" && results.Has(kPlans);
  for (CutTable& table : tables) {
    if (has_plans && table.table().name == kPlans) {
      plans = &table;
    } else if (has_plans && !table.table().single &&
               table.table().Has("plan")) {
      details.push_back(&table);
    } else {
      others.push_back(&table);
    }
  }
  PageCut cut;
  const size_t frame = FrameBytes(results);
  size_t room = most_bytes - std::min(most_bytes, frame);
  size_t with_details = 0;
  if (plans == nullptr) {
    KeepFirstRows(others, room);
  } else {
    // Half of it is for plans, whatever the others take.
    size_t for_others = room / 2;
    const size_t before = for_others;
    KeepFirstRows(others, for_others);
    room -= before - for_others;
    const PlanColumns columns(plans->table());
    const PlanOrders orders = OrdersOf(columns);
    size_t for_plans = room / 2;
    const size_t given = for_plans;
    for (const size_t r : orders.rows) {
      if (!plans->KeepIfFits(r, for_plans)) break;
    }
    room -= given - for_plans;
    with_details = KeepDetails(*plans, orders.details, details, room);
    for (const size_t r : orders.rows) {
      if (plans->Has(r)) continue;
      if (!plans->KeepIfFits(r, room)) break;
    }
    CountPlans(columns, cut);
  }
  cut.results.mode = results.mode;
  for (const CutTable& table : tables) {
    if (!table.whole()) {
      cut.rows[table.table().name] = table.table().rows.size();
    }
    cut.results.tables.push_back(table.Take());
  }
  if (cut.rows.empty()) return cut;
  if (plans == nullptr) {
    cut.left_out = Sentence(others);
  } else {
    cut.left_out = SweepSentence(cut, *plans, with_details, others);
    cut.groups = GroupsOf(*plans, PlanColumns(plans->table()));
  }
  return cut;
}

}  // namespace ulpscope
