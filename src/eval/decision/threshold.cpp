#include "threshold.hpp"

#include <algorithm>
#include <boost/math/distributions/binomial.hpp>
#include <cmath>

namespace dinoxx::eval {
namespace {

constexpr double kRounding = 1e-9;  // 0.95 * 20 is 19, whatever a double says

}  // namespace

double recall_at_least(int64_t found, int64_t images, double confidence) {
  if (images == 0 || found == 0) return 0;
  return boost::math::binomial_distribution<double>::find_lower_bound_on_p(static_cast<double>(images), static_cast<double>(found),
                                                                           1 - confidence);
}

int64_t images_to_show(double recall, double confidence) {
  return static_cast<int64_t>(std::ceil(std::log(1 - confidence) / std::log(recall) - kRounding));
}

std::optional<int64_t> images_to_find(int64_t images, double recall, std::optional<double> confidence) {
  int64_t count = std::max(int64_t{1}, static_cast<int64_t>(std::ceil(recall * static_cast<double>(images) - kRounding)));
  if (!confidence) return count;
  while (count <= images && recall_at_least(count, images, *confidence) < recall - kRounding) ++count;
  return count <= images ? std::optional(count) : std::nullopt;
}

double highest_threshold(std::vector<double> probabilities, int64_t count) {
  const auto place = probabilities.begin() + (count - 1);
  std::nth_element(probabilities.begin(), place, probabilities.end(), std::greater<>());
  return *place;
}

}  // namespace dinoxx::eval
