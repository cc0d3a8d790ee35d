#include "resampling.hpp"

#include <fmt/format.h>
#include <algorithm>
#include <boost/math/distributions/binomial.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/rng.hpp"
#include "eval/features/lanes.hpp"
#include "metrics.hpp"

namespace dinoxx::eval {

double quantile(std::span<const double> sorted, double q) {
  const double place = q * static_cast<double>(sorted.size() - 1);
  const size_t below = static_cast<size_t>(place), above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

Resampler::Resampler(std::span<const int32_t> labels, std::span<const uint64_t> groups, int classes, uint64_t seed)
    : rows_(labels.size()), seed_(seed) {
  by_group_ = std::any_of(groups.begin(), groups.end(), [](uint64_t g) { return g != 0; });
  if (by_group_) {
    std::map<uint64_t, size_t> unit_of;
    for (uint32_t row = 0; row < rows_; ++row) {
      const auto [at, fresh] = unit_of.try_emplace(groups[row], units_.size());
      if (groups[row] == 0 || fresh) {
        units_.push_back({row});
      } else {
        units_[at->second].push_back(row);
      }
    }
    strata_.emplace_back(0, units_.size());
    return;
  }
  std::vector<std::vector<uint32_t>> by_class(classes);
  for (uint32_t row = 0; row < rows_; ++row) by_class[labels[row]].push_back(row);
  for (const std::vector<uint32_t>& rows : by_class) {
    if (rows.empty()) continue;
    const size_t begin = units_.size();
    for (const uint32_t row : rows) units_.push_back({row});
    strata_.emplace_back(begin, units_.size());
  }
}

std::vector<uint32_t> Resampler::counts(int64_t index) const {
  std::vector<uint32_t> result(rows_);
  size_t drawn = 0;
  std::unique_ptr<CounterRng> rng;
  for (const auto& [begin, end] : strata_) {
    for (size_t i = begin; i < end; ++i, ++drawn) {
      // one counter gives 2^17 draws of 64 bits; a fresh one in time
      if (drawn % 65536 == 0)
        rng = std::make_unique<CounterRng>(seed_, static_cast<uint64_t>(index), lane(Lane::kBootstrap, drawn / 65536), Purpose::kEval);
      for (const uint32_t row : units_[begin + rng->below(end - begin)]) ++result[row];
    }
  }
  return result;
}

std::array<double, kResampledScores> resampled_scores(std::span<const int32_t> labels, std::span<const int32_t> predictions,
                                                      std::span<const uint32_t> counts, int classes) {
  Tally t;
  t.support.resize(classes);
  t.predicted.resize(classes);
  t.correct.resize(classes);
  for (size_t i = 0; i < labels.size(); ++i) {
    t.count += counts[i];
    t.support[labels[i]] += counts[i];
    t.predicted[predictions[i]] += counts[i];
    if (labels[i] == predictions[i]) t.correct[labels[i]] += counts[i];
  }
  std::array<double, kResampledScores> result{};
  size_t i = 0;
  for (const Stat& stat : {accuracy(t), balanced_accuracy(t), macro_f1(t), matthews(t)})
    result[i++] = stat.value.value_or(std::numeric_limits<double>::quiet_NaN());
  return result;
}

PercentileInterval percentile_interval(std::vector<double> values) {
  constexpr double kRounding = 1e-12;
  const size_t all = values.size();
  std::erase_if(values, [](double v) { return std::isnan(v); });
  if (values.empty() || 2 * values.size() < all) return {std::nullopt, "undefined in more than half of the bootstrap resamples"};
  std::sort(values.begin(), values.end());
  const Interval interval{quantile(values, 0.025), quantile(values, 0.975)};
  if (interval.high - interval.low <= kRounding * std::max(1.0, std::abs(interval.low)))
    return {std::nullopt, "all bootstrap resamples give the same value: there are too few images, or they do not vary"};
  return {interval, ""};
}

void put(nlohmann::json& object, const std::string& key, const PercentileInterval& interval) {
  if (interval.value)
    object[key] = {interval.value->low, interval.value->high};
  else
    put(object, key, Stat::undefined(interval.reason));
}

std::string note_on_spread(std::span<const int32_t> labels, std::span<const int8_t> values, int classes) {
  constexpr double kWorthSaying = 0.005;  // of the mean recall
  struct Class {
    int64_t images = 0;
    int8_t value = 0;
    bool varies = false;
  };
  std::vector<Class> seen(classes);
  for (size_t i = 0; i < labels.size(); ++i) {
    Class& c = seen[labels[i]];
    c.varies |= c.images > 0 && values[i] != c.value;
    c.value = values[i];
    ++c.images;
  }
  int64_t present = 0, constant = 0, single = 0;
  double squares = 0;
  for (const Class& c : seen) {
    if (c.images == 0) continue;
    ++present;
    if (c.varies) continue;
    ++constant;
    single += c.images == 1;
    const double width = wilson_interval(0, c.images).second;
    squares += width * width;
  }
  if (constant == 0) return {};
  const double open = std::sqrt(squares) / static_cast<double>(present);
  if (open < kWorthSaying) return {};
  const std::string of_one = single == 0 ? "" : fmt::format(" ({} of one test image)", single);
  return fmt::format(
      "too narrow: {} of {} classes with test images{} are the same in every resample; by their Wilson intervals that leaves about {:.1f} "
      "points of the balanced accuracy open",
      constant, present, of_one, 100 * open);
}

McNemar mcnemar(std::span<const int32_t> labels, std::span<const int32_t> first, std::span<const int32_t> second) {
  McNemar result;
  for (size_t i = 0; i < labels.size(); ++i) {
    const bool a = first[i] == labels[i], b = second[i] == labels[i];
    result.only_first += a && !b;
    result.only_second += b && !a;
  }
  const int64_t both = result.only_first + result.only_second;
  if (both == 0) return result;
  const boost::math::binomial_distribution<double> fair(static_cast<double>(both), 0.5);
  result.p = std::min(1.0, 2 * boost::math::cdf(fair, static_cast<double>(std::min(result.only_first, result.only_second))));
  return result;
}

MeanInterval t_interval(std::span<const double> values, double test_share) {
  MeanInterval result;
  const double n = static_cast<double>(values.size());
  for (const double v : values) result.mean += v;
  result.mean /= n;
  if (values.size() < 2) {
    result.half_width = Stat::undefined("fewer than two values");
    return result;
  }
  double squares = 0;
  for (const double v : values) squares += (v - result.mean) * (v - result.mean);
  result.deviation = std::sqrt(squares / (n - 1));
  const double t = boost::math::quantile(boost::math::students_t_distribution<double>(n - 1), 0.975);
  result.half_width = Stat::of(t * result.deviation * std::sqrt(1 / n + test_share));
  return result;
}

}  // namespace dinoxx::eval
