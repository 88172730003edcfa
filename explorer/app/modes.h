#ifndef EXPLORER_APP_MODES_H_
#define EXPLORER_APP_MODES_H_

#include "explorer/app/app_monitor.h"
#include "explorer/app/model_settings.h"
#include "explorer/app/opened_model.h"
#include "explorer/app/settings.h"
#include "explorer/report/run_info.h"
#include "explorer/store/store.h"
#include "explorer/tuning/wisdom_file.h"
#include "kernels/base/parallel.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/weights.h"
#include "model/tokenizer/tokenizer.h"
#include "model/trace/reference_trace.h"

namespace ulpscope {

// What a mode works on.
struct Session {
  const Settings& settings;
  const Checkpoint& checkpoint;
  const ModelSettings& model;
  const ReferenceTrace& trace;          // of --diagnose
  const ReferenceTrace& against_trace;  // the same, or empty
  WisdomFile& wisdom;
  Weights& weights;
  Parallel& parallel;
  AppMonitor& monitor;
  Store* store;                // or null
  const Tokenizer* tokenizer;  // or null
  const SweepPart* part;       // of --shard, or null
  RunInfo info;
};

// Runs the settings' mode, prints and writes what comes of it, and returns the
// exit code. Whatever ends it, a signal, an error or too little memory, what
// was measured until then is reported; the files are written after each stage
// of the work too.
int RunMode(Session session);

}  // namespace ulpscope

#endif  // EXPLORER_APP_MODES_H_
