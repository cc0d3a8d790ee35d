// Without training and without labels for fitting: do classes stand apart by themselves?
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "comm/agree.hpp"
#include "copy_detection.hpp"
#include "eval/classify/cluster_scores.hpp"
#include "eval/classify/kmeans.hpp"
#include "eval/classify/retrieval.hpp"
#include "eval/features/blocks.hpp"
#include "eval/run/protocols.hpp"
#include "eval/statistics/resampling.hpp"

namespace dinoxx::eval {
namespace {

using nlohmann::json;

constexpr int64_t kRestarts = 10;
// The matching takes the cube of the number of classes.
constexpr int kMostMatched = 2000;
// Multiplications of one round of k-means; ten restarts take some fifty rounds each.
constexpr double kLargestRound = 4e9;

int classes_in_use(const EvalData& data) {
  std::set<int32_t> seen(data.memory_labels.begin(), data.memory_labels.end());
  seen.insert(data.query_labels.begin(), data.query_labels.end());
  return static_cast<int>(seen.size());
}

json clustering(const ProtocolInput& input) {
  const EvalData& data = input.data;
  const int k = classes_in_use(data);
  json result = {{"clusters", k}};
  if (static_cast<int64_t>(data.memory.size()) < k) {
    put(result, "accuracy", Stat::undefined(fmt::format("{} classes, and the memory holds {} images", k, data.memory.size())));
    return result;
  }
  const double round = static_cast<double>(data.memory.size()) * k * static_cast<double>(input.embedder.dim);
  if (round > kLargestRound) {
    put(result, "accuracy",
        Stat::undefined(fmt::format("a round of k-means would take {:.1e} multiplications, more than {:.1e}", round, kLargestRound)));
    return result;
  }
  // per restart: similarity, rounds, converged, cluster of each query
  const int64_t queries = static_cast<int64_t>(data.queries.size());
  const at::Tensor rows = run_tasks(input.comm, kRestarts, 3 + queries, input.threads, [&](int64_t restart, double* row) {
    const Clusters clusters = spherical_kmeans(input.features.memory, k, input.seed, static_cast<uint64_t>(restart));
    row[0] = clusters.similarity;
    row[1] = clusters.iterations;
    row[2] = clusters.converged;
    const std::vector<int32_t> nearest = nearest_centre(input.features.queries, clusters.centres);
    std::copy(nearest.begin(), nearest.end(), row + 3);
  });
  std::vector<double> accuracies;
  double best = -2;
  json restarts = json::array();
  for (int64_t r = 0; r < kRestarts; ++r) {
    const double* row = rows.data_ptr<double>() + r * (3 + queries);
    const std::vector<int32_t> clusters(row + 3, row + 3 + queries);
    const std::vector<int64_t> table = contingency(data.query_labels, clusters, data.classes, k);
    json entry = {{"similarity", row[0]}, {"rounds", row[1]}, {"converged", row[2] != 0}};
    const Stat matched = std::max(data.classes, k) > kMostMatched
                             ? Stat::undefined(fmt::format("matching {} classes would take too long", data.classes))
                             : matched_accuracy(table, data.classes, k);
    put(entry, "accuracy", matched);
    put(entry, "nmi", mutual_information(table, data.classes, k));
    put(entry, "ari", adjusted_rand(table, data.classes, k));
    if (matched.value) accuracies.push_back(*matched.value);
    if (row[0] > best) {  // chosen without labels
      best = row[0];
      result.update(entry);
      result["restart"] = r;
    }
    restarts.push_back(std::move(entry));
  }
  if (!accuracies.empty()) {
    const MeanInterval over = t_interval(accuracies);
    result["accuracy_of_restarts"] = {{"mean", over.mean}, {"deviation", over.deviation}};
  }
  result["restarts"] = std::move(restarts);
  return result;
}

json retrieval(const ProtocolInput& input) {
  const EvalData& data = input.data;
  const int64_t total = static_cast<int64_t>(data.queries.size());
  const ItemRange mine = rank_items(total, input.comm.rank(), input.comm.size());
  const at::Tensor local = at::empty({mine.size()}, at::kDouble);
  on_all_ranks(input.comm, [&] {
    for_each_block(total, mine, input.threads, [&](int64_t, ItemRange items) {
      const std::span labels = std::span(data.query_labels).subspan(items.begin, items.size());
      local.narrow(0, items.begin - mine.begin, items.size())
          .copy_(average_precisions(input.features.queries.narrow(0, items.begin, items.size()), labels, input.features.memory,
                                    data.memory_labels));
    });
  });
  const at::Tensor rows = gather_blocks(input.comm, local, total).contiguous();
  std::vector<double> sum(data.classes), all_precisions;
  std::vector<int64_t> count(data.classes);
  int64_t without = 0;
  for (int64_t q = 0; q < total; ++q) {
    const double precision = rows.data_ptr<double>()[q];
    if (std::isnan(precision)) {
      ++without;
      continue;
    }
    all_precisions.push_back(precision);
    sum[data.query_labels[q]] += precision;
    ++count[data.query_labels[q]];
  }
  json result = {{"queries_without_match", without}};
  json classes = json::array();
  std::vector<double> means;
  for (int c = 0; c < data.classes; ++c) {
    json row = {{"name", class_name(input.dataset, c)}};
    put(row, "map",
        count[c] == 0 ? Stat::undefined("no test image of the class, or none in the memory")
                      : Stat::of(sum[c] / static_cast<double>(count[c])));
    if (count[c] > 0) means.push_back(sum[c] / static_cast<double>(count[c]));
    classes.push_back(std::move(row));
  }
  const Stat none = Stat::undefined("no test image has its class in the memory");
  put(result, "map", all_precisions.empty() ? none : Stat::of(t_interval(all_precisions).mean));
  put(result, "map_of_classes", means.empty() ? none : Stat::of(t_interval(means).mean));
  result["classes"] = std::move(classes);
  return result;
}

}  // namespace

json clustering_settings(const EvalData&, const KnnConfig&) {
  return {{"suite", "zero"},
          {"clustering",
           "spherical k-means on the memory without labels, as many clusters as classes, k-means++; the restart of largest similarity; "
           "queries go to the nearest "
           "centre; clusters are matched to classes one to one by the labels of the queries"},
          {"restarts", kRestarts},
          {"retrieval", "each query ranks the memory by cosine; relevant: the same class"},
          {"copies", copy_detection_settings()},
          {"notes", json::array()}};
}

ProtocolResult clustering_protocol(const ProtocolInput& input) {
  return {{{"clustering", clustering(input)}, {"retrieval", retrieval(input)}, {"copies", copy_detection(input)}}, {}};
}

}  // namespace dinoxx::eval
