#include "explorer/app/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "gtest/gtest.h"

namespace ulpscope {
namespace {

// Death tests: every statement runs in a process of its own, which does what
// the signals are to do.

TEST(InterruptDeathTest, FirstSignalIsOnlyCaught) {
  for (const int number : {SIGINT, SIGTERM}) {
    EXPECT_EXIT(
        {
          signal(number, SIG_DFL);
          CatchInterrupts();
          if (Interrupted() || InterruptExitCode() != 0) std::exit(1);
          raise(number);
          std::exit(Interrupted() ? InterruptExitCode() : 1);
        },
        testing::ExitedWithCode(128 + number), "")
        << number;
  }
}

TEST(InterruptDeathTest, NamesTheSignal) {
  EXPECT_EXIT(
      {
        signal(SIGINT, SIG_DFL);
        CatchInterrupts();
        raise(SIGINT);
        std::fprintf(stderr, "<%s>", InterruptName());
        std::exit(0);
      },
      testing::ExitedWithCode(0), "<Ctrl-C>");
  EXPECT_EXIT(
      {
        signal(SIGTERM, SIG_DFL);
        CatchInterrupts();
        std::fprintf(stderr, "<%s>", InterruptName());
        raise(SIGTERM);
        std::fprintf(stderr, "<%s>", InterruptName());
        std::exit(0);
      },
      testing::ExitedWithCode(0), "<><SIGTERM>");
}

// As `timeout -s INT` sends them: to the program, then to its group.
TEST(InterruptDeathTest, RepeatAtOnceIsTheSameInterrupt) {
  for (const int second : {SIGINT, SIGTERM}) {
    EXPECT_EXIT(
        {
          signal(SIGINT, SIG_DFL);
          signal(SIGTERM, SIG_DFL);
          CatchInterrupts();
          raise(SIGINT);
          raise(second);
          std::exit(Interrupted() ? InterruptExitCode() : 1);
        },
        testing::ExitedWithCode(128 + SIGINT), "")
        << second;
  }
}

// By the signal itself, whichever it is.
TEST(InterruptDeathTest, SecondSignalEndsTheProgram) {
  for (const int second : {SIGINT, SIGTERM}) {
    EXPECT_EXIT(
        {
          signal(SIGINT, SIG_DFL);
          signal(SIGTERM, SIG_DFL);
          CatchInterrupts();
          raise(SIGINT);
          usleep(600'000);
          raise(second);
          std::exit(1);
        },
        testing::KilledBySignal(second), "")
        << second;
  }
}

TEST(InterruptDeathTest, EndsWithTheNote) {
  for (const int number : {SIGINT, SIGTERM}) {
    EXPECT_EXIT(
        {
          signal(number, SIG_DFL);
          EndOnInterrupt(" in a test");
          raise(number);
          std::exit(1);
        },
        testing::ExitedWithCode(128 + number),
        number == SIGINT ? "explorer: stopped by Ctrl-C in a test\n"
                         : "explorer: stopped by SIGTERM in a test\n");
  }
}

TEST(InterruptDeathTest, CatchesAfterEnding) {
  EXPECT_EXIT(
      {
        signal(SIGINT, SIG_DFL);
        EndOnInterrupt("");
        CatchInterrupts();
        raise(SIGINT);
        std::exit(Interrupted() ? 7 : 1);
      },
      testing::ExitedWithCode(7), "");
}

// As `explorer | tee` on a Ctrl-C, which ends tee.
TEST(InterruptDeathTest, OutputThatNobodyReadsEndsNothing) {
  EXPECT_EXIT(
      {
        CatchInterrupts();
        int ends[2];
        if (pipe(ends) != 0 || close(ends[0]) != 0) std::exit(1);
        const bool failed = write(ends[1], "x", 1) < 0;
        std::exit(failed ? 7 : 2);
      },
      testing::ExitedWithCode(7), "");
}

// As a shell starts what runs in the background.
TEST(InterruptDeathTest, IgnoredSignalsStayIgnored) {
  EXPECT_EXIT(
      {
        signal(SIGINT, SIG_IGN);
        signal(SIGTERM, SIG_DFL);
        CatchInterrupts();
        raise(SIGINT);
        if (Interrupted()) std::exit(1);
        raise(SIGTERM);
        raise(SIGINT);
        std::exit(Interrupted() ? 7 : 2);
      },
      testing::ExitedWithCode(7), "");
}

}  // namespace
}  // namespace ulpscope
