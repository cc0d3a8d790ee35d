#include "knn.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "dinoxx/base/error.hpp"
#include "ops/ops.hpp"

namespace dinoxx::eval {
namespace {

// Similarities of a piece with a block of queries stay in the second-level cache.
constexpr int64_t kMemoryPiece = 2048;

struct Candidate {
  double similarity;
  int64_t row;
};

// "Better": more similar, then lower row.
bool better(const Candidate& a, const Candidate& b) {
  return a.similarity != b.similarity ? a.similarity > b.similarity : a.row < b.row;
}

// The k best rows so far of each query of a block: a heap whose front is the worst of them. Rows are offered in ascending order, so an
// equal similarity never replaces.
template <typename T>
class BestRows {
 public:
  BestRows(int64_t queries, size_t k) : k_(k), heaps_(queries), worst_(queries, -std::numeric_limits<T>::infinity()) {
    for (auto& heap : heaps_) heap.reserve(k);
  }
  // One row's similarity with every query. Nearly every row is no candidate for any query of a stretch, which one pass without branches
  // finds out.
  void offer(const T* similarity, int64_t row) {
    constexpr size_t kStretch = 16;
    for (size_t first = 0; first < worst_.size(); first += kStretch) {
      const size_t end = std::min(first + kStretch, worst_.size());
      int any = 0;
      for (size_t q = first; q < end; ++q) any |= similarity[q] > worst_[q];
      if (any == 0) continue;
      for (size_t q = first; q < end; ++q)
        if (similarity[q] > worst_[q]) insert(q, {static_cast<double>(similarity[q]), row});
    }
  }
  std::vector<std::vector<Candidate>>& heaps() { return heaps_; }

 private:
  void insert(size_t q, const Candidate& candidate) {
    std::vector<Candidate>& heap = heaps_[q];
    if (heap.size() == k_) {
      std::pop_heap(heap.begin(), heap.end(), better);
      heap.pop_back();
    }
    heap.push_back(candidate);
    std::push_heap(heap.begin(), heap.end(), better);
    if (heap.size() == k_) worst_[q] = static_cast<T>(heap.front().similarity);
  }

  size_t k_;
  std::vector<std::vector<Candidate>> heaps_;
  std::vector<T> worst_;
};

// The product is made with memory rows as rows: the block of queries is what the kernel packs, once for each piece, and a row's
// similarities lie side by side for offer().
template <typename T>
std::vector<std::vector<Candidate>> search(const at::Tensor& queries, const at::Tensor& memory, size_t k) {
  BestRows<T> best(queries.size(0), k);
  for (int64_t first = 0; first < memory.size(0); first += kMemoryPiece) {
    const int64_t count = std::min(kMemoryPiece, memory.size(0) - first);
    const at::Tensor similarity = ops::linear(memory.narrow(0, first, count), queries, {}).contiguous();  // [count, queries]
    const T* row = similarity.const_data_ptr<T>();
    for (int64_t i = 0; i < count; ++i, row += queries.size(0)) best.offer(row, first + i);
  }
  return std::move(best.heaps());
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
    fail("features", "finite numbers",
         fmt::format("a feature of row {} that is NaN or infinite", bad.select(0, 0).select(0, 0).item<int64_t>()),
         "The network's weights are damaged or training diverged; use another checkpoint.");
  }
  return features / norm.clamp_min(1e-12);
}

Neighbors nearest_neighbors(const at::Tensor& queries, const at::Tensor& memory, int k) {
  if (k < 1 || k > memory.size(0)) {
    fail("nearest_neighbors", fmt::format("1 <= k <= {} memory rows", memory.size(0)), fmt::format("k = {}", k), "Use plan_knn().");
  }
  const int64_t count = queries.size(0);
  const at::NoGradGuard no_grad;
  auto best = queries.scalar_type() == at::kDouble ? search<double>(queries, memory, k) : search<float>(queries, memory, k);
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
