#include "feature_health.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "eval/features/blocks.hpp"
#include "eval/statistics/resampling.hpp"
#include "eval/statistics/statistics.hpp"
#include "loss/monitors.hpp"

namespace dinoxx::eval {
namespace {

using nlohmann::json;

constexpr int64_t kRows = 2048, kRowsOfWide = 1024, kWide = 1024;  // a spectrum of so many rows takes seconds
constexpr double kDead = 0.01;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

struct Sample {
  at::Tensor x;  // [n, D] float64
  std::vector<int32_t> labels;
};

Sample sample(const ProtocolInput& input) {
  const at::Tensor& memory = input.features.memory;
  const int64_t all = memory.size(0), n = std::min(all, memory.size(1) > kWide ? kRowsOfWide : kRows);
  Sample result{at::empty({n, memory.size(1)}, at::kDouble), {}};
  for (int64_t i = 0; i < n; ++i) {
    result.x[i].copy_(memory[i * all / n]);
    result.labels.push_back(input.data.memory_labels[static_cast<size_t>(i * all / n)]);
  }
  return result;
}

// Numbers in the order in which one rank sends them to the others.
enum Place { kRank, kDeviation, kCosine, kUniformity, kAlignment, kDistance, kFixed };

void measure_pairs(const Sample& s, double* row) {
  const at::Tensor cosines = at::mm(s.x, s.x.t()).contiguous();
  const int64_t n = s.x.size(0);
  double cosine = 0, potential = 0, same = 0;
  int64_t pairs = 0, same_pairs = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double* of_row = cosines.data_ptr<double>() + i * n;
    for (int64_t j = 0; j < i; ++j, ++pairs) {
      const double squared = std::max(0.0, 2 - 2 * of_row[j]);  // both of length one
      cosine += of_row[j];
      potential += std::exp(-2 * squared);
      if (s.labels[i] != s.labels[j]) continue;
      same += squared;
      ++same_pairs;
    }
  }
  const double count = static_cast<double>(pairs);
  row[kCosine] = cosine / count;
  row[kDistance] = 2 - 2 * cosine / count;
  row[kUniformity] = std::log(potential / count);
  row[kAlignment] = same_pairs > 0 ? same / static_cast<double>(same_pairs) : kNaN;
}

// Variances of the principal components, falling.
at::Tensor spectrum_of(const at::Tensor& x) {
  const at::Tensor centred = x - x.mean(0);
  const at::Tensor gram = x.size(0) <= x.size(1) ? at::mm(centred, centred.t()) : at::mm(centred.t(), centred);
  return at::linalg_eigvalsh(gram).clamp_min(0.0).flip(0).div(static_cast<double>(x.size(0)));
}

// All components up to 16, then ever larger steps, and the last.
std::vector<int64_t> shown_components(int64_t count) {
  std::vector<int64_t> shown;
  for (double c = 1; c <= static_cast<double>(count); c = c < 16 ? c + 1 : std::ceil(c * 1.2)) shown.push_back(static_cast<int64_t>(c));
  if (!shown.empty() && shown.back() != count) shown.push_back(count);
  return shown;
}

json spectrum_json(const double* variances, int64_t count) {
  double all = 0;
  for (int64_t c = 0; c < count; ++c) all += variances[c];
  json result = json::array();
  double up_to = 0;
  int64_t next = 0;
  if (!(all > 0)) return result;
  for (const int64_t c : shown_components(count)) {
    for (; next < c; ++next) up_to += variances[next];
    result.push_back({{"component", c}, {"share", variances[c - 1] / all}, {"up_to", up_to / all}});
  }
  return result;
}

}  // namespace

json feature_health(const ProtocolInput& input) {
  const Sample s = sample(input);
  const int64_t n = s.x.size(0), dim = s.x.size(1), components = std::min(n, dim);
  json health = {{"name", input.embedder.name}, {"images", n}, {"dim", dim}};
  if (n < 2) {
    for (const char* key : {"effective_rank", "deviation", "deviation_quantiles", "dead_dimensions", "mean_cosine", "uniformity",
                            "alignment", "distance", "spectrum"})
      put(health, key, Stat::undefined("one training image has no variance"));
    return health;
  }
  const at::Tensor rows = run_tasks(input.comm, 1, kFixed + dim + components, 1, [&](int64_t, double* row) {
    const FeatureSpread spread = feature_spread(s.x);
    row[kRank] = spread.effective_rank;
    row[kDeviation] = spread.deviation;
    measure_pairs(s, row);
    at::from_blob(row + kFixed, {dim}, at::kDouble).copy_(s.x.std(0, /*unbiased=*/false) * std::sqrt(static_cast<double>(dim)));
    at::from_blob(row + kFixed + dim, {components}, at::kDouble).copy_(spectrum_of(s.x));
  });
  const double* row = rows.data_ptr<double>();
  std::vector<double> deviations(row + kFixed, row + kFixed + dim);
  std::sort(deviations.begin(), deviations.end());
  health["effective_rank"] = row[kRank];
  health["deviation"] = row[kDeviation];
  health["deviation_quantiles"] = json::array();
  for (const double q : {0.0, 0.05, 0.5, 0.95, 1.0}) health["deviation_quantiles"].push_back(quantile(deviations, q));
  const auto dead = std::count_if(deviations.begin(), deviations.end(), [](double d) { return d < kDead; });
  health["dead_dimensions"] = static_cast<double>(dead) / static_cast<double>(dim);
  health["mean_cosine"] = row[kCosine];
  health["uniformity"] = row[kUniformity];
  put(health, "alignment",
      std::isnan(row[kAlignment]) ? Stat::undefined("no class has two of these training images") : Stat::of(row[kAlignment]));
  health["distance"] = row[kDistance];
  health["spectrum"] = spectrum_json(row + kFixed + dim, components);
  return health;
}

}  // namespace dinoxx::eval
