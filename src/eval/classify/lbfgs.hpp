#pragma once
#include <functional>
#include <span>
#include <vector>

namespace dinoxx::eval {

struct LbfgsOptions {
  int max_iterations = 1000;
  int history = 10;
  double tolerance = 1e-10;  ///< of the predicted gain, as a share of the value
};

struct LbfgsResult {
  double value = 0;
  int iterations = 0, evaluations = 0;
  bool converged = false;  ///< false: the iterations ran out, or rounding lets no step gain anything
};

/// Value at x; writes the gradient.
using Objective = std::function<double(std::span<const double> x, std::span<double> gradient)>;

/// Minimises a smooth convex function by limited-memory BFGS (Liu and Nocedal 1989; Nocedal and Wright, algorithm 7.4) with backtracking.
/// `scale` [x.size()], positive: a guess of the inverse Hessian's diagonal, from which each direction starts. Stops when the gain that the
/// quadratic model predicts, -g.d / 2, is at most tolerance * value. `x` is the start and the result.
LbfgsResult minimize(const Objective& objective, std::vector<double>& x, std::span<const double> scale, const LbfgsOptions& options = {});

}  // namespace dinoxx::eval
