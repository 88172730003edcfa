#ifndef EXPLORER_STORE_JSON_ARCHIVE_H_
#define EXPLORER_STORE_JSON_ARCHIVE_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "explorer/error/archive.h"
#include "nlohmann/json.hpp"

namespace ulpscope {

// Figures as JSON: NaN and infinities are the strings "NaN", "Infinity" and
// "-Infinity", what is not there is null.
class JsonWriter : public Archive {
 public:
  const nlohmann::json& json() const { return root_; }
  // As Record::result has it.
  std::string Text() const;

  void Figure(absl::string_view name, double& value) override;
  void Figure(absl::string_view name, std::optional<double>& value) override;
  void Figure(absl::string_view name, size_t& value) override;
  void Figure(absl::string_view name, bool& value) override;
  void Figure(absl::string_view name, std::string& value) override;
  void Figure(absl::string_view name, std::vector<double>& values) override;
  bool OpenPart(absl::string_view name, bool there) override;
  size_t OpenList(absl::string_view name, size_t size) override;
  void OpenItem(size_t index) override;
  void Close() override { open_.pop_back(); }
  void Fail() override {}

 private:
  nlohmann::json& Member(absl::string_view name);

  nlohmann::json root_ = nlohmann::json::object();
  // What is open stays where it is: nothing is added beside it.
  std::vector<nlohmann::json*> open_ = {&root_};
};

class JsonReader : public Archive {
 public:
  // `json` must outlive it.
  explicit JsonReader(const nlohmann::json& json) : open_{&json} {}

  // Nothing was missing or of another type so far.
  bool ok() const { return ok_; }

  void Figure(absl::string_view name, double& value) override;
  void Figure(absl::string_view name, std::optional<double>& value) override;
  void Figure(absl::string_view name, size_t& value) override;
  void Figure(absl::string_view name, bool& value) override;
  void Figure(absl::string_view name, std::string& value) override;
  void Figure(absl::string_view name, std::vector<double>& values) override;
  bool OpenPart(absl::string_view name, bool there) override;
  size_t OpenList(absl::string_view name, size_t size) override;
  void OpenItem(size_t index) override;
  void Close() override { open_.pop_back(); }
  void Fail() override { ok_ = false; }

 private:
  // Null, and a failure, if there is none.
  const nlohmann::json* Member(absl::string_view name);
  void Read(const nlohmann::json& json, double& value);

  bool ok_ = true;
  std::vector<const nlohmann::json*> open_;  // null behind a failure
};

}  // namespace ulpscope

#endif  // EXPLORER_STORE_JSON_ARCHIVE_H_
