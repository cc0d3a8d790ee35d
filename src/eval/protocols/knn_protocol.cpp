#include "knn_protocol.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "comm/agree.hpp"
#include "dinoxx/base/error.hpp"
#include "eval/features/blocks.hpp"
#include "eval/statistics/metrics.hpp"
#include "eval/statistics/statistics.hpp"
#include "repeated_folds.hpp"

namespace dinoxx::eval {
namespace {

using nlohmann::json;

json interval(int64_t correct, int64_t count) {
  const auto [low, high] = wilson_interval(correct, count);
  return json::array({low, high});
}

json summary(const Scores& scores, int k, bool with_top5, bool in_training) {
  json result = {{"k", k},
                 {"accuracy", scores.accuracy()},
                 {"interval95", interval(scores.correct, scores.count)},
                 {"balanced_accuracy", scores.balanced_accuracy()},
                 {"correct", scores.correct},
                 {"count", scores.count}};
  const auto tested =
      std::count_if(scores.classes.begin(), scores.classes.end(), [](const ClassScore& score) { return score.support > 0; });
  if (tested == 1 && !in_training) {  // a curve of training is wanted all the same
    for (const char* key : {"accuracy", "balanced_accuracy"}) put(result, key, Stat::undefined("all test images are of one class"));
    result["interval95"] = {nullptr, nullptr};
  }
  if (with_top5) result["top5"] = scores.top5();
  return result;
}

json class_table(const Dataset& dataset, const EvalData& data, const Scores& scores) {
  const std::vector<int64_t> memory = class_counts(data.memory_labels, data.classes);
  json table = json::array();
  for (int c = 0; c < data.classes; ++c) {
    const ClassScore& score = scores.classes[c];
    json row = {{"name", class_name(dataset, c)}, {"memory", memory[c]}, {"queries", score.support}, {"correct", score.correct}};
    put(row, "recall",
        score.support == 0 ? Stat::undefined("no test images of the class")
                           : Stat::of(static_cast<double>(score.correct) / static_cast<double>(score.support)));
    if (score.support > 0) row["interval95"] = interval(score.correct, score.support);
    table.push_back(std::move(row));
  }
  return table;
}

struct Votes {
  at::Tensor plain, balanced;  // [queries, ks * kTopClasses] on every rank
};

Votes classify(const ProtocolInput& input, const KnnPlan& plan) {
  const EvalData& data = input.data;
  Communicator& comm = input.comm;
  const int64_t total = static_cast<int64_t>(data.queries.size());
  const int64_t width = static_cast<int64_t>(plan.ks.size()) * kTopClasses;
  const ItemRange mine = rank_items(total, comm.rank(), comm.size());
  std::vector<double> weights;  // a class without memory images gets no vote anyway
  for (const int64_t n : class_counts(data.memory_labels, data.classes))
    weights.push_back(1 / static_cast<double>(std::max<int64_t>(n, 1)));
  const at::Tensor ranked = at::empty({mine.size(), 2 * width}, at::kInt);
  on_all_ranks(comm, [&] {
    for_each_block(total, mine, input.threads, [&](int64_t, ItemRange items) {
      const Neighbors neighbors =
          nearest_neighbors(input.features.queries.narrow(0, items.begin, items.size()), input.features.memory, plan.ks.back());
      const std::vector<int32_t> plain = vote(neighbors, data.memory_labels, data.classes, plan);
      const std::vector<int32_t> balanced = vote(neighbors, data.memory_labels, data.classes, plan, weights);
      int32_t* out = ranked.data_ptr<int32_t>() + (items.begin - mine.begin) * 2 * width;
      for (int64_t q = 0; q < items.size(); ++q, out += 2 * width) {
        std::copy_n(plain.begin() + q * width, width, out);
        std::copy_n(balanced.begin() + q * width, width, out + width);
      }
    });
  });
  const at::Tensor all = gather_blocks(comm, ranked, total);
  return {all.narrow(1, 0, width).contiguous(), all.narrow(1, width, width).contiguous()};
}

struct Summary {
  json by_k = json::object(), headline, classes;
  std::vector<int32_t> predictions;
};

Summary summarize(const ProtocolInput& input, const KnnPlan& plan, const at::Tensor& ranked) {
  const EvalData& data = input.data;
  const int64_t queries = ranked.size(0), width = ranked.size(1);
  Summary result;
  for (size_t i = 0; i < plan.ks.size(); ++i) {
    std::vector<int32_t> predictions(queries * kTopClasses);
    for (int64_t q = 0; q < queries; ++q) {
      const int32_t* from = ranked.data_ptr<int32_t>() + q * width + static_cast<int64_t>(i) * kTopClasses;
      std::copy(from, from + kTopClasses, predictions.begin() + q * kTopClasses);
    }
    const Scores scores = score(data.query_labels, predictions, kTopClasses, data.classes);
    const json entry = summary(scores, plan.ks[i], data.classes >= 10, input.in_training);
    result.by_k[std::to_string(plan.ks[i])] = entry;
    if (plan.ks[i] != plan.headline_k) continue;
    result.headline = entry;
    result.classes = class_table(input.dataset, data, scores);
    for (int64_t q = 0; q < queries; ++q) result.predictions.push_back(predictions[q * kTopClasses]);
  }
  return result;
}

json repeated_folds_of_votes(const ProtocolInput& input) {
  const int classes = input.data.classes;
  return repeated_folds(input, {"vote", "balanced_vote"}, [&](const FoldTask& task) {
    const Part& part = task.part;
    KnnPlan plan = plan_knn(input.knn, part.train.size(0));
    plan.ks = {plan.headline_k};
    const Neighbors neighbors = nearest_neighbors(part.test, part.train, plan.headline_k);
    std::vector<double> weights;
    for (const int64_t n : part.train_counts) weights.push_back(1 / static_cast<double>(std::max<int64_t>(n, 1)));
    std::vector<std::vector<int32_t>> answers(2);
    for (int balanced = 0; balanced < 2; ++balanced) {
      const std::vector<int32_t> ranked =
          vote(neighbors, part.train_labels, classes, plan, balanced ? std::span<const double>(weights) : std::span<const double>());
      for (size_t q = 0; q < ranked.size(); q += kTopClasses) answers[balanced].push_back(ranked[q]);
    }
    return answers;
  });
}

}  // namespace

json knn_settings(const EvalData& data, const KnnConfig& config) {
  const KnnPlan plan = plan_knn(config, static_cast<int64_t>(data.memory.size()));
  json protocol = {{"suite", "knn"},
                   {"method", "cosine similarity, vote exp(similarity / temperature)"},
                   {"balanced_vote", "the same votes, each divided by the memory images of its class"},
                   {"temperature", plan.temperature},
                   {"k", plan.ks},
                   {"k_left_out", plan.dropped},
                   {"headline_k", plan.headline_k}};
  json notes = json::array();
  if (!plan.dropped.empty())
    notes.push_back(fmt::format("k = {} left out: the memory holds {} images", fmt::join(plan.dropped, ", "), data.memory.size()));
  if (plan.headline_k != config.headline_k) {
    notes.push_back(
        fmt::format("headline k is {} instead of {}: the memory holds {} images", plan.headline_k, config.headline_k, data.memory.size()));
  }
  protocol["notes"] = std::move(notes);
  return protocol;
}

ProtocolResult knn_protocol(const ProtocolInput& input) {
  const KnnPlan plan = plan_knn(input.knn, static_cast<int64_t>(input.data.memory.size()));
  const Votes votes = classify(input, plan);
  Summary plain = summarize(input, plan, votes.plain), balanced = summarize(input, plan, votes.balanced);
  ProtocolResult result;
  result.scores = {{"by_k", std::move(plain.by_k)},
                   {"headline", std::move(plain.headline)},
                   {"classes", std::move(plain.classes)},
                   {"balanced_vote", {{"by_k", std::move(balanced.by_k)}, {"headline", std::move(balanced.headline)}}}};
  if (wants_repeated_folds(input)) result.scores["repeated_folds"] = repeated_folds_of_votes(input);
  result.predictions.push_back({"vote", std::move(plain.predictions), {}, {{"k", plan.headline_k}}});
  result.predictions.push_back({"balanced_vote", std::move(balanced.predictions), {}, {{"k", plan.headline_k}}});
  return result;
}

KnnReport run_knn(const Dataset& dataset, const EvalData& data, std::span<const Embedder> embedders, const KnnConfig& config,
                  const ExtractOptions& options, Communicator& comm) {
  KnnReport report;
  report.protocol = describe_images(data, options);
  report.protocol.update(knn_settings(data, config), /*merge_objects=*/true);
  for (const std::string& note : data.notes) report.protocol["notes"].push_back(note);
  LocalFeatures local = embed_all(dataset, data, /*with_validation=*/false, embedders, options, comm);
  for (size_t e = 0; e < embedders.size(); ++e) {
    const SplitFeatures features = take_features(local, e, data, comm);
    ProtocolResult answer = knn_protocol({dataset, data, embedders[e], features, config, 0, options.threads, comm});
    answer.scores["name"] = embedders[e].name;
    answer.scores["description"] = embedders[e].description;
    answer.scores["feature_dim"] = embedders[e].dim;
    report.results.push_back({std::move(answer.scores), std::move(answer.predictions.front().classes)});
  }
  return report;
}

}  // namespace dinoxx::eval
