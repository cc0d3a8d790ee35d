#include "paired.hpp"

#include <fmt/format.h>

#include <cmath>

#include "resampling.hpp"

namespace dinoxx::eval {

using nlohmann::json;

json paired_differences(std::span<const std::string> embedders, std::span<const std::vector<ResampledFigure>> figures) {
  json result = json::array();
  for (size_t e = 1; e < embedders.size(); ++e) {
    for (const ResampledFigure& first : figures[0]) {
      for (const ResampledFigure& second : figures[e]) {
        if (first.name != second.name) continue;
        std::vector<double> differences;
        for (size_t i = 0; i < first.values.size(); ++i) differences.push_back(first.values[i] - second.values[i]);
        const double difference = first.value - second.value;
        json row = {{"figure", first.name}, {"first", embedders[0]}, {"second", embedders[e]}};
        put(row, "difference", Stat::unless_nan(difference, "the figure is undefined for one of the two"));
        put(row, "interval95", percentile_interval(std::move(differences)));
        result.push_back(std::move(row));
      }
    }
  }
  return result;
}
std::string paired_lines(const json& differences) {
  std::string text;
  for (const json& row : differences) {
    if (row["difference"].is_null()) continue;
    const json& interval = row["interval95"];
    if (text.empty()) text = "differences in points with 95 % intervals, both on the same resamples\n";
    text += fmt::format("  {} - {}: {} {:+.2f}{}\n", row["first"].get<std::string>(), row["second"].get<std::string>(),
                        row["figure"].get<std::string>(), 100 * row["difference"].get<double>(),
                        interval.is_null()
                            ? std::string()
                            : fmt::format(" ({:+.2f} to {:+.2f})", 100 * interval[0].get<double>(), 100 * interval[1].get<double>()));
  }
  return text;
}

}  // namespace dinoxx::eval
