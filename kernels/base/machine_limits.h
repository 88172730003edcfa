#ifndef KERNELS_BASE_MACHINE_LIMITS_H_
#define KERNELS_BASE_MACHINE_LIMITS_H_

#include <cstddef>
#include <cstdint>
#include <string>

namespace ulpscope {

// What the control groups of this process, and those around them, let it use.
struct CgroupLimits {
  size_t memory = SIZE_MAX;  // bytes; SIZE_MAX for no limit
  size_t cpus = SIZE_MAX;    // a quota of 1.5 CPUs can use 2 threads
};

// Version 2 (memory.max, cpu.max), version 1 (memory.limit_in_bytes, and
// cpu.cfs_quota_us by cpu.cfs_period_us), or some controllers in each. The
// files are those under `root`/proc and `root`/sys; one that is not there, or
// that does not say what it should, limits nothing.
CgroupLimits ReadCgroupLimits(const std::string& root = "");

// Bytes that this process may use: this machine's memory or less.
size_t AvailableMemory(const std::string& root = "");

// Threads that this process can run at the same time, at least 1: this
// machine's CPUs, or those that its affinity and its control groups leave.
size_t AvailableCpus(const std::string& root = "");

}  // namespace ulpscope

#endif  // KERNELS_BASE_MACHINE_LIMITS_H_
