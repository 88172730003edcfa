#include <signal.h>

#include <cstddef>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/explorer/app/run_explorer.h"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using Json = nlohmann::json;

constexpr const char kTiny[] =
    " --model=synthetic:tiny --threads=2 --wisdom=none ";

// The path of a trace that --dump-trace wrote: a file with every op, or a
// folder of states.
std::string Dump(const std::string& name, const std::string& flags) {
  const std::string path = absl::StrCat(TestFolder(), "/", name);
  const Outcome run =
      Explorer(absl::StrCat("--dump-trace='", path, "'", kTiny, flags));
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.out, "");
  EXPECT_THAT(run.err, HasSubstr(absl::StrCat("wrote ", path, "\n")));
  return path;
}

Outcome Diagnosed(const std::string& path, const std::string& flags) {
  return Explorer(
      absl::StrCat("--diagnose --reference='", path, "'", kTiny, flags));
}

TEST(ExplorerDiagnoseTest, OurOwnTraceIsExplained) {
  const std::string trace =
      Dump("own.safetensors", "--plan=f32 --tokens=97,3,200");
  EXPECT_THAT(Read(trace).substr(0, 400),
              HasSubstr("\"model\":\"synthetic:tiny\""));
  const std::string folder = absl::StrCat(TestFolder(), "/own");
  const Outcome run =
      Diagnosed(trace, absl::StrCat("--plan=f32 --out='", folder, "'"));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out,
              StartsWith(absl::StrCat("# Diagnosis of `", trace, "`\n")));
  EXPECT_THAT(run.out, HasSubstr("- No implementation difference: everything "
                                 "in the trace is what `f32` explains."));
  EXPECT_THAT(run.out, HasSubstr("on tokens 97,3,200 (the trace's)"));
  EXPECT_THAT(run.out, HasSubstr("(SYNTHETIC weights)"));
  EXPECT_EQ(Read(folder + "/report.md"), run.out);
  EXPECT_THAT(Read(folder + "/points.csv"), StartsWith("model,synthetic,"));
  const Json json = Json::parse(Read(folder + "/results.json"), nullptr, false);
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["diagnosis"]["explained"], true);
  EXPECT_TRUE(json["context"]["stopped_in"].is_null());
  EXPECT_EQ(json["context"]["tokens"], Json({97, 3, 200}));
  ASSERT_EQ(json["error_table"].size(), 8u);
  for (size_t i = 0; i < 8; ++i) {
    EXPECT_EQ(json["error_table"][i]["max_abs"], 0) << i;
  }
}

// A file of ops has the true state too, a folder of states has no other.
TEST(ExplorerDiagnoseTest, LastStateIsAsTheFlagSays) {
  const auto diagnosis = [](const std::string& name, const std::string& flags) {
    const std::string trace =
        Dump(name, absl::StrCat("--plan=torch-bf16 --tokens=97, ", flags));
    const std::string folder = absl::StrCat(TestFolder(), "/causes");
    const Outcome run =
        Diagnosed(trace, absl::StrCat("--token=97 --out='", folder, "'"));
    EXPECT_EQ(run.exit_code, 0) << run.err;
    EXPECT_THAT(run.out, HasSubstr("everything in the trace is what "
                                   "`torch-bf16` explains."));
    return Json::parse(Read(folder + "/results.json"), nullptr, false);
  };
  for (const char* kind : {"", ".safetensors"}) {
    for (const char* flag : {"", "--last-state=normed", "--last_state=raw"}) {
      SCOPED_TRACE(absl::StrCat(kind, flag));
      const bool normed = absl::string_view(flag) != "--last_state=raw";
      const Json json = diagnosis(absl::StrCat("trace", flag, kind), flag);
      ASSERT_TRUE(json.is_object());
      EXPECT_EQ(json["diagnosis"]["last_state_is_normed"], normed);
      size_t named = 0;
      for (const Json& cause : json["causes"]) {
        named += cause["id"] == "last_state_normed";
      }
      EXPECT_EQ(named, normed && absl::string_view(kind).empty() ? 1u : 0u);
    }
  }
}

// A folder of states has no tokens of its own.
TEST(ExplorerDiagnoseTest, TokensAreGivenWhereTheTraceHasNone) {
  const std::string trace = Dump("states", "--tokens=97,");
  Outcome run = Diagnosed(trace, "");
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_EQ(run.out, "");
  EXPECT_THAT(run.err, AllOf(HasSubstr("tokens"), Not(HasSubstr("loading"))));
  for (const char* tokens : {"--tokens=97,", "--token=97"}) {
    run = Diagnosed(trace, tokens);
    ASSERT_EQ(run.exit_code, 0) << run.err;
    EXPECT_THAT(run.out, HasSubstr("on token 97 (given)"));
    EXPECT_THAT(run.out, HasSubstr("- No implementation difference"));
  }
}

