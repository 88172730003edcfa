#include "tests/explorer/attribution/verdict_figures.h"

#include <cstddef>
#include <ios>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "explorer/attribution/archived_verdict.h"
#include "explorer/error/archive.h"
#include "gtest/gtest.h"

namespace ulpscope {
namespace {

class Figures : public Archive {
 public:
  void Figure(absl::string_view name, double& value) override {
    Add(name, value);
  }
  void Figure(absl::string_view name, std::optional<double>& value) override {
    if (value.has_value()) Add(name, *value);
  }
  void Figure(absl::string_view name, size_t& value) override {
    Add(name, value);
  }
  void Figure(absl::string_view name, bool& value) override {
    Add(name, value);
  }
  void Figure(absl::string_view name, std::string& value) override {
    Add(name, value);
  }
  void Figure(absl::string_view name, std::vector<double>& values) override {
    for (double& value : values) Add(name, value);
  }
  bool OpenPart(absl::string_view name, bool there) override {
    Add(name, there);
    return there;
  }
  size_t OpenList(absl::string_view name, size_t size) override {
    Add(name, size);
    return size;
  }
  void OpenItem(size_t) override {}
  void Close() override {}
  void Fail() override { ADD_FAILURE(); }

  const std::vector<std::string>& text() const { return text_; }

 private:
  template <typename T>
  void Add(absl::string_view name, const T& value) {
    std::ostringstream out;
    out << std::hexfloat << name << " " << value;
    text_.push_back(out.str());
  }

  std::vector<std::string> text_;
};

}  // namespace

std::vector<std::string> FiguresOf(Verdict verdict) {
  Figures figures;
  Visit(figures, verdict);
  return figures.text();
}

}  // namespace ulpscope
