#include "explorer/app/interrupt.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>

namespace ulpscope {
namespace {

constexpr int kSignals[] = {SIGINT, SIGTERM};
constexpr int64_t kSameInterrupt = 500'000'000;  // ns

// All that a handler may touch.
std::atomic<int> caught{0};
std::atomic<int64_t> caught_at{0};
std::atomic<const char*> end_note{nullptr};
static_assert(std::atomic<int>::is_always_lock_free);
static_assert(std::atomic<int64_t>::is_always_lock_free);
static_assert(std::atomic<const char*>::is_always_lock_free);

const char* NameOf(int signal) {
  return signal == 0 ? "" : signal == SIGINT ? "Ctrl-C" : "SIGTERM";
}

constexpr int ExitCodeOf(int signal) { return signal == 0 ? 0 : 128 + signal; }

// Those that are not ignored. Nothing here waits in a system call for something
// that will not come, so an interrupted one is repeated: a report that is being
// written is not cut off.
void Handle(void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (const int signal : kSignals) {
    struct sigaction before = {};
    sigaction(signal, nullptr, &before);
    if (before.sa_handler != SIG_IGN) sigaction(signal, &action, nullptr);
  }
}

void Write(const char* text) {
  // What cannot be written has no other way to be told.
  const ssize_t written = write(STDERR_FILENO, text, std::strlen(text));
  static_cast<void>(written);
}

int64_t Now() {
  struct timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

void OnSignal(int signal) {
  const char* const note = end_note;
  if (note != nullptr) {
    Write("\nexplorer: stopped by ");
    Write(NameOf(signal));
    Write(note);
    Write("\n");
    _exit(ExitCodeOf(signal));
  }
  const int error = errno;  // the interrupted code's
  int none = 0;
  if (caught.compare_exchange_strong(none, signal)) {
    caught_at = Now();
  } else if (caught_at != 0 && Now() - caught_at > kSameInterrupt) {
    Handle(SIG_DFL);
    raise(signal);  // once this returns
  }
  errno = error;
}

}  // namespace

void CatchInterrupts() {
  end_note = nullptr;
  Handle(&OnSignal);
  signal(SIGPIPE, SIG_IGN);
}

void EndOnInterrupt(const char* note) {
  end_note = note;
  Handle(&OnSignal);
}

bool Interrupted() { return caught != 0; }

const char* InterruptName() { return NameOf(caught); }

int InterruptExitCode() { return ExitCodeOf(caught); }

}  // namespace ulpscope
