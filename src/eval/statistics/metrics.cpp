#include "metrics.hpp"

#include <algorithm>
#include <cmath>

namespace dinoxx::eval {

double Scores::accuracy() const {
  return count == 0 ? 0.0 : static_cast<double>(correct) / static_cast<double>(count);
}

double Scores::top5() const {
  return count == 0 ? 0.0 : static_cast<double>(correct_top5) / static_cast<double>(count);
}

double Scores::balanced_accuracy() const {
  double sum = 0;
  int present = 0;
  for (const ClassScore& c : classes) {
    if (c.support == 0) continue;
    sum += static_cast<double>(c.correct) / static_cast<double>(c.support);
    ++present;
  }
  return present == 0 ? 0.0 : sum / present;
}

Scores score(std::span<const int32_t> labels, std::span<const int32_t> ranked, int width, int classes) {
  Scores scores;
  scores.count = static_cast<int64_t>(labels.size());
  scores.classes.resize(classes);
  for (size_t q = 0; q < labels.size(); ++q) {
    const auto predictions = ranked.subspan(q * width, std::min(width, 5));
    ClassScore& c = scores.classes[labels[q]];
    ++c.support;
    if (predictions[0] == labels[q]) {
      ++c.correct;
      ++scores.correct;
    }
    if (std::find(predictions.begin(), predictions.end(), labels[q]) != predictions.end()) ++scores.correct_top5;
  }
  return scores;
}

std::pair<double, double> wilson_interval(int64_t successes, int64_t trials) {
  if (trials == 0) return {0.0, 1.0};
  constexpr double z = 1.959963984540054;  // 97.5 % quantile of the standard normal
  const double n = static_cast<double>(trials), p = static_cast<double>(successes) / n;
  const double denominator = 1 + z * z / n, centre = (p + z * z / (2 * n)) / denominator;
  const double half = z * std::sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / denominator;
  // at the ends rounding leaves 1e-17 where the formula has 0
  return {successes == 0 ? 0.0 : std::max(0.0, centre - half), successes == trials ? 1.0 : std::min(1.0, centre + half)};
}

}  // namespace dinoxx::eval
