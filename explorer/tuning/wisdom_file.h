#ifndef EXPLORER_TUNING_WISDOM_FILE_H_
#define EXPLORER_TUNING_WISDOM_FILE_H_

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "explorer/tuning/wisdom.h"
#include "kernels/ops/tuning.h"

namespace ulpscope {

// Reads a file; one that does not exist is empty wisdom. DataLoss, naming the
// file and what is wrong with it, for a regular file that is not intact wisdom.
absl::StatusOr<Wisdom> LoadWisdom(const std::string& path);

// Adds `wisdom` to the file, where it replaces what both know; what the file
// knows besides stays. PATH.lock keeps other processes that do the same away
// meanwhile. The file is replaced as a whole, so that it is never seen half
// written, and on an error is as it was. One that is not intact wisdom is kept
// as PATH.bad. Missing folders are created.
absl::Status AddToWisdom(const Wisdom& wisdom, const std::string& path);

// Where wisdom is kept unless the user says otherwise: ulpscope/wisdom.json
// under $XDG_CACHE_HOME, or under $HOME/.cache; "" if neither is set.
std::string DefaultWisdomPath();

// Whether kernels were tuned, and by what.
struct WisdomUse {
  std::string file;  // empty if none was to be used
  size_t known = 0;  // of the timed MatMuls against weights, how many it knows
  size_t timed = 0;  // of different shapes and strategies
  std::string reason;  // why known is 0
};

// What --wisdom says, and whether it is of use here. A file with anything wrong
// in it is ignored.
class WisdomFile {
 public:
  // `flag` is a path, "none", or empty for the default path.
  WisdomFile(const std::string& flag, size_t threads);
  WisdomFile(const WisdomFile&) = delete;
  WisdomFile& operator=(const WisdomFile&) = delete;

  const std::string& path() const { return path_; }  // empty for none
  // This machine's; null if not known, and then why not. They live as long as
  // this.
  const Tunings* tunings() const { return tunings_; }
  const std::string& reason() const { return reason_; }
  // There is a file that should have been of use and is not.
  bool ignored() const { return ignored_; }
  // There is a file, but no wisdom in it.
  bool damaged() const { return damaged_; }

  // Whether Keep can write the file, as far as can be seen now. OK if there is
  // no path.
  absl::Status CheckKeeps() const;

  // Adds a tuning of this machine to the file, and those that it could not add
  // before; what the file knew when it was read is left to others to change.
  // Nothing if there is no path. tunings() is as it was read.
  absl::Status Keep(const Tunings::Key& key, const MatMulTuning& tuning);

  // Replaces, at once, tunings that it was given to keep by the default: they
  // turned out to be of no use, and are not to be looked for again.
  absl::Status Drop(absl::Span<const Tunings::Key> keys);

 private:
  std::string path_;
  Machine machine_;
  Wisdom read_, tuned_;
  const Tunings* tunings_ = nullptr;
  std::string reason_;
  bool ignored_ = false;
  bool damaged_ = false;
};

}  // namespace ulpscope

#endif  // EXPLORER_TUNING_WISDOM_FILE_H_
