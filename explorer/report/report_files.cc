#include "explorer/report/report_files.h"

#include <filesystem>
#include <fstream>
#include <ios>
#include <string>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace ulpscope {

std::string CsvField(absl::string_view text) {
  if (text.find_first_of(",\"\r\n") == absl::string_view::npos) {
    return std::string(text);
  }
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + "\"";
}

absl::Status MakeFolder(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) {
    return absl::UnavailableError(
        absl::StrCat(path, ": cannot create the folder: ", error.message()));
  }
  return absl::OkStatus();
}

absl::Status WriteFile(const std::string& path, absl::string_view text) {
  const absl::Status failed =
      absl::UnavailableError(absl::StrCat(path, ": cannot write"));
  std::ofstream file(path, std::ios::binary);
  if (!file) return failed;
  file << text;
  file.close();
  if (!file) {
    // Half a file would be read as a whole one.
    std::error_code error;
    if (std::filesystem::is_regular_file(path, error)) {
      std::filesystem::remove(path, error);
    }
    return failed;
  }
  return absl::OkStatus();
}

}  // namespace ulpscope
