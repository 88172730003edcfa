#include "explorer/store/store.h"

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "explorer/error/archive.h"
#include "explorer/error/kept.h"
#include "explorer/store/difference.h"
#include "explorer/store/json_archive.h"
#include "explorer/store/libm.h"
#include "explorer/store/record.h"
#include "explorer/store/shards.h"
#include "kernels/strategy/numerics_version.h"
#include "model/architecture/plan.h"
#include "model/files/content_hash.h"

namespace ulpscope {
namespace {

// Of the host, what times depend on.
constexpr const char* kFactsOfTimes[] = {"cpu", "target", "threads", "tuning",
                                         "build"};

std::string DigestOf(const Record& record) {
  return ContentHash(record.result);
}

std::string WhereOf(const Record& record) {
  return absl::StrCat(record.run, " (", record.Host("cpu"), ", ",
                      record.Host("target"), ", build ", record.Host("build"),
                      ")");
}

}  // namespace

Store::Store(const std::string& folder, const StoreHost& host, Options options)
    : options_(std::move(options)),
      host_{{"model", host.model},   {"cpu", host.cpu},
            {"target", host.target}, {"threads", absl::StrCat(host.threads)},
            {"tuning", host.tuning}, {"build", host.build}},
      libm_(LibmName()),
      writer_(folder, NewRun()) {}

absl::StatusOr<std::unique_ptr<Store>> Store::Open(const std::string& folder,
                                                   const StoreHost& host,
                                                   Options options) {
  const absl::Status made =
      MakeStore(folder, absl::StrCat("ulpscope ", host.build));
  if (!made.ok()) return made;
  std::unique_ptr<Store> store(new Store(folder, host, std::move(options)));
  const auto skipped = ForEachRecord(folder, [&](const Record& record,
                                                 const LinePlace& place) {
    store->Add(record, {place, DigestOf(record), record.time, false, nullptr});
  });
  if (!skipped.ok()) return skipped.status();
  for (const std::string& what : *skipped) {
    store->options_.warn(absl::StrCat(what, "; it is skipped"));
  }
  return store;
}

void Store::BeginModel(const std::string& model) {
  host_["model"] = model;
  found_.clear();
  num_kept_ = 0;
}

std::map<std::string, std::string> Store::InputOf(
    const Subject& subject) const {
  std::map<std::string, std::string> input = {
      {"kind", subject.kind},
      {"version", absl::StrCat(subject.version)},
      {"kernels", absl::StrCat(kKernelNumericsVersion)},
      {"oracle", absl::StrCat(kOracleVersion)},
      {"libm", libm_}};
  input.insert(subject.facts.begin(), subject.facts.end());
  if (subject.of_target) input.insert(*host_.find("target"));
  if (subject.is_conclusion) input.insert(*host_.find("build"));
  if (subject.is_time) {
    for (const char* const name : kFactsOfTimes) {
      input.insert(*host_.find(name));
    }
  }
  return input;
}

absl::StatusOr<Record> Store::RecordOf(const Known& known) {
  if (known.unwritten != nullptr) return *known.unwritten;
  return ReadRecord(known.place);
}

void Store::Compare(const Record& record, const Known& known) {
  constexpr size_t kMostSaid = 10;
  if (DigestOf(record) == known.digest || ++num_different_ > kMostSaid + 1) {
    return;
  }
  if (num_different_ > kMostSaid) {
    options_.warn("more such measurements differ");
    return;
  }
  const auto before = RecordOf(known);
  options_.warn(absl::StrCat(
      "a strategy fixes the bits, but two measurements of ", record.kind, " ",
      record.key, ", plan ", record.Input("plan"), ", differ: ",
      before.ok() ? absl::StrCat(DifferenceOf(*before, record).Text(), ", of ",
                                 WhereOf(*before), " and ", WhereOf(record))
                  : std::string(before.status().message())));
}

void Store::Add(const Record& record, Known known) {
  const auto [it, is_new] = known_.try_emplace(record.key);
  Known& there = it->second;
  if (!is_new && record.fixes_bits()) Compare(record, there);
  known.is_own = known.is_own || there.is_own;
  // Of times the newest counts, of all else what is kept longest.
  if (is_new || (record.is_time() && record.time >= there.time)) {
    there = std::move(known);
  } else {
    there.is_own = known.is_own;
  }
}

bool Store::Find(const Subject& subject,
                 absl::FunctionRef<void(Archive&)> read) {
  const auto found = known_.find(KeyOf(InputOf(subject)));
  if (found == known_.end()) return false;
  const Known& known = found->second;
  if (options_.force && !known.is_own) return false;
  const auto record = RecordOf(known);
  if (!record.ok()) {
    options_.warn(absl::StrCat(record.status().message(), "; it is measured"));
    known_.erase(found);
    return false;
  }
  if (!ReadResult(*record, read)) {
    options_.warn(absl::StrCat("the record ", record->key, " of ", record->run,
                               " is no result of its kind; it is measured"));
    return false;
  }
  if (!known.is_own) found_.insert(found->first);
  return true;
}

void Store::Keep(const Subject& subject,
                 absl::FunctionRef<void(Archive&)> write) {
  Record record;
  record.input = InputOf(subject);
  record.key = KeyOf(record.input);
  const auto known = known_.find(record.key);
  if (known != known_.end() && known->second.is_own) return;
  record.kind = subject.kind;
  record.run = writer_.run();
  record.time = absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", absl::Now(),
                                 absl::UTCTimeZone());
  record.host = host_;
  JsonWriter json;
  write(json);
  record.result = json.Text();
  Known made = {{}, DigestOf(record), record.time, true, nullptr};
  if (known != known_.end() && !options_.force &&
      made.digest == known->second.digest) {
    known->second.is_own = true;
    return;
  }
  const std::string line = LineOf(record);
  auto place = line.size() <= kMostOfLine
                   ? writer_.Append(line)
                   : absl::ResourceExhaustedError(absl::StrCat(
                         writer_.path(), ": a record of ", line.size(),
                         " bytes; at most ", kMostOfLine, " are read"));
  if (place.ok()) {
    ++num_kept_;
    made.place = *std::move(place);
  } else {
    made.unwritten = std::make_shared<Record>(record);
    if (status_.ok()) {
      status_ = place.status();
      options_.warn(absl::StrCat(
          status_.message(),
          "; what is measured from here on is perhaps not kept there, but is "
          "reported"));
    }
  }
  Add(record, std::move(made));
}

}  // namespace ulpscope
