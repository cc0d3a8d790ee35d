#pragma once
#include <optional>
#include <span>
#include <vector>

/// Tests of several pairs at once.
namespace dinoxx::eval {

/// p values that hold for all tests of one family together (Holm 1979): sorted rising, the i-th of m (from 0) times m - i, never below the
/// one before it and at most 1. The chance that any true hypothesis is rejected at level a is at most a, whatever the tests have to do with
/// one another. nullopt: a test that could not be made; it does not count in m.
std::vector<std::optional<double>> holm(std::span<const std::optional<double>> p);

/// Two-sided p value of "the difference is 0" from resampled differences (Davison and Hinkley 1997, section 4.4):
/// 2 (1 + resamples on the rarer side of 0, those at 0 on both) / (1 + resamples), at most 1. NaN are left out; nullopt where more than
/// half are.
std::optional<double> bootstrap_p(std::span<const double> differences);

struct PairedMean {
  double mean = 0;
  double low = 0, high = 0;  ///< 95 %
  double p = 1;              ///< two-sided
};
/// Student's t test of paired differences, with the variance of t_interval(differences, test_share): 0 for independent draws, for folds of
/// cross-validation (test images) / (training images) (Nadeau and Bengio 2003, eq. 8). nullopt for fewer than two differences and where
/// they do not vary.
std::optional<PairedMean> paired_mean(std::span<const double> differences, double test_share = 0);

}  // namespace dinoxx::eval
