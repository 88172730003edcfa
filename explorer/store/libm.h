#ifndef EXPLORER_STORE_LIBM_H_
#define EXPLORER_STORE_LIBM_H_

#include <string>

namespace ulpscope {

// Names the C library's mathematics as this process runs it: "glibc 2.36 " and
// a hash of cos, sin, exp, log and pow at some thousand arguments. Angles of
// RoPE and the KL divergence are computed with it, the one part of a result
// that strategies do not fix: libraries round differently, and one library
// chooses among several versions of a function by what the CPU can do.
std::string LibmName();

}  // namespace ulpscope

#endif  // EXPLORER_STORE_LIBM_H_
