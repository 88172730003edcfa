#ifndef BENCHMARKS_PEERS_H_
#define BENCHMARKS_PEERS_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "benchmark/benchmark.h"
#include "benchmarks/rounds.h"

namespace ulpscope {

// What a case's table says beside the times.
struct PeerTable {
  std::string title;        // of the work that every contender does
  std::string unit;         // of a contender's work per second
  double unit_scale = 1e9;  // of it in one unit
  // The first contender is the machine's limit, and the others' rates are given
  // in percent of the share of it that their arithmetic can reach.
  bool has_limit = false;
  size_t baseline = 0;  // the others' times are given in times of this one's
};

// Times the contenders in as many rounds as the state has iterations, and
// leaves the table as the label and median seconds as counters.
void RunPeers(benchmark::State& state, const PeerTable& table,
              std::vector<Contender> contenders);

// What cannot run here, and why.
Contender Refused(const char* name, const absl::Status& why);

// A contender's answer is `worst` times its bound from the right one: returns
// the contender, refused if that is too far.
Contender Checked(Contender contender, double worst);

void RegisterPeerMatMuls();
void RegisterPeerRows();

}  // namespace ulpscope

#endif  // BENCHMARKS_PEERS_H_
