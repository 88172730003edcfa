#include "explorer/store/json_archive.h"

#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "explorer/error/archive.h"
#include "explorer/error/archived_metrics.h"
#include "explorer/error/metrics.h"
#include "explorer/error/token_errors.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace ulpscope {
namespace {

using Json = nlohmann::json;
using Limits = std::numeric_limits<double>;

TraceMetrics MadeMetrics() {
  TraceMetrics m;
  for (size_t layer = 1; layer <= 2; ++layer) {
    LayerMetrics row;
    row.layer = layer;
    row.error.mean_abs = 1.0 / 3;
    row.error.max_abs = Limits::infinity();
    row.error.max_row = 7;
    row.error.ulps = Quantiles{1, 2.5, Limits::infinity()};
    row.std = -Limits::infinity();
    row.max_activation = Limits::quiet_NaN();
    if (layer == 2) row.growth = 0x1.fffffffffffffp+1;
    m.layers.push_back(row);
  }
  TokenErrors& tokens = m.tokens.emplace();
  for (std::vector<double>* figures :
       {&tokens.kl, &tokens.max_abs, &tokens.top10, &tokens.reference_top,
        &tokens.top, &tokens.margin, &tokens.flip_margin, &tokens.rank,
        &tokens.reference_l2, &tokens.error_l2, &tokens.massive}) {
    *figures = {1, 0.25};
  }
  tokens.kl = {Limits::denorm_min(), Limits::quiet_NaN()};
  tokens.reference_logp = {-1};
  tokens.logp = {-Limits::infinity()};
  return m;
}

Json Written(TraceMetrics metrics) {
  JsonWriter writer;
  Visit(writer, metrics);
  return writer.json();
}

bool IsRead(const Json& json, TraceMetrics& metrics) {
  JsonReader reader(json);
  Visit(reader, metrics);
  return reader.ok();
}

// Through text, as a file has it.
TEST(JsonArchiveTest, FiguresKeepEveryBit) {
  const std::vector<double> values = {0.0,
                                      -0.0,
                                      1.0 / 3,
                                      Limits::max(),
                                      Limits::denorm_min(),
                                      -1e-310,
                                      Limits::min(),
                                      0.1,
                                      1e300,
                                      Limits::infinity(),
                                      4.35,
                                      -Limits::infinity(),
                                      123456789012345678.0};
  JsonWriter writer;
  std::vector<double> list = values;
  writer.Figure("list", list);
  const Json json = Json::parse(writer.json().dump());
  JsonReader reader(json);
  std::vector<double> read;
  reader.Figure("list", read);
  ASSERT_TRUE(reader.ok());
  ASSERT_EQ(read.size(), values.size());
  EXPECT_EQ(std::memcmp(read.data(), values.data(), 8 * values.size()), 0);
}

TEST(JsonArchiveTest, MetricsAreReadAsTheyWereWritten) {
  const Json json = Json::parse(Written(MadeMetrics()).dump());
  EXPECT_EQ(json["layers"][0]["max_activation"], "NaN");
  EXPECT_EQ(json["layers"][0]["std"], "-Infinity");
  EXPECT_EQ(json["layers"][0]["growth"], Json());
  EXPECT_EQ(json["final_norm"], Json());
  TraceMetrics read;
  ASSERT_TRUE(IsRead(json, read));
  EXPECT_FALSE(read.layers[0].growth.has_value());
  EXPECT_FALSE(read.final_norm.has_value());
  EXPECT_FALSE(read.mean_growth.has_value());
  EXPECT_EQ(read.layers[1].growth, 0x1.fffffffffffffp+1);
  EXPECT_TRUE(std::isnan(read.layers[0].max_activation));
  EXPECT_EQ(Written(read), json);
}

// Every member: gone, null, or of another type.
TEST(JsonArchiveTest, AnythingElseIsRefused) {
  const Json whole = Written(MadeMetrics());
  const Json flat = whole.flatten();
  for (const auto& [path, value] : flat.items()) {
    const Json::json_pointer at(path);
    for (const Json& other : {Json("text"), Json::array({1}), Json::object(),
                              Json(true), Json::array({Json::object()})}) {
      Json changed = whole;
      changed[at] = other;
      TraceMetrics read;
      EXPECT_FALSE(IsRead(changed, read)) << path << " " << other;
    }
    Json without = whole;
    Json& parent = without[at.parent_pointer()];
    if (parent.is_array()) {
      parent.erase(std::stoul(at.back()));
    } else {
      parent.erase(at.back());
    }
    TraceMetrics read;
    EXPECT_FALSE(IsRead(without, read)) << path;
  }
  for (const char* text :
       {"{}", "[]", "null", "{\"layers\":7}", "{\"layers\":[7]}",
        "{\"layers\":[null]}", "{\"layers\":[[]],\"final_norm\":[]}"}) {
    TraceMetrics read;
    EXPECT_FALSE(IsRead(Json::parse(text), read)) << text;
  }
  for (const char* layer : {"-1", "1.5", "1e30", "null"}) {
    Json changed = whole;
    changed["layers"][0]["layer"] = Json::parse(layer);
    TraceMetrics read;
    EXPECT_FALSE(IsRead(changed, read)) << layer;
  }
}

}  // namespace
}  // namespace ulpscope
