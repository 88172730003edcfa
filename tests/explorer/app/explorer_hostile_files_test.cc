// Paths to what is no file of its kind, for every flag that takes one: an error
// that names the path, and never a hang or a crash.

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/explorer/app/run_explorer.h"
#include "tests/explorer/app/stored_runs.h"
#include "tests/explorer/app/text_model.h"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr char kSignalled[] = "128 and more is what a shell makes of a signal";

std::string InFolder(const std::string& name) {
  return absl::StrCat(TestFolder(), "/", name);
}

// The names end as the readers expect; what is behind them is something else.
std::vector<std::string> HostilePaths(const std::string& extension) {
  const std::string fifo = InFolder("fifo" + extension);
  EXPECT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  const std::string folder = InFolder("folder" + extension);
  fs::create_directory(folder);
  const std::string loop = InFolder("loop" + extension);
  fs::create_symlink(loop, loop);
  const std::string socket_path = InFolder("socket" + extension);
  {
    // Its name may have 107 bytes, and so is that of this folder's.
    const fs::path before = fs::current_path();
    fs::current_path(TestFolder());
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    const std::string name = "socket" + extension;
    std::memcpy(address.sun_path, name.c_str(), name.size() + 1);
    const int socket_file = socket(AF_UNIX, SOCK_STREAM, 0);
    EXPECT_EQ(bind(socket_file, reinterpret_cast<sockaddr*>(&address),
                   sizeof(address)),
              0);
    close(socket_file);
    fs::current_path(before);
  }
  std::vector<std::string> paths = {fifo, folder, loop, socket_path};
  for (const char* const device : {"zero", "full", "null"}) {
    const std::string link = InFolder(device + extension);
    fs::create_symlink(absl::StrCat("/dev/", device), link);
    paths.push_back(link);
  }
  return paths;
}

std::string With(const std::string& arguments, const std::string& path) {
  return absl::StrReplaceAll(arguments, {{"PATH", absl::StrCat("'", path, "'")},
                                         {"FOLDER", TestFolder()}});
}

void ExpectRefused(const std::string& arguments, const std::string& extension) {
  for (const std::string& path : HostilePaths(extension)) {
    const Outcome run = Explorer(With(arguments, path));
    EXPECT_LT(run.exit_code, 128) << kSignalled << ": " << arguments;
    EXPECT_NE(run.exit_code, 0) << arguments << " " << path;
    EXPECT_THAT(run.err, HasSubstr(path)) << arguments;
    EXPECT_EQ(run.out, "") << arguments;
    EXPECT_THAT(run.err, testing::Not(HasSubstr("loading"))) << arguments;
    std::error_code ignored;
    EXPECT_FALSE(fs::is_regular_file(path, ignored)) << path;
  }
}

constexpr char kTiny[] =
    "--model=synthetic:tiny --tokens=3 --timing_seconds=0 ";

TEST(ExplorerHostileFilesTest, AsAModel) {
  ExpectRefused("--plan=f32 --tokens=1, --model=PATH", ".gguf");
  ExpectRefused("--plan=f32 --tokens=1, --model=PATH", "");
}

TEST(ExplorerHostileFilesTest, AsAFileOfAModel) {
  for (const std::string name :
       {"config.json", "model.safetensors", "tokenizer.json",
        "tokenizer_config.json", "chat_template.jinja"}) {
    const std::string model = WriteTextModel("qwen2");
    const std::string file = absl::StrCat(model, "/", name);
    fs::remove(file);
    for (const std::string& path : HostilePaths("." + name)) {
      fs::create_symlink(path, file);
      const Outcome run =
          Explorer(absl::StrCat("--plan=f32 --timing_seconds=0 --prompt=Hello "
                                "--model='",
                                model, "'"));
      EXPECT_LT(run.exit_code, 128) << kSignalled << ": " << path;
      EXPECT_NE(run.exit_code, 0) << path;
      EXPECT_THAT(run.err, HasSubstr(model)) << path;
      fs::remove(file);
    }
  }
}

