#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "eval/statistics/statistics.hpp"

/// How well clusters that were found without labels agree with the classes.
namespace dinoxx::eval {

/// table[label * clusters + cluster]: images.
std::vector<int64_t> contingency(std::span<const int32_t> labels, std::span<const int32_t> clusters, int classes, int cluster_count);

/// The assignment of rows to columns of a square matrix with the smallest sum: column of each row (Kuhn 1955, Munkres 1957; shortest
/// augmenting paths, O(n^3)).
std::vector<int> cheapest_assignment(std::span<const double> cost, int n);

/// Share of images whose cluster is matched to their class, under the one-to-one matching that makes it largest. The matching looks at the
/// labels: an upper end.
Stat matched_accuracy(std::span<const int64_t> table, int classes, int cluster_count);

/// Normalised mutual information, mutual information over the mean of the two entropies (Strehl and Ghosh 2002; scikit-learn's default).
/// Undefined when both are constant.
Stat mutual_information(std::span<const int64_t> table, int classes, int cluster_count);

/// Rand index adjusted for chance (Hubert and Arabie 1985). Undefined when both are constant.
Stat adjusted_rand(std::span<const int64_t> table, int classes, int cluster_count);

}  // namespace dinoxx::eval
