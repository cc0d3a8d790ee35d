#include "multiple_tests.hpp"

#include <algorithm>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <numeric>

#include "resampling.hpp"

namespace dinoxx::eval {

std::vector<std::optional<double>> holm(std::span<const std::optional<double>> p) {
  std::vector<size_t> order;
  for (size_t i = 0; i < p.size(); ++i)
    if (p[i]) order.push_back(i);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return *p[a] < *p[b]; });
  std::vector<std::optional<double>> adjusted(p.size());
  double largest = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    largest = std::max(largest, std::min(1.0, *p[order[i]] * static_cast<double>(order.size() - i)));
    adjusted[order[i]] = largest;
  }
  return adjusted;
}

std::optional<double> bootstrap_p(std::span<const double> differences) {
  int64_t below = 0, above = 0, defined = 0;
  for (const double d : differences) {
    if (std::isnan(d)) continue;
    ++defined;
    below += d <= 0;
    above += d >= 0;
  }
  if (defined == 0 || 2 * defined < static_cast<int64_t>(differences.size())) return std::nullopt;
  return std::min(1.0, 2.0 * static_cast<double>(1 + std::min(below, above)) / static_cast<double>(1 + defined));
}

std::optional<PairedMean> paired_mean(std::span<const double> differences, double test_share) {
  constexpr double kRounding = 1e-12;
  const MeanInterval interval = t_interval(differences, test_share);
  if (!interval.half_width.value || interval.deviation <= kRounding) return std::nullopt;
  const double n = static_cast<double>(differences.size());
  const double error = interval.deviation * std::sqrt(1 / n + test_share);
  const boost::math::students_t_distribution<double> t(n - 1);
  const double tail = boost::math::cdf(boost::math::complement(t, std::abs(interval.mean) / error));
  return PairedMean{interval.mean, interval.mean - *interval.half_width.value, interval.mean + *interval.half_width.value,
                    std::min(1.0, 2 * tail)};
}

}  // namespace dinoxx::eval
