#pragma once
#include <optional>
#include <string>
#include <vector>

#include "html.hpp"

/// Charts as inline SVG with a title, a description in words and a legend that needs no colour.
namespace dinoxx::report {

struct Point {
  double x = 0, y = 0;
  std::optional<double> low, high;  ///< of an interval around y
  std::string label;                ///< of a dot, shown on hover
};

struct Series {
  std::string name;
  std::vector<Point> points;  ///< rising x for lines; points whose y is NaN are left out
};

struct Chart {
  std::string title;
  std::string x_label, y_label;
  std::vector<Series> series;
  bool dots = false;  ///< points with interval bars instead of lines with bands
  bool log_x = false;
  bool diagonal = false;            ///< from corner to corner, for calibration
  std::optional<double> low, high;  ///< of the y axis; else what the points need
  std::optional<double> x_low, x_high;
  bool marks = true;  ///< of the single points of a line, where these are few
  bool percent = false;             ///< y is a share
};

/// A figure with the chart; nothing when no series has a point. Lines of many points are thinned to the smallest and largest of each of 300
/// stretches, so that no peak is lost.
Html figure_of(const Chart& chart);

}  // namespace dinoxx::report
