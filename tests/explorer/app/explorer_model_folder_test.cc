// A model is somebody else's: whatever the program does, its folder stays as it
// is, also where the program is started in it.

#include <sys/stat.h>

#include <filesystem>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/explorer/app/run_explorer.h"
#include "tests/explorer/app/text_model.h"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// What there is, with contents and the times of the last changes: of the names
// in the folder and of each file and its mode.
std::map<std::string, std::string> Snapshot(const std::string& folder) {
  std::map<std::string, std::string> files;
  const auto add = [&](const fs::path& path) {
    struct stat info = {};
    EXPECT_EQ(lstat(path.c_str(), &info), 0);
    files[path.string()] =
        absl::StrCat(info.st_ino, " ", info.st_mode, " ", info.st_nlink, " ",
                     info.st_mtim.tv_sec, ".", info.st_mtim.tv_nsec, " ",
                     info.st_ctim.tv_sec, ".", info.st_ctim.tv_nsec, " ",
                     S_ISREG(info.st_mode) ? Read(path.string()) : "");
  };
  add(folder);
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    add(entry.path());
  }
  return files;
}

class ExplorerModelFolderTest : public testing::Test {
 protected:
  ExplorerModelFolderTest()
      : model_(WriteTextModel("qwen2")),
        outside_(absl::StrCat(TestFolder(), "/outside")),
        before_(Snapshot(model_)) {
    fs::create_directory(outside_);
  }
  ~ExplorerModelFolderTest() override { EXPECT_EQ(Snapshot(model_), before_); }

  // The rest of the test is held to what there is now.
  void SnapAnew() { before_ = Snapshot(model_); }

  // In the model's folder; "OUT" is another one.
  Outcome Run(std::string arguments) const {
    for (size_t at; (at = arguments.find("OUT")) != std::string::npos;) {
      arguments.replace(at, 3, outside_);
    }
    return Explorer(absl::StrCat("--threads=2 --model=. ", arguments), "",
                    absl::StrCat("cd '", model_, "'"));
  }

  const std::string model_, outside_;
  std::map<std::string, std::string> before_;
};

TEST_F(ExplorerModelFolderTest, NoModeWritesToIt) {
  for (const char* const arguments :
       {"--plan=torch-bf16 --tokens=3 --timing_seconds=0",
        "--sweep --axes=matmul=f32,bf16 --timing_seconds=0 --prompt=Hello",
        "--generate=2 --tokens=3", "--generate=2 --prompt=Hello --chat",
        "--attribute --plan=torch-bf16 --on=token --timing_seconds=0",
        "--dump_trace=OUT/trace.safetensors --tokens=3",
        "--diagnose --reference=OUT/trace.safetensors",
        "--tune --plan=f32 --tokens=3 --timing_seconds=0.1",
        "--tune --plan=f32 --tokens=3 --timing_seconds=0.1 "
        "--wisdom=OUT/wisdom.json",
        "--plan=f32 --tokens=3 --timing_seconds=0 --out=OUT/out "
        "--store=OUT/store"}) {
    const Outcome run = Run(arguments);
    EXPECT_EQ(run.exit_code, 0) << arguments << "\n" << run.err;
    EXPECT_EQ(Snapshot(model_), before_) << arguments;
  }
}

TEST_F(ExplorerModelFolderTest, FlagsThatWouldWriteToItAreRefused) {
  // Behind links, too.
  fs::create_directory_symlink(model_, outside_ + "/folder");
  fs::create_symlink(model_ + "/model.safetensors", outside_ + "/link");
  const std::string run = "--plan=f32 --tokens=3 --timing_seconds=0 ";
  for (const auto& [flag, arguments] : {
           std::make_pair("out", run + "--out=."),
           std::make_pair("out", run + "--out=./reports/new/"),
           std::make_pair("out", run + "--out=OUT/folder/report"),
           std::make_pair("store", run + "--store=store"),
           std::make_pair("store", run + "--store=OUT/../qwen2"),
           std::make_pair("dump_trace",
                          std::string("--dump_trace=model.safetensors")),
           std::make_pair("dump_trace", std::string("--dump_trace=OUT/link")),
           std::make_pair("wisdom", std::string("--tune --plan=f32 "
                                                "--wisdom=wisdom.json")),
       }) {
    const Outcome refused = Run(arguments);
    EXPECT_EQ(refused.exit_code, 2) << arguments;
    EXPECT_THAT(refused.err,
                HasSubstr(absl::StrCat("explorer: --", flag, "=")));
    EXPECT_EQ(refused.out, "");
    EXPECT_EQ(Snapshot(model_), before_) << arguments;
  }
}

// Its name has the folder's before it, but it is beside it.
TEST_F(ExplorerModelFolderTest, OtherFoldersAreNot) {
  const Outcome run = Run(absl::StrCat(
      "--plan=f32 --tokens=3 --timing_seconds=0 --out='", model_, ".report'"));
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_TRUE(fs::exists(model_ + ".report/results.json"));
}

TEST_F(ExplorerModelFolderTest, AFileIsNotReplaced) {
  const std::string file = WriteTestFile("tiny.gguf", TinyGguf().Bytes());
  const auto before = Snapshot(outside_);
  const std::string bytes = Read(file);
  const Outcome run =
      Explorer(absl::StrCat("--tune --plan=f32 --tokens=1, --model='", file,
                            "' --wisdom='", outside_, "/../tiny.gguf'"));
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_THAT(run.err, HasSubstr("--wisdom="));
  EXPECT_EQ(Read(file), bytes);
  EXPECT_EQ(Snapshot(outside_), before);
}

