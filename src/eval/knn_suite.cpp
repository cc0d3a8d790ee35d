#include "dinoxx/eval/knn_suite.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <chrono>

#include "dinoxx/checkpoint/together.hpp"
#include "dinoxx/core/error.hpp"
#include "dinoxx/eval/blocks.hpp"
#include "dinoxx/eval/metrics.hpp"

namespace dinoxx::eval {
namespace {

using nlohmann::json;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// What the ranks say they have embedded, gathered, must be the list that was asked for: each id once, none twice, none left out.
void check_exactly_once(const std::vector<uint64_t>& ids, const at::Tensor& embedded, const char* what, Communicator& comm) {
  const at::Tensor all = gather_rows(comm, embedded, static_cast<int64_t>(ids.size()));
  for (int64_t i = 0; i < all.size(0); ++i) {
    const int64_t id = all.data_ptr<int64_t>()[i];
    if (id != static_cast<int64_t>(ids[i]) || (i > 0 && ids[i] <= ids[i - 1])) {
      fail("evaluation", fmt::format("each {} image exactly once over {} ranks, here id {}", what, comm.size(), ids[i]), fmt::format("id {}", id),
           "The ranks see different data sets; give all of them the same --data.");
    }
  }
}

json interval(int64_t correct, int64_t count) {
  const auto [low, high] = wilson_interval(correct, count);
  return json::array({low, high});
}

json summary(const Scores& scores, int k, bool with_top5) {
  json result = {{"k", k},
                 {"accuracy", scores.accuracy()},
                 {"interval95", interval(scores.correct, scores.count)},
                 {"balanced_accuracy", scores.balanced_accuracy()},
                 {"correct", scores.correct},
                 {"count", scores.count}};
  if (with_top5) result["top5"] = scores.top5();
  return result;
}

json class_table(const Dataset& dataset, const EvalData& data, const Scores& scores) {
  std::vector<int64_t> memory(data.classes);
  for (const int32_t label : data.memory_labels) ++memory[label];
  json table = json::array();
  for (int c = 0; c < data.classes; ++c) {
    const ClassScore& score = scores.classes[c];
    const bool named = static_cast<size_t>(c) < dataset.class_names().size();
    json row = {{"name", named ? dataset.class_names()[c] : std::to_string(c)}, {"memory", memory[c]}, {"queries", score.support}, {"correct", score.correct}};
    row["recall"] = score.support == 0 ? json(nullptr) : json(static_cast<double>(score.correct) / static_cast<double>(score.support));
    if (score.support > 0) row["interval95"] = interval(score.correct, score.support);
    table.push_back(std::move(row));
  }
  return table;
}

// Votes of all queries [queries, ks * kTopClasses], on every rank.
at::Tensor classify(const at::Tensor& local_queries, const at::Tensor& memory, const EvalData& data, const KnnPlan& plan, int threads, Communicator& comm) {
  const int64_t total = static_cast<int64_t>(data.queries.size());
  const int64_t width = static_cast<int64_t>(plan.ks.size()) * kTopClasses;
  const ItemRange mine = rank_items(total, comm.rank(), comm.size());
  const at::Tensor ranked = at::empty({mine.size(), width}, at::kInt);
  on_all_ranks(comm, [&] {
    for_each_block(total, mine, threads, [&](int64_t, ItemRange items) {
      const at::Tensor queries = local_queries.narrow(0, items.begin - mine.begin, items.size());
      const std::vector<int32_t> votes = vote(nearest_neighbors(queries, memory, plan.ks.back()), data.memory_labels, data.classes, plan);
      std::copy(votes.begin(), votes.end(), ranked.data_ptr<int32_t>() + (items.begin - mine.begin) * width);
    });
  });
  return gather_rows(comm, ranked, total);
}

KnnResult summarize(const Dataset& dataset, const EvalData& data, const Embedder& embedder, const KnnPlan& plan, const at::Tensor& ranked) {
  const int64_t queries = ranked.size(0), width = ranked.size(1);
  KnnResult result;
  result.scores = {{"name", embedder.name}, {"description", embedder.description}, {"feature_dim", embedder.dim}, {"by_k", json::object()}};
  for (size_t i = 0; i < plan.ks.size(); ++i) {
    std::vector<int32_t> predictions(queries * kTopClasses);
    for (int64_t q = 0; q < queries; ++q) {
      const int32_t* from = ranked.data_ptr<int32_t>() + q * width + static_cast<int64_t>(i) * kTopClasses;
      std::copy(from, from + kTopClasses, predictions.begin() + q * kTopClasses);
    }
    const Scores scores = score(data.query_labels, predictions, kTopClasses, data.classes);
    const json entry = summary(scores, plan.ks[i], data.classes >= 10);
    result.scores["by_k"][std::to_string(plan.ks[i])] = entry;
    if (plan.ks[i] != plan.headline_k) continue;
    result.scores["headline"] = entry;
    result.scores["classes"] = class_table(dataset, data, scores);
    for (int64_t q = 0; q < queries; ++q) result.predictions.push_back(predictions[q * kTopClasses]);
  }
  return result;
}

json describe_protocol(const EvalData& data, const KnnConfig& config, const KnnPlan& plan, const ExtractOptions& options) {
  json protocol = {{"suite", "knn"},
                   {"method", "cosine similarity, vote exp(similarity / temperature)"},
                   {"temperature", plan.temperature},
                   {"k", plan.ks},
                   {"k_left_out", plan.dropped},
                   {"headline_k", plan.headline_k},
                   {"transform", describe(options.transform)},
                   {"mean", options.plan.mean},
                   {"std", options.plan.std},
                   {"memory", {{"source", data.memory_source}, {"images", data.memory.size()}}},
                   {"queries", {{"source", data.query_source}, {"images", data.queries.size()}}},
                   {"classes", data.classes},
                   {"unlabelled_left_out", data.unlabelled}};
  json notes = data.notes;
  if (!plan.dropped.empty()) notes.push_back(fmt::format("k = {} left out: the memory holds {} images", fmt::join(plan.dropped, ", "), data.memory.size()));
  if (plan.headline_k != config.headline_k) {
    notes.push_back(fmt::format("headline k is {} instead of {}: the memory holds {} images", plan.headline_k, config.headline_k, data.memory.size()));
  }
  protocol["notes"] = std::move(notes);
  return protocol;
}

}  // namespace

KnnReport run_knn(const Dataset& dataset, const EvalData& data, std::span<const Embedder> embedders, const KnnConfig& config, const ExtractOptions& options,
                  Communicator& comm) {
  const KnnPlan plan = plan_knn(config, static_cast<int64_t>(data.memory.size()));
  KnnReport report;
  report.protocol = describe_protocol(data, config, plan, options);

  auto start = std::chrono::steady_clock::now();
  FeatureSet memory = extract_features(dataset, data.memory, embedders, options, comm);
  FeatureSet queries = extract_features(dataset, data.queries, embedders, options, comm);
  check_exactly_once(data.memory, memory.ids, "memory", comm);
  check_exactly_once(data.queries, queries.ids, "query", comm);
  report.extract_seconds = seconds_since(start);

  start = std::chrono::steady_clock::now();
  for (size_t e = 0; e < embedders.size(); ++e) {
    const at::Tensor all_memory = gather_rows(comm, memory.rows[e], static_cast<int64_t>(data.memory.size()));
    memory.rows[e] = at::Tensor();
    report.results.push_back(summarize(dataset, data, embedders[e], plan, classify(queries.rows[e], all_memory, data, plan, options.threads, comm)));
  }
  report.search_seconds = seconds_since(start);
  return report;
}

}  // namespace dinoxx::eval
