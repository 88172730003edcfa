#include "tests/explorer/app/run_explorer.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {

std::string Read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

namespace {

std::string Program(absl::string_view path = "explorer/app/explorer") {
  return absl::StrCat(std::getenv("TEST_SRCDIR"), "/",
                      std::getenv("TEST_WORKSPACE"), "/", path);
}

// What a process that runs has computed so far, by all of its threads.
absl::Duration CpuTime(pid_t process) {
  clockid_t clock;
  timespec time = {};
  if (clock_getcpuclockid(process, &clock) != 0) return absl::ZeroDuration();
  clock_gettime(clock, &time);
  return absl::DurationFromTimespec(time);
}

std::string ErrPath() { return absl::StrCat(TestFolder(), "/err"); }

Outcome Run(const std::string& program, const std::string& arguments,
            const std::string& out_path, const std::string& before) {
  // Of its own: threads run several programs at once.
  static std::atomic<int> runs{0};
  const std::string folder = absl::StrCat(TestFolder(), "/run", ++runs);
  std::filesystem::create_directory(folder);
  const std::string out =
      out_path.empty() ? absl::StrCat(folder, "/out") : out_path;
  const std::string err = absl::StrCat(folder, "/err");
  const int status = std::system(
      absl::StrCat("unset BUILD_WORKING_DIRECTORY XDG_CACHE_HOME HOME; ",
                   before, "; '", program, "' ", arguments, " </dev/null >'",
                   out, "' 2>'", err, "'")
          .c_str());
  EXPECT_TRUE(WIFEXITED(status)) << arguments;
  return {WEXITSTATUS(status), out_path.empty() ? Read(out) : "", Read(err),
          absl::ZeroDuration()};
}

}  // namespace

Outcome Explorer(const std::string& arguments, const std::string& out_path,
                 const std::string& before) {
  return Run(Program(), arguments, out_path, before);
}

Outcome PlantedExplorer(const std::string& arguments) {
  return Run(Program("tests/explorer/app/planted_explorer"), arguments, "",
             ":");
}

Outcome StopExplorerWhen(const std::vector<std::string>& arguments,
                         absl::FunctionRef<bool()> ready, int signal_number) {
  const std::string out = absl::StrCat(TestFolder(), "/out");
  const std::string err = ErrPath();
  std::vector<std::string> words = {Program()};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::remove(err.c_str());
  const pid_t child = fork();
  if (child == 0) {
    // A shell's background jobs ignore SIGINT, and so would what they start.
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    if (std::freopen(out.c_str(), "w", stdout) != nullptr &&
        std::freopen(err.c_str(), "w", stderr) != nullptr) {
      execv(argv[0], argv.data());
    }
    _exit(127);
  }
  // Far longer than it takes: a program that does not stop fails, not hangs.
  constexpr absl::Duration kPatience = absl::Minutes(4);
  const absl::Time start = absl::Now();
  bool sent = false;
  int status = 0;
  absl::Duration cpu;
  rusage usage = {};
  while (wait4(child, &status, WNOHANG, &usage) == 0) {
    if (!sent && ready()) {
      cpu = CpuTime(child);
      kill(child, signal_number);
      sent = true;
    }
    if (absl::Now() - start > kPatience) kill(child, SIGKILL);
    absl::SleepFor(absl::Milliseconds(1));
  }
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status),
          Read(out), Read(err),
          absl::DurationFromTimeval(usage.ru_utime) +
              absl::DurationFromTimeval(usage.ru_stime) - cpu};
}

Outcome StopExplorer(const std::vector<std::string>& arguments,
                     const std::string& marker, int signal_number,
                     absl::Duration delay) {
  const std::string err = ErrPath();
  bool sent = false;
  const auto marked = [&] {
    if (!absl::StrContains(Read(err), marker)) return false;
    absl::SleepFor(delay);
    return sent = true;
  };
  Outcome outcome = StopExplorerWhen(arguments, marked, signal_number);
  EXPECT_TRUE(sent) << outcome.err;
  return outcome;
}

}  // namespace ulpscope