TEST(ExplorerHostileFilesTest, AsATrace) {
  const std::string diagnose =
      "--diagnose --model=synthetic:tiny --tokens=1, --reference=";
  for (const char* const extension : {".safetensors", ".npz", ".npy", ".bin"}) {
    ExpectRefused(diagnose + "PATH", extension);
  }
  const Outcome made = Explorer(
      With("--dump_trace=FOLDER/trace.safetensors --model=synthetic:tiny "
           "--tokens=1,",
           ""));
  ASSERT_EQ(made.exit_code, 0) << made.err;
  ExpectRefused(diagnose + "FOLDER/trace.safetensors --against_trace=PATH",
                ".other.npz");
  ExpectRefused(diagnose + "FOLDER/trace.safetensors --mapping=PATH", ".txt");
}

TEST(ExplorerHostileFilesTest, AsAPrompt) {
  const std::string model = WriteTextModel("qwen2");
  const std::string flags = absl::StrCat(
      "--plan=f32 --timing_seconds=0 "
      "--model='",
      model, "' --prompt_file=PATH");
  ExpectRefused(flags, ".txt");
  ExpectRefused(flags, ".jsonl");
}

TEST(ExplorerHostileFilesTest, AsListsOfPlansAndOfModels) {
  ExpectRefused(absl::StrCat("--sweep --plan_file=PATH ", kTiny), ".plans");
  ExpectRefused("--plan=f32 --tokens=3 --timing_seconds=0 --model_file=PATH",
                ".models");
}

TEST(ExplorerHostileFilesTest, AsAStoreThatIsMerged) {
  for (const std::string& path : HostilePaths(".jsonl")) {
    const Outcome run =
        Explorer(With("--merge=PATH --store=FOLDER/into", path));
    EXPECT_EQ(run.exit_code, 1) << path << run.err;
    EXPECT_THAT(run.err, HasSubstr(path));
    EXPECT_EQ(run.out, "");
    EXPECT_FALSE(fs::exists(InFolder("into"))) << path;
  }
}

TEST(ExplorerHostileFilesTest, AsResultsAndAsAGate) {
  const Outcome made =
      Explorer(With(absl::StrCat("--plan=f32 --out=FOLDER/run ", kTiny), ""));
  ASSERT_EQ(made.exit_code, 0) << made.err;
  ExpectRefused("--compare=PATH --with=FOLDER/run", ".json");
  ExpectRefused("--compare=FOLDER/run --with=PATH", ".with");
  ExpectRefused("--gate=PATH --with=FOLDER/run", ".gate");
  const std::string gate = WriteTestFile("a_gate", "plan=f32 rel_l2 < 1\n");
  ExpectRefused(
      absl::StrCat("--gate='", gate, "' --with=FOLDER/run --junit=PATH"),
      ".xml");
}

// Before the model is loaded, but for what makes a folder.
TEST(ExplorerHostileFilesTest, AsAnOutput) {
  int number = 0;
  for (const char* const arguments :
       {"--plan=f32 --out=PATH ", "--plan=f32 --store=PATH ",
        "--tune --plan=f32 --wisdom=PATH ", "--dump_trace=PATH "}) {
    for (const std::string& path :
         HostilePaths(absl::StrCat(++number, ".safetensors"))) {
      std::error_code ignored;
      if (fs::is_directory(path, ignored)) continue;
      const Outcome run = Explorer(With(
          absl::StrCat(arguments, "--model=synthetic:tiny --tokens=3 "), path));
      EXPECT_LT(run.exit_code, 128) << kSignalled << ": " << arguments;
      EXPECT_NE(run.exit_code, 0) << arguments << " " << path;
      // However its folder is spelled.
      EXPECT_THAT(run.err, HasSubstr(fs::path(path).filename().string()))
          << arguments;
    }
  }
}