// But beside it there may be anything.
TEST_F(ExplorerModelFolderTest, BesideAFileIsRoom) {
  WriteTestFile("beside.gguf", TinyGguf().Bytes());
  const auto in_folder = [&](const std::string& arguments) {
    const Outcome run =
        Explorer(absl::StrCat("--threads=1 --model=beside.gguf --tokens=1, "
                              "--timing_seconds=0.01 ",
                              arguments),
                 "", absl::StrCat("cd '", TestFolder(), "'"));
    EXPECT_EQ(run.exit_code, 0) << arguments << "\n" << run.err;
  };
  in_folder("--plan=f32 --out=beside_out --store=beside_store");
  EXPECT_TRUE(fs::exists(TestFolder() + "/beside_out/results.json"));
  EXPECT_TRUE(fs::exists(TestFolder() + "/beside_store/meta.json"));
  in_folder("--tune --plan=f32 --wisdom=beside_wisdom.json");
  EXPECT_TRUE(fs::exists(TestFolder() + "/beside_wisdom.json"));
  EXPECT_EQ(Read(TestFolder() + "/beside.gguf"), TinyGguf().Bytes());
}

// Whichever part of it is named, all of them are read.
TEST_F(ExplorerModelFolderTest, NoPartOfASplitFileIsReplaced) {
  GgufParts parts[2] = {TinyGguf(), {}};
  parts[1].data_size = parts[0].data_size;
  const auto half = parts[0].tensors.begin() + 6;
  parts[1].tensors.assign(half, parts[0].tensors.end());
  parts[0].tensors.erase(half, parts[0].tensors.end());
  std::string paths[2], bytes[2];
  for (uint32_t i = 0; i < 2; ++i) {
    parts[i].values.push_back(GgufUint32("split.no", i));
    parts[i].values.push_back(GgufUint32("split.count", 2));
    bytes[i] = parts[i].Bytes();
    paths[i] = WriteTestFile(absl::StrCat("m-0000", i + 1, "-of-00002.gguf"),
                             bytes[i]);
  }
  const std::string link = outside_ + "/link.json";
  fs::create_symlink(paths[1], link);
  const auto run = [&](const std::string& model, const std::string& output) {
    return Explorer(
        absl::StrCat("--tune --plan=f32 --tokens=1, --timing_seconds=0.01 "
                     "--threads=1 --model='",
                     model, "' --wisdom='", output, "'"));
  };
  for (const std::string& model : paths) {
    for (const std::string& output : {paths[0], paths[1], link}) {
      const Outcome refused = run(model, output);
      EXPECT_EQ(refused.exit_code, 2) << model << " " << output;
      EXPECT_THAT(refused.err, HasSubstr("explorer: --wisdom="));
    }
  }
  // No part of this model.
  for (const char* const name : {"/m-00003-of-00002.gguf", "/m.gguf"}) {
    const Outcome done = run(paths[0], TestFolder() + name);
    EXPECT_EQ(done.exit_code, 0) << done.err;
  }
  for (const int i : {0, 1}) EXPECT_EQ(Read(paths[i]), bytes[i]);
}

// "none" is no path where there is no file, as for --wisdom, but of all other
// flags it is a name.
TEST_F(ExplorerModelFolderTest, NoneIsANameToo) {
  const Outcome run =
      Run("--plan=f32 --tokens=3 --timing_seconds=0 --out=none");
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_THAT(run.err, HasSubstr("explorer: --out="));
}

// One of several models is read like one alone.
TEST_F(ExplorerModelFolderTest, NorIsASecondModelWrittenTo) {
  const std::string models =
      WriteTestFile("models", absl::StrCat("synthetic:tiny\n", model_, "\n"));
  for (const std::string& output :
       {absl::StrCat("--out='", model_, "/report'"),
        absl::StrCat("--out='", model_, "'"),
        absl::StrCat("--store='", model_, "/store'")}) {
    const Outcome run = Explorer(
        absl::StrCat("--plan=f32 --tokens=3 --timing_seconds=0 --model_file='",
                     models, "' ", output));
    EXPECT_EQ(run.exit_code, 2) << output;
    EXPECT_THAT(run.err, HasSubstr(model_));
    EXPECT_THAT(run.err, testing::Not(HasSubstr("loading")));
    EXPECT_EQ(Snapshot(model_), before_) << output;
  }
}

// A writer replaces a name, not what other names stand for: a report that takes
// the place of a hard link to the model leaves the model.
TEST_F(ExplorerModelFolderTest, AHardLinkToItIsUnlinked) {
  fs::create_hard_link(model_ + "/model.safetensors",
                       outside_ + "/a.safetensors");
  const std::string bytes = Read(model_ + "/model.safetensors");
  const Outcome run = Run("--dump_trace=OUT/a.safetensors --tokens=3");
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(Read(model_ + "/model.safetensors"), bytes);
  EXPECT_NE(Read(outside_ + "/a.safetensors"), bytes);
  SnapAnew();  // links are counted with the file
}

}  // namespace
}  // namespace ulpscope
