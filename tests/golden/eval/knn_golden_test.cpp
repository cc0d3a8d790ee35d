// Weighted k-NN against PyTorch and against the published function's accuracies (make_knn.py).
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "eval/classify/knn.hpp"
#include "eval/features/blocks.hpp"
#include "eval/statistics/metrics.hpp"
#include "formats/safetensors.hpp"
#include "model/weights/weights.hpp"
#include "source_dir.hpp"

namespace dinoxx::eval {
namespace {

std::vector<int32_t> to_labels(const at::Tensor& tensor) {
  const at::Tensor narrow = tensor.to(at::kInt).contiguous();
  return {narrow.data_ptr<int32_t>(), narrow.data_ptr<int32_t>() + narrow.numel()};
}

TEST(KnnGolden, PredictionsAreThoseOfPyTorchAndAccuraciesThosePublished) {
  const SafetensorsFile file(golden_dir() / "knn.safetensors");
  const at::Tensor memory = to_tensor(file.at("memory")), queries = to_tensor(file.at("queries"));
  const std::vector<int32_t> memory_labels = to_labels(to_tensor(file.at("memory_labels"))), labels = to_labels(to_tensor(file.at("query_labels")));
  constexpr int classes = 12;
  const KnnPlan plan = plan_knn({}, memory.size(0));
  ASSERT_EQ(plan.ks, (std::vector<int>{10, 20, 100, 200}));
  for (const at::ScalarType type : {at::kFloat, at::kDouble}) {
    std::vector<int32_t> ranked;
    for (int64_t block = 0; block < block_count(queries.size(0)); ++block) {
      const ItemRange items = block_items(queries.size(0), block);
      const Neighbors neighbors = nearest_neighbors(queries.narrow(0, items.begin, items.size()).to(type), memory.to(type), plan.ks.back());
      const std::vector<int32_t> votes = vote(neighbors, memory_labels, classes, plan);
      ranked.insert(ranked.end(), votes.begin(), votes.end());
    }
    for (size_t i = 0; i < plan.ks.size(); ++i) {
      const std::string k = std::to_string(plan.ks[i]);
      const at::Tensor order = to_tensor(file.at("order" + k));
      std::vector<int32_t> predictions;
      for (int64_t q = 0; q < queries.size(0); ++q) {
        for (int rank = 0; rank < kTopClasses; ++rank) {
          predictions.push_back(ranked[(q * plan.ks.size() + i) * kTopClasses + rank]);
          ASSERT_EQ(predictions.back(), order[q][rank].item<int64_t>()) << "query " << q << ", k = " << k << ", place " << rank;
        }
      }
      const at::Tensor published = to_tensor(file.at("published" + k));
      EXPECT_NEAR(100 * score(labels, predictions, kTopClasses, classes).accuracy(), published[0].item<double>(), 1e-9) << "k = " << k;
    }
  }
}

}  // namespace
}  // namespace dinoxx::eval