// Wisdom only makes the program faster.
TEST(ExplorerHostileFilesTest, AsWisdomToRead) {
  for (const std::string& path : HostilePaths(".json")) {
    const Outcome run =
        Explorer(With(absl::StrCat("--plan=f32 --wisdom=PATH ", kTiny), path));
    EXPECT_EQ(run.exit_code, 0) << path << run.err;
    EXPECT_THAT(run.err, HasSubstr(path));
  }
}

// A terminal would obey what is in a name.
TEST(ExplorerHostileFilesTest, NamesAreShownAsText) {
  const std::string path = InFolder("a\x1b[2J\x7f.gguf");
  const Outcome run = Explorer(absl::StrCat("--plan=f32 --model='", path, "'"));
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, HasSubstr("/a\\x1b[2J\\x7f.gguf"));
  EXPECT_THAT(run.err, testing::Not(HasSubstr("\x1b")));
}

// What a shell's <(command) is.
TEST(ExplorerHostileFilesTest, TextComesOutOfAFifoThatIsWrittenTo) {
  const std::string model = WriteTextModel("qwen2");
  const std::string fifo = InFolder("fifo");
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  // The writer has it open before the program starts, and is slow.
  const std::string writer = absl::StrCat(
      "exec 7<>'", fifo, "'; (printf 'Hello '; sleep 0.2; printf world) >'",
      fifo, "' 7<&- & exec 8<'", fifo, "' 7<&-");
  const std::string flags =
      absl::StrCat("--generate=2 --threads=1 --model='", model, "' ");
  const Outcome piped =
      Explorer(absl::StrCat(flags, "--prompt_file=/dev/fd/8"), "", writer);
  EXPECT_EQ(piped.exit_code, 0) << piped.err;
  const Outcome given = Explorer(absl::StrCat(flags, "--prompt='Hello world'"));
  EXPECT_EQ(given.exit_code, 0) << given.err;
  EXPECT_EQ(piped.out, given.out);
}

// A pipe is read once, however many models what it has is for.
TEST(ExplorerHostileFilesTest, FifosAreForAllModels) {
  const std::pair<std::string, std::string> inputs[] = {
      {"models", "synthetic:tiny\nsynthetic:tiny-qwen3\n"},
      {"plans", "# two\nf32\ntorch-bf16\n"},
      // The name says that it has a prompt a line.
      {"prompts.jsonl", "{\"tokens\": [3, 4]}\n{\"tokens\": [5]}\n"}};
  std::string before = ":";
  int reader = 6;
  for (const auto& [name, text] : inputs) {
    const std::string file = WriteTestFile(name, text), fifo = file + ".fifo";
    ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
    // Its writer is done, and has left what it wrote.
    absl::StrAppend(&before, "; exec 9<>'", fifo, "'; cat '", file, "' >'",
                    fifo, "'; exec ", reader, "<'", fifo, "' 9<&-");
    fs::create_directory(InFolder("pipes"));
    fs::create_symlink(absl::StrCat("/dev/fd/", reader++),
                       InFolder("pipes/" + name));
  }
  const auto run = [&](const std::string& folder) {
    return Explorer(
        With(absl::StrReplaceAll(
                 "--sweep --notiming --threads=1 --wisdom=none -o md "
                 "--model_file=IN/models --plan_file=IN/plans "
                 "--prompt_file=IN/prompts.jsonl --store=IN/store",
                 {{"IN", folder}}),
             ""),
        "", before);
  };
  const Outcome piped = run("FOLDER/pipes");
  EXPECT_EQ(piped.exit_code, 0) << piped.err;
  // All of it was measured, for both.
  const Outcome files = run("FOLDER");
  EXPECT_EQ(files.exit_code, 0) << files.err;
  EXPECT_EQ(Contents(InFolder("pipes/store")).records.size(), 12u);
  EXPECT_EQ(Keys(Contents(InFolder("pipes/store"))),
            Keys(Contents(InFolder("store"))));
}

}  // namespace
}  // namespace ulpscope
