#include "chart.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "report/run/run_figures.hpp"

namespace dinoxx::report {
namespace {

constexpr double kWidth = 480, kHeight = 280, kLeft = 62, kRight = 14, kTop = 12, kBottom = 46;
constexpr size_t kStretches = 300;
constexpr size_t kStyles = 8;  // of the style sheet

// One end of an axis to the other, in numbers and in pixels.
class Axis {
 public:
  Axis(double low, double high, bool log, double from, double to) : log_(log), from_(from), to_(to) {
    if (log) {
      low = std::log10(low);
      high = std::log10(high);
    }
    // so close that ticks between them would be no different numbers: 0.225 and the same with another last bit
    if (high - low <= 1e-9 * std::max(std::abs(low), std::abs(high))) {
      const double room = low == 0 ? 1 : 0.1 * std::abs(low);
      low -= room;
      high += room;
    }
    low_ = low;
    high_ = high;
  }
  double at(double value) const { return from_ + ((log_ ? std::log10(value) : value) - low_) / (high_ - low_) * (to_ - from_); }
  // 1, 2 or 5 times a power of ten, about five of them; on a logarithmic axis powers of ten, with 2 and 5 when these are few.
  std::vector<double> ticks() const {
    std::vector<double> result;
    if (log_) {
      const bool fine = high_ - low_ < 2.5;
      for (double power = std::floor(low_); power <= high_; ++power)
        for (const double factor : {1.0, 2.0, 5.0}) {
          const double place = power + std::log10(factor);
          if ((fine || factor == 1.0) && place >= low_ - 1e-9 && place <= high_ + 1e-9) result.push_back(factor * std::pow(10, power));
        }
      return result;
    }
    const double raw = (high_ - low_) / 5, power = std::pow(10, std::floor(std::log10(raw)));
    const double step = power * (raw / power < 1.5 ? 1 : raw / power < 3.5 ? 2 : raw / power < 7.5 ? 5 : 10);
    for (double i = std::ceil(low_ / step - 1e-9); i * step <= high_ + 1e-9 * step; ++i) result.push_back(i == 0 ? 0 : i * step);
    return result;
  }

