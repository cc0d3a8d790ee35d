#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

/// Weighted k-nearest-neighbour classification on frozen features, as published with DINO (facebookresearch/dino, eval_knn.py; Wu et al.
/// 2018, section 3.4).
namespace dinoxx::eval {

inline constexpr int kTopClasses = 5;

struct KnnConfig {
  std::vector<int> ks{10, 20, 100, 200};
  int headline_k = 20;  ///< the one number that stands for the run; fixed beforehand, never picked by its result
  double temperature = 0.07;
};

/// The k values that a memory of a given size allows, ascending.
struct KnnPlan {
  std::vector<int> ks;
  std::vector<int> dropped;  ///< larger than the memory
  int headline_k = 20;       ///< config.headline_k, or the largest usable k below it when that was dropped
  double temperature = 0.07;
};
/// With fewer memory images than the smallest k, k = memory_count is used. Error when memory_count < 1 or the config is out of range.
KnnPlan plan_knn(const KnnConfig& config, int64_t memory_count);

/// Rows divided by their L2 norm (at least 1e-12). [N, D] -> [N, D]. Error naming the first row that is not finite.
at::Tensor normalize_rows(const at::Tensor& features);

struct Neighbors {
  int k = 0;
  std::vector<int64_t> rows;       ///< [queries, k] rows of the memory, most similar first; equal similarity: lower row first
  std::vector<double> similarity;  ///< [queries, k]
};
/// Exact k most similar memory rows of each query by dot product. queries [Q, D], memory [M, D], normalised, same type (float32 or
/// float64), 1 <= k <= M. One block of queries at a time is meant (blocks.hpp); memory is walked in fixed pieces of rows.
Neighbors nearest_neighbors(const at::Tensor& queries, const at::Tensor& memory, int k);

/// Each neighbour votes exp(similarity / temperature) for its label. Returns [queries, ks, kTopClasses] class ids, most votes first, equal
/// votes: lower class first; -1 where fewer classes got a vote (a class without a vote is no prediction). `labels`: per memory row, in [0,
/// classes). `class_weights` [classes] multiply the votes for a class (1 / its memory images: the class-balanced vote); empty: all 1.
std::vector<int32_t> vote(const Neighbors& neighbors, std::span<const int32_t> labels, int classes, const KnnPlan& plan,
                          std::span<const double> class_weights = {});

}  // namespace dinoxx::eval
