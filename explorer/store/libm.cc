#include "explorer/store/libm.h"

#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "model/files/content_hash.h"
#ifdef __GLIBC__
#include <gnu/libc-version.h>
#endif

namespace ulpscope {
namespace {

std::string LibraryName() {
#ifdef __GLIBC__
  return absl::StrCat("glibc ", gnu_get_libc_version());
#else
  return "unknown";
#endif
}

}  // namespace

std::string LibmName() {
  constexpr size_t kArguments = 4096;
  std::vector<double> values;
  values.reserve(5 * kArguments);
  for (size_t i = 0; i < kArguments; ++i) {
    // Those of prompts: angles up to the number of positions, log-sum-exps.
    const double x = static_cast<double>(i) * 0.7310585786300049 + 1e-3;
    values.push_back(std::cos(x));
    values.push_back(std::sin(x));
    values.push_back(std::exp(-x / 64));
    values.push_back(std::log(x));
    values.push_back(std::pow(1e6, -x / kArguments));
  }
  return absl::StrCat(
      LibraryName(), " ",
      ContentHash(values.data(), values.size() * sizeof(double)).substr(0, 8));
}

}  // namespace ulpscope
