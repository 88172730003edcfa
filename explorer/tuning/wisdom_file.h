#ifndef EXPLORER_TUNING_WISDOM_FILE_H_
#define EXPLORER_TUNING_WISDOM_FILE_H_

#include <cstddef>
#include <string>
#include <vector>

#include "explorer/tuning/tune.h"
#include "kernels/ops/tuning.h"
#include "kernels/tune/wisdom.h"

namespace ulpscope {

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

  Wisdom& wisdom() { return wisdom_; }

  // What a report says of the tunings of these MatMuls.
  WisdomUse UseFor(const std::vector<TunableMatMul>& matmuls) const;

 private:
  std::string path_;
  Wisdom wisdom_;
  const Tunings* tunings_ = nullptr;
  std::string reason_;
  bool ignored_ = false;
  bool damaged_ = false;
};

}  // namespace ulpscope

#endif  // EXPLORER_TUNING_WISDOM_FILE_H_
