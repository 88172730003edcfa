#ifndef EXPLORER_STORE_STORE_H_
#define EXPLORER_STORE_STORE_H_

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "explorer/error/archive.h"
#include "explorer/error/kept.h"
#include "explorer/store/record.h"
#include "explorer/store/shards.h"

namespace ulpscope {

// What a process' measurements have in common.
struct StoreHost {
  std::string model;        // as --model names it
  std::string cpu, target;  // CpuName, KernelTarget
  size_t threads = 0;
  std::string tuning;  // names the tunings of MatMul and the kernels' version
  std::string build;   // commit
};

// Keeps measurements in a folder (explorer/store/shards.h), and knows those
// that it had when it was opened. Where two records of one key differ though
// they are no times, that is said: a strategy fixes the bits.
class Store : public Kept {
 public:
  struct Options {
    bool force = false;  // Find what this process keeps alone
    std::function<void(absl::string_view)> warn;
  };

  // Makes the store unless it is there. Errors as of ReadStore and MakeStore.
  static absl::StatusOr<std::unique_ptr<Store>> Open(const std::string& folder,
                                                     const StoreHost& host,
                                                     Options options);

  // What follows is of another model, by the name that --model has it; what was
  // found and kept is counted anew.
  void BeginModel(const std::string& model);

  bool Find(const Subject& subject,
            absl::FunctionRef<void(Archive&)> read) override;
  // The first record that cannot be written is said; others are tried still.
  void Keep(const Subject& subject,
            absl::FunctionRef<void(Archive&)> write) override;

  // Of this model: measurements that others had kept and that were found, and
  // that this process kept.
  size_t num_found() const { return found_.size(); }
  size_t num_kept() const { return num_kept_; }
  // What kept the first record from being written.
  const absl::Status& status() const { return status_; }

 private:
  // A measurement that is there. Its result is read from its shard again when
  // it is asked for: stores are larger than memory.
  struct Known {
    LinePlace place;
    std::string digest;  // of the result's text
    std::string time;
    bool is_own = false;                      // of this process
    std::shared_ptr<const Record> unwritten;  // or null: it has no place
  };

  Store(const std::string& folder, const StoreHost& host, Options options);

  std::map<std::string, std::string> InputOf(const Subject& subject) const;
  // Takes a record that was read or made.
  void Add(const Record& record, Known known);
  void Compare(const Record& record, const Known& known);
  static absl::StatusOr<Record> RecordOf(const Known& known);

  const Options options_;
  std::map<std::string, std::string> host_;
  const std::string libm_;
  ShardWriter writer_;
  std::map<std::string, Known> known_;  // by key
  std::set<std::string> found_;         // keys
  size_t num_kept_ = 0;
  size_t num_different_ = 0;
  absl::Status status_;
};

}  // namespace ulpscope

#endif  // EXPLORER_STORE_STORE_H_