 private:
  bool log_;
  double from_, to_, low_, high_;
};

bool usable(const Point& p, bool log_x) {
  return std::isfinite(p.x) && std::isfinite(p.y) && (!log_x || p.x > 0);
}

std::vector<Point> thinned(std::vector<Point> points) {
  if (points.size() <= 2 * kStretches) return points;
  std::vector<Point> result;
  for (size_t s = 0; s < kStretches; ++s) {
    const auto begin = points.begin() + static_cast<ptrdiff_t>(s * points.size() / kStretches);
    const auto end = points.begin() + static_cast<ptrdiff_t>((s + 1) * points.size() / kStretches);
    auto [low, high] = std::minmax_element(begin, end, [](const Point& a, const Point& b) { return a.y < b.y; });
    if (high < low) std::swap(low, high);
    result.push_back(*low);
    if (low != high) result.push_back(*high);
  }
  return result;
}

std::string tick_text(double value, bool percent) {
  if (percent) return fmt::format("{:.4g} %", 100 * value);
  const double size = std::abs(value);
  if (size >= 1e9 || (size > 0 && size < 1e-3)) return fmt::format("{:.3g}", value);
  if (size >= 1e6) return fmt::format("{:.4g}M", value / 1e6);
  if (size >= 1e4) return fmt::format("{:.4g}k", value / 1e3);
  return fmt::format("{:.4g}", value);
}

std::string words_of(const Chart& chart) {
  std::string words = chart.y_label + " against " + chart.x_label + ".";
  for (const Series& series : chart.series) {
    const auto show = [&](double y) { return chart.percent ? percent(y) + " %" : figure(y); };
    if (series.points.empty() || chart.dots) continue;
    const auto [low, high] =
        std::minmax_element(series.points.begin(), series.points.end(), [](const Point& a, const Point& b) { return a.y < b.y; });
    words += fmt::format(" {}: from {} at {} to {} at {}, between {} and {}.", series.name, show(series.points.front().y),
                         tick_text(series.points.front().x, false), show(series.points.back().y), tick_text(series.points.back().x, false),
                         show(low->y), show(high->y));
  }
  return words;
}

std::string lines(const Series& series, size_t style, const Axis& x, const Axis& y, bool marks) {
  std::string path, upper, lower;
  for (const Point& p : series.points) {
    path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", x.at(p.x), y.at(p.y));
    if (!p.low || !p.high) continue;
    upper += fmt::format("{}{:.1f} {:.1f}", upper.empty() ? "M" : "L", x.at(p.x), y.at(*p.high));
    lower = fmt::format("L{:.1f} {:.1f}", x.at(p.x), y.at(*p.low)) + lower;
  }
  std::string svg;
  if (!upper.empty()) svg += fmt::format("<path class=\"b s{}\" d=\"{}{}Z\"/>", style, upper, lower);
  svg += fmt::format("<path class=\"s{} l\" d=\"{}\"/>", style, path);
  if (marks && series.points.size() <= 40)
    for (const Point& p : series.points)
      svg += fmt::format("<circle class=\"s{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.5\"/>", style, x.at(p.x), y.at(p.y));
  return svg;
}

std::string dots(const Series& series, size_t style, const Axis& x, const Axis& y) {
  std::string svg;
  for (const Point& p : series.points) {
    std::string dot;
    if (p.low && p.high)
      dot += fmt::format("<path class=\"s{} l\" style=\"stroke-width:1.2;stroke-dasharray:none\" d=\"M{:.1f} {:.1f}V{:.1f}\"/>", style,
                         x.at(p.x), y.at(*p.low), y.at(*p.high));
    dot += fmt::format("<circle class=\"s{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4\"/>", style, x.at(p.x), y.at(p.y));
    svg += "<g>" + (p.label.empty() ? "" : element("title", text(p.label)).code) + dot + "</g>";
  }
  return svg;
}

Html legend(const std::vector<Series>& series) {
  Html items;
  for (size_t i = 0; i < series.size(); ++i)
    items += element("li", Html{fmt::format("<svg viewBox=\"0 0 32 10\" aria-hidden=\"true\"><path class=\"s{} l\" d=\"M0 5H32\"/></svg>",
                                            i % kStyles)} +
                               text(series[i].name));
  return element("ul", items, "class=\"legend\"");
}

}  // namespace

Html figure_of(const Chart& given) {
  Chart chart = given;
  double x_low = std::numeric_limits<double>::infinity(), x_high = -x_low, y_low = x_low, y_high = -x_low;
  for (Series& series : chart.series) {
    std::erase_if(series.points, [&](const Point& p) { return !usable(p, chart.log_x); });
    for (const Point& p : series.points) {
      x_low = std::min(x_low, p.x);
      x_high = std::max(x_high, p.x);
      y_low = std::min({y_low, p.y, p.low.value_or(p.y)});
      y_high = std::max({y_high, p.y, p.high.value_or(p.y)});
    }
  }
  std::erase_if(chart.series, [](const Series& series) { return series.points.empty(); });
  if (chart.series.empty()) return {};
  x_low = chart.x_low.value_or(x_low);
  x_high = chart.x_high.value_or(x_high);
  if (chart.dots && chart.log_x) {  // no dot on the edge
    x_low /= 1.15;
    x_high *= 1.15;
  }
  const double room = 0.05 * (y_high - y_low);
  const Axis x(x_low, x_high, chart.log_x, kLeft, kWidth - kRight);
  const Axis y(chart.low.value_or(y_low - room), chart.high.value_or(y_high + room), false, kHeight - kBottom, kTop);
  std::string svg = fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\">", kWidth, kHeight) + element("title", text(chart.title)).code +
                    element("desc", text(words_of(chart))).code;
  for (const double tick : y.ticks()) {
    svg += fmt::format("<path class=\"grid\" d=\"M{} {:.1f}H{}\"/><text class=\"soft\" text-anchor=\"end\" x=\"{}\" y=\"{:.1f}\">{}</text>",
                       kLeft, y.at(tick), kWidth - kRight, kLeft - 6, y.at(tick) + 4, tick_text(tick, chart.percent));
  }
  for (const double tick : x.ticks()) {
    svg +=
        fmt::format("<path class=\"axis\" d=\"M{:.1f} {}v5\"/><text class=\"soft\" text-anchor=\"middle\" x=\"{:.1f}\" y=\"{}\">{}</text>",
                    x.at(tick), kHeight - kBottom, x.at(tick), kHeight - kBottom + 18, tick_text(tick, false));
  }
  svg += fmt::format("<path class=\"axis\" d=\"M{} {}H{}\"/>", kLeft, kHeight - kBottom, kWidth - kRight);
  if (chart.diagonal)
    svg += fmt::format("<path class=\"grid\" d=\"M{:.1f} {:.1f}L{:.1f} {:.1f}\"/>", x.at(x_low), y.at(x_low), x.at(x_high), y.at(x_high));
  for (size_t i = 0; i < chart.series.size(); ++i) {
    Series series = chart.series[i];
    if (!chart.dots) series.points = thinned(std::move(series.points));
    svg += chart.dots ? dots(series, i % kStyles, x, y) : lines(series, i % kStyles, x, y, chart.marks);
  }
  svg += fmt::format("<text class=\"soft\" text-anchor=\"middle\" x=\"{}\" y=\"{}\">", (kLeft + kWidth - kRight) / 2, kHeight - 8) +
         text(chart.x_label).code + "</text></svg>";
  Html caption = element("figcaption", element("strong", text(chart.title)) + text(chart.y_label.empty() ? "" : ": " + chart.y_label));
  if (chart.series.size() > 1) caption += legend(chart.series);
  return element("figure", Html{svg} + caption) + Html{"\n"};
}

}  // namespace dinoxx::report