TEST(ExplorerDiagnoseTest, TokensMustBeTheTraces) {
  const std::string trace = Dump("tokens.safetensors", "--tokens=97,3");
  EXPECT_EQ(Diagnosed(trace, "--tokens=97,3").exit_code, 0);
  const Outcome run = Diagnosed(trace, "--tokens=97,4");
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_EQ(run.out, "");
  EXPECT_THAT(run.err, AllOf(HasSubstr("token"), Not(HasSubstr("loading"))));
}

// Before the weights are loaded.
TEST(ExplorerDiagnoseTest, BadTraceIsExitCode1) {
  const std::string missing = absl::StrCat(TestFolder(), "/missing");
  const std::string text = WriteTestFile("plain.safetensors", "text");
  for (const std::string& path : {missing, text}) {
    const Outcome run = Diagnosed(path, "--tokens=3,");
    EXPECT_EQ(run.exit_code, 1);
    EXPECT_EQ(run.out, "");
    EXPECT_THAT(run.err, AllOf(StartsWith("explorer: "), HasSubstr(path),
                               Not(HasSubstr("loading"))));
  }
}

TEST(ExplorerDiagnoseTest, BadMappingIsExitCode1) {
  const std::string trace = Dump("mapped.safetensors", "--tokens=97,3");
  const std::string mapping = absl::StrCat(TestFolder(), "/no_mapping");
  const Outcome run =
      Diagnosed(trace, absl::StrCat("--mapping='", mapping, "'"));
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, AllOf(HasSubstr(mapping), Not(HasSubstr("loading"))));
}

// config.json ties lm_head, but the file has one of its own: transformers uses
// it, and a program that does not is another one.
TEST(ExplorerDiagnoseTest, AHeadInTheFileBeatsTheConfig) {
  const std::string zoo = "tests/testdata/zoo/";
  const auto diagnosed = [&](absl::string_view trace) {
    return Explorer(absl::StrCat("--diagnose --wisdom=none --model=", zoo,
                                 "qwen2_own_head --reference=", zoo, trace));
  };
  const Outcome right = diagnosed("qwen2_own_head-float32-correct.safetensors");
  ASSERT_EQ(right.exit_code, 0) << right.err;
  EXPECT_THAT(right.err, HasSubstr("lm_head.weight"));
  EXPECT_THAT(right.out, Not(HasSubstr("`head_tied_wrongly`")));
  const Outcome tied = diagnosed("qwen2-float32-correct.safetensors");
  ASSERT_EQ(tied.exit_code, 0) << tied.err;
  EXPECT_THAT(tied.out, HasSubstr("- The trace's program differs from the "
                                  "model by `head_tied_wrongly`."));
}

TEST(ExplorerDiagnoseTest, TraceThatCannotBeWrittenIsExitCode1) {
  const std::string file = WriteTestFile("plain", "text");
  for (const char* name : {"/x.safetensors", "/x"}) {
    const Outcome run = Explorer(
        absl::StrCat("--dump-trace='", file, name, "' --tokens=3,", kTiny));
    EXPECT_EQ(run.exit_code, 1);
    EXPECT_THAT(run.err, HasSubstr(file));
  }
}

TEST(ExplorerDiagnoseTest, StoppedDiagnosisReportsWhatThereIs) {
  const std::string trace =
      Dump("long.safetensors", "--plan=torch-bf16 --tokens=300");
  const std::string folder = absl::StrCat(TestFolder(), "/stopped");
  const Outcome run = StopExplorer(
      {"--diagnose", "--reference=" + trace, "--model=synthetic:tiny",
       "--threads=2", "--wisdom=none", "--out=" + folder},
      "loading synthetic:tiny: done", SIGINT, absl::Milliseconds(50));
  EXPECT_EQ(run.exit_code, 130);
  EXPECT_THAT(run.err, HasSubstr("explorer: stopped by Ctrl-C in "));
  EXPECT_THAT(run.out, HasSubstr("\n**Stopped by Ctrl-C: "));
  EXPECT_EQ(Read(folder + "/report.md"), run.out);
  EXPECT_THAT(Read(folder + "/results.json"),
              HasSubstr("\"stopped_by\":\"Ctrl-C\""));
}

TEST(ExplorerDiagnoseTest, StoppedDumpLeavesNoTrace) {
  const std::string path = absl::StrCat(TestFolder(), "/never.safetensors");
  const Outcome run = StopExplorer(
      {"--dump-trace=" + path, "--model=synthetic:tiny", "--threads=2",
       "--tokens=4000", "--wisdom=none"},
      "loading synthetic:tiny: done", SIGTERM, absl::Milliseconds(50));
  EXPECT_EQ(run.exit_code, 143);
  EXPECT_THAT(run.err, HasSubstr("explorer: stopped by SIGTERM: no trace was "
                                 "written\n"));
  EXPECT_EQ(Read(path), "");
}

}  // namespace
}  // namespace ulpscope
