#include "lbfgs.hpp"

#include <algorithm>
#include <cmath>
#include <deque>

#include "base/stop_scope.hpp"

namespace dinoxx::eval {
namespace {

double dot(std::span<const double> a, std::span<const double> b) {
  // four sums: the compiler may not reorder one
  double sums[4] = {};
  size_t i = 0;
  for (; i + 4 <= a.size(); i += 4)
    for (size_t j = 0; j < 4; ++j) sums[j] += a[i + j] * b[i + j];
  for (; i < a.size(); ++i) sums[0] += a[i] * b[i];
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// y += a * x
void add(std::span<double> y, double a, std::span<const double> x) {
  for (size_t i = 0; i < y.size(); ++i) y[i] += a * x[i];
}

struct Pair {
  std::vector<double> step, change;  // of x and of the gradient
  double product;                    // step . change > 0
};

// -H g by the two-loop recursion; H starts from gamma * scale.
std::vector<double> direction(std::span<const double> gradient, const std::deque<Pair>& pairs, std::span<const double> scale,
                              double gamma) {
  std::vector<double> d(gradient.begin(), gradient.end());
  std::vector<double> alpha(pairs.size());
  for (size_t i = pairs.size(); i-- > 0;) {
    alpha[i] = dot(pairs[i].step, d) / pairs[i].product;
    add(d, -alpha[i], pairs[i].change);
  }
  for (size_t i = 0; i < d.size(); ++i) d[i] *= gamma * scale[i];
  for (size_t i = 0; i < pairs.size(); ++i) add(d, alpha[i] - dot(pairs[i].change, d) / pairs[i].product, pairs[i].step);
  for (double& v : d) v = -v;
  return d;
}

}  // namespace

LbfgsResult minimize(const Objective& objective, std::vector<double>& x, std::span<const double> scale, const LbfgsOptions& options) {
  constexpr double kSufficient = 1e-4;
  constexpr int kHalvings = 40;
  LbfgsResult result;
  const size_t n = x.size();
  std::vector<double> gradient(n), next(n), next_gradient(n);
  result.value = objective(x, gradient);
  result.evaluations = 1;
  std::deque<Pair> pairs;
  double gamma = 1;
  while (result.iterations < options.max_iterations) {
    StopScope::check();
    const std::vector<double> d = direction(gradient, pairs, scale, gamma);
    const double slope = dot(gradient, d);
    if (-slope / 2 <= options.tolerance * std::abs(result.value)) {
      result.converged = true;
      return result;
    }
    double length = 1, value = 0;
    int tries = 0;
    for (;; ++tries) {
      for (size_t i = 0; i < n; ++i) next[i] = x[i] + length * d[i];
      value = objective(next, next_gradient);
      ++result.evaluations;
      if (value <= result.value + kSufficient * length * slope || tries == kHalvings) break;
      // minimum of the parabola through what is known, kept within a tenth and a half
      const double fitted = -slope * length * length / (2 * (value - result.value - slope * length));
      length = std::isfinite(fitted) ? std::clamp(fitted, 0.1 * length, 0.5 * length) : 0.1 * length;
    }
    if (tries == kHalvings) return result;
    Pair pair{std::vector<double>(n), std::vector<double>(n), 0};
    for (size_t i = 0; i < n; ++i) {
      pair.step[i] = next[i] - x[i];
      pair.change[i] = next_gradient[i] - gradient[i];
    }
    pair.product = dot(pair.step, pair.change);
    x.swap(next);
    gradient.swap(next_gradient);
    result.value = value;
    ++result.iterations;
    double squares = 0;
    for (size_t i = 0; i < n; ++i) squares += pair.change[i] * pair.change[i] * scale[i];
    if (!(pair.product > 1e-14 * squares)) continue;  // no curvature to learn from
    gamma = pair.product / squares;
    pairs.push_back(std::move(pair));
    if (static_cast<int>(pairs.size()) > options.history) pairs.pop_front();
  }
  return result;
}

}  // namespace dinoxx::eval
