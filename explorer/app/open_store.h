#ifndef EXPLORER_APP_OPEN_STORE_H_
#define EXPLORER_APP_OPEN_STORE_H_

#include <memory>

#include "absl/status/statusor.h"
#include "explorer/app/settings.h"
#include "explorer/store/store.h"
#include "explorer/tuning/wisdom_file.h"

namespace ulpscope {

// The store of --store; null without that flag.
absl::StatusOr<std::unique_ptr<Store>> OpenStore(const Settings& settings,
                                                 const WisdomFile& wisdom);

}  // namespace ulpscope

#endif  // EXPLORER_APP_OPEN_STORE_H_
