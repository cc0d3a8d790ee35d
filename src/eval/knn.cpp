#include "dinoxx/eval/knn.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "dinoxx/core/error.hpp"

namespace dinoxx::eval {
namespace {

constexpr int64_t kMemoryPiece = 4096;

struct Candidate {
  double similarity;
  int64_t row;
};

// "Better": more similar, then lower row.
bool better(const Candidate& a, const Candidate& b) {
  return a.similarity != b.similarity ? a.similarity > b.similarity : a.row < b.row;
}

// Offers a row of similarities to the k best so far: a heap whose front is the worst of them. Rows come in ascending order, so an equal
// similarity never replaces.
template <typename T>
void offer(std::vector<Candidate>& best, size_t k, const T* similarity, int64_t count, int64_t first_row) {
  int64_t i = 0;
  for (; i < count && best.size() < k; ++i) {
    best.push_back({static_cast<double>(similarity[i]), first_row + i});
    std::push_heap(best.begin(), best.end(), better);
  }
  if (i == count) return;
  T worst = static_cast<T>(best.front().similarity);
  for (; i < count; ++i) {
    if (!(similarity[i] > worst)) continue;
    std::pop_heap(best.begin(), best.end(), better);
    best.back() = {static_cast<double>(similarity[i]), first_row + i};
    std::push_heap(best.begin(), best.end(), better);
    worst = static_cast<T>(best.front().similarity);
  }
}

template <typename T>
void search(const at::Tensor& queries, const at::Tensor& memory, std::vector<std::vector<Candidate>>& best, size_t k) {
  for (int64_t first = 0; first < memory.size(0); first += kMemoryPiece) {
    const int64_t count = std::min(kMemoryPiece, memory.size(0) - first);
    const at::Tensor similarity = at::mm(queries, memory.narrow(0, first, count).t()).contiguous();  // [queries, count]
    const T* rows = similarity.data_ptr<T>();
    for (int64_t q = 0; q < queries.size(0); ++q) offer(best[q], k, rows + q * count, count, first);
  }
}

}  // namespace

KnnPlan plan_knn(const KnnConfig& config, int64_t memory_count) {
  if (memory_count < 1) fail("k-NN", "at least one labelled memory image", "none", "Pack a train split with labels.");
  if (config.ks.empty() || *std::min_element(config.ks.begin(), config.ks.end()) < 1 || config.headline_k < 1 ||
      !(config.temperature > 0)) {
    fail("k-NN settings", "k >= 1 and a positive temperature", "other values", "Correct the k list, the headline k or the temperature.");
  }
  KnnPlan plan;
  plan.temperature = config.temperature;
  std::vector<int> ks = config.ks;
  ks.push_back(config.headline_k);
  std::sort(ks.begin(), ks.end());
  ks.erase(std::unique(ks.begin(), ks.end()), ks.end());
  for (const int k : ks) (k <= memory_count ? plan.ks : plan.dropped).push_back(k);
  if (plan.ks.empty()) plan.ks.push_back(static_cast<int>(memory_count));
  plan.headline_k = plan.ks.front();
  for (const int k : plan.ks) {
    if (k <= config.headline_k) plan.headline_k = k;
  }
  return plan;
}

at::Tensor normalize_rows(const at::Tensor& features) {
  const at::Tensor norm = features.norm(2, {1}, /*keepdim=*/true);
  const at::Tensor bad = norm.isfinite().logical_not().nonzero();
  if (bad.size(0) > 0) {
    fail("features", "finite numbers", fmt::format("a feature of row {} that is not", bad.select(0, 0).select(0, 0).item<int64_t>()),
         "The network's weights are damaged or training diverged; use another checkpoint.");
  }
  return features / norm.clamp_min(1e-12);
}

Neighbors nearest_neighbors(const at::Tensor& queries, const at::Tensor& memory, int k) {
  if (k < 1 || k > memory.size(0)) {
    fail("nearest_neighbors", fmt::format("1 <= k <= {} memory rows", memory.size(0)), fmt::format("k = {}", k), "Use plan_knn().");
  }
  const int64_t count = queries.size(0);
  std::vector<std::vector<Candidate>> best(count);
  for (auto& heap : best) heap.reserve(k);
  if (queries.scalar_type() == at::kDouble) {
    search<double>(queries, memory, best, k);
  } else {
    search<float>(queries, memory, best, k);
  }
  Neighbors result;
  result.k = k;
  result.rows.reserve(count * k);
  result.similarity.reserve(count * k);
  for (auto& heap : best) {
    std::sort_heap(heap.begin(), heap.end(), better);
    for (const Candidate& candidate : heap) {
      result.rows.push_back(candidate.row);
      result.similarity.push_back(candidate.similarity);
    }
  }
  return result;
}

std::vector<int32_t> vote(const Neighbors& neighbors, std::span<const int32_t> labels, int classes, const KnnPlan& plan,
                          std::span<const double> class_weights) {
  const int64_t queries = static_cast<int64_t>(neighbors.rows.size()) / neighbors.k;
  std::vector<int32_t> ranked;
  ranked.reserve(queries * plan.ks.size() * kTopClasses);
  std::vector<double> votes(classes);
  std::vector<bool> has_vote(classes);
  std::vector<int32_t> voted;
  for (int64_t q = 0; q < queries; ++q) {
    std::fill(votes.begin(), votes.end(), 0.0);
    std::fill(has_vote.begin(), has_vote.end(), false);
    voted.clear();
    // Relative to the nearest neighbour: the same ranking, and no overflow at a low temperature.
    const double nearest = neighbors.similarity[q * neighbors.k];
    int seen = 0;
    for (const int k : plan.ks) {
      for (; seen < k; ++seen) {
        const int32_t label = labels[neighbors.rows[q * neighbors.k + seen]];
        if (!has_vote[label]) voted.push_back(label);
        has_vote[label] = true;
        const double weight = class_weights.empty() ? 1.0 : class_weights[label];
        votes[label] += weight * std::exp((neighbors.similarity[q * neighbors.k + seen] - nearest) / plan.temperature);
      }
      std::vector<int32_t> order = voted;
      const size_t top = std::min<size_t>(kTopClasses, order.size());
      std::partial_sort(order.begin(), order.begin() + top, order.end(),
                        [&](int32_t a, int32_t b) { return votes[a] != votes[b] ? votes[a] > votes[b] : a < b; });
      order.resize(top);
      order.resize(kTopClasses, -1);
      ranked.insert(ranked.end(), order.begin(), order.end());
    }
  }
  return ranked;
}

}  // namespace dinoxx::eval
