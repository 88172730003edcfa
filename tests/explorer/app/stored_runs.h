#ifndef TESTS_EXPLORER_APP_STORED_RUNS_H_
#define TESTS_EXPLORER_APP_STORED_RUNS_H_

#include <cstddef>
#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "explorer/store/shards.h"
#include "nlohmann/json.hpp"
#include "tests/explorer/app/run_explorer.h"

namespace ulpscope {

// A path of the running test's own.
std::string Path(const std::string& name);

// Of a store; nothing if a killed program made none.
StoreContents Contents(const std::string& store);

// By key, of what is no time.
std::map<std::string, std::string> Errors(const StoreContents& contents);
std::set<std::string> Keys(const StoreContents& contents);

// Kills the program that keeps up to `measurements` in an empty store: after a
// random number of them and, at random, up to a few milliseconds.
void KillInTheMiddle(const std::vector<std::string>& arguments,
                     const std::string& store, size_t measurements,
                     std::mt19937& random);

// What a run says of its store: measurements that were there, and new ones.
std::pair<size_t, size_t> Counts(const Outcome& run);

// results.json, but for the time that loading took.
nlohmann::json Results(const std::string& out);

}  // namespace ulpscope

#endif  // TESTS_EXPLORER_APP_STORED_RUNS_H_
