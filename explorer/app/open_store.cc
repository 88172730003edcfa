#include "explorer/app/open_store.h"

#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "explorer/app/build_commit.h"
#include "explorer/app/console.h"
#include "explorer/app/settings.h"
#include "explorer/store/store.h"
#include "explorer/tuning/wisdom_file.h"
#include "kernels/base/cpu.h"
#include "kernels/base/dtype.h"
#include "kernels/ops/tuning.h"
#include "model/files/content_hash.h"

namespace ulpscope {
namespace {

// Of what MatMul is tuned to, and of which MatMul: equal names, equal speed.
std::string NameOf(const Tunings* tunings) {
  std::string text = absl::StrCat("version ", Tunings::kKernelVersion);
  if (tunings == nullptr) return absl::StrCat(text, ", defaults");
  std::string known;
  for (const auto& [key, tuning] : tunings->known()) {
    absl::StrAppend(&known, key.strategy.name(), " ",
                    DTypeName(key.activations), " ", key.weights.name(), " ",
                    key.shape.m, " ", key.shape.n, " ", key.shape.k, " ",
                    TuningText(tuning), "\n");
  }
  return absl::StrCat(text, ", tuned ", ContentHash(known));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> OpenStore(const Settings& settings,
                                                 const WisdomFile& wisdom) {
  if (settings.store.empty()) return std::unique_ptr<Store>();
  StoreHost host;
  host.model = settings.model;
  host.cpu = CpuName();
  host.target = KernelTarget();
  host.threads = settings.threads;
  host.tuning = NameOf(wisdom.tunings());
  host.build = kBuildCommit;
  Store::Options options;
  options.force = settings.force;
  options.warn = &Warn;
  return Store::Open(settings.store, host, std::move(options));
}

}  // namespace ulpscope
