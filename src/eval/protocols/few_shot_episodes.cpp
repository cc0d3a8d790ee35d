// N-way K-shot episodes: for comparison with papers, and the table of transductive methods.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "base/rng.hpp"
#include "eval/classify/folds.hpp"
#include "eval/classify/logistic.hpp"
#include "eval/classify/nearest_mean.hpp"
#include "eval/classify/transductive.hpp"
#include "eval/classify/units.hpp"
#include "eval/features/blocks.hpp"
#include "eval/features/lanes.hpp"
#include "eval/statistics/resampling.hpp"
#include "few_shot_parts.hpp"

namespace dinoxx::eval {
namespace {

using nlohmann::json;

constexpr size_t kWays = 5;
constexpr int64_t kShots[] = {1, 5};
constexpr int64_t kQueries = 15;  // of each class
constexpr int64_t kEpisodes = 600;
// Shares of the classes among the queries of an unequal episode: Dirichlet with this parameter (Veilleux et al. 2021).
constexpr int kConcentration = 2;

struct Episode {
  at::Tensor support, queries;                        // rows
  std::vector<int32_t> support_labels, query_labels;  // in [0, ways)
};

// `take` of `rows`, chosen by the generator; the first places of a shuffle.
std::vector<int64_t> choose(std::vector<int64_t> rows, size_t take, CounterRng& rng) {
  for (size_t i = 0; i < take; ++i) std::swap(rows[i], rows[i + rng.below(rows.size() - i)]);
  rows.resize(take);
  return rows;
}

// The same, one of each unit first.
std::vector<int64_t> choose_support(const std::vector<int64_t>& rows, size_t take, const std::vector<uint64_t>& units, CounterRng& rng) {
  const bool grouped = std::any_of(rows.begin(), rows.end(), [&](int64_t row) { return units[static_cast<size_t>(row)] != 0; });
  if (!grouped) return choose(rows, take, rng);
  std::vector<int64_t> chosen = one_of_each_unit_first(choose(rows, rows.size(), rng), units);
  chosen.resize(take);
  return chosen;
}

// `total` dealt to the classes by shares from a Dirichlet distribution: whole parts first, what is left over by the largest remainder.
std::vector<int64_t> dirichlet_counts(size_t ways, int64_t total, CounterRng& rng) {
  std::vector<double> share(ways);
  for (double& s : share)
    for (int i = 0; i < kConcentration; ++i) s -= std::log(1.0 - rng.uniform());  // a sum of exponentials is a gamma variable
  const double sum = std::accumulate(share.begin(), share.end(), 0.0);
  std::vector<int64_t> counts(ways);
  std::vector<std::pair<double, size_t>> remainder;
  int64_t left = total;
  for (size_t w = 0; w < ways; ++w) {
    const double exact = share[w] / sum * static_cast<double>(total);
    left -= counts[w] = static_cast<int64_t>(exact);
    remainder.emplace_back(-(exact - static_cast<double>(counts[w])), w);
  }
  std::sort(remainder.begin(), remainder.end());
  for (int64_t i = 0; i < left; ++i) ++counts[remainder[i % ways].second];
  return counts;
}

/// Episodes of one number of shots: a function of (seed, number, lane) and the labels.
class Episodes {
 public:
  Episodes(const ProtocolInput& input, int64_t shots)
      : shots_(shots),
        seed_(input.seed),
        memory_(input.data.classes),
        queries_(input.data.classes),
        units_(units_of(input.dataset, input.data.memory)) {
    const EvalData& data = input.data;
    const std::vector<bool> distinct = first_copies(input.dataset, data.memory);
    for (size_t i = 0; i < data.memory_labels.size(); ++i)
      if (distinct[i]) memory_[data.memory_labels[i]].push_back(static_cast<int64_t>(i));
    for (size_t i = 0; i < data.query_labels.size(); ++i) queries_[data.query_labels[i]].push_back(static_cast<int64_t>(i));
    for (int c = 0; c < data.classes; ++c)
      if (static_cast<int64_t>(memory_[c].size()) >= shots && !queries_[c].empty()) able_.push_back(c);
  }
  size_t ways() const { return std::min(kWays, able_.size()); }
  size_t classes() const { return able_.size(); }
  Episode draw(int64_t number, uint64_t sub, bool unequal) const {
    CounterRng rng(seed_, static_cast<uint64_t>(number), lane(Lane::kEpisodes, sub), Purpose::kEval);
    Episode episode;
    std::vector<int64_t> support, queries;
    const std::vector<int64_t> classes = choose(able_, ways(), rng);
    const std::vector<int64_t> counts =
        unequal ? dirichlet_counts(ways(), kQueries * static_cast<int64_t>(ways()), rng) : std::vector<int64_t>(ways(), kQueries);
    for (size_t w = 0; w < ways(); ++w) {
      for (const int64_t i : choose_support(memory_[classes[w]], static_cast<size_t>(shots_), units_, rng)) {
        support.push_back(i);
        episode.support_labels.push_back(static_cast<int32_t>(w));
      }
      const std::vector<int64_t>& of_class = queries_[classes[w]];
      for (const int64_t i : choose(of_class, std::min<size_t>(of_class.size(), counts[w]), rng)) {
        queries.push_back(i);
        episode.query_labels.push_back(static_cast<int32_t>(w));
      }
    }
    episode.support = at::tensor(support, at::kLong);
    episode.queries = at::tensor(queries, at::kLong);
    return episode;
  }

 private:
  int64_t shots_;
  uint64_t seed_;
  std::vector<std::vector<int64_t>> memory_, queries_;
  std::vector<uint64_t> units_;  // of the memory
  std::vector<int64_t> able_;
};

// Mean of a column of the episodes' numbers, with its interval.
void put_mean(json& object, const char* key, const char* interval_key, const at::Tensor& rows, int64_t column) {
  std::vector<double> values;
  for (int64_t e = 0; e < kEpisodes; ++e) values.push_back(rows.data_ptr<double>()[e * rows.size(1) + column]);
  const MeanInterval spread = t_interval(values);
  const double half = 1.96 * spread.deviation / std::sqrt(static_cast<double>(kEpisodes));
  object[key] = spread.mean;
  object[interval_key] = {spread.mean - half, spread.mean + half};
}

// The head of a result; false when there are no such episodes, and then each method says why.
bool begin(json& result, const Episodes& source, int64_t shots, std::initializer_list<const char*> methods) {
  result["ways"] = source.ways();
  result["shots"] = shots;
  result["episodes"] = source.ways() < 2 ? 0 : kEpisodes;
  result["classes"] = source.classes();
  if (source.ways() >= 2) return true;
  const Stat none = Stat::undefined(fmt::format("fewer than two classes have {} training images and a test image", shots));
  for (const char* method : methods) put(result["methods"][method], "accuracy", none);
  return false;
}

json one_setting(const ProtocolInput& input, const Prepared& prepared, int64_t shots, uint64_t number) {
  const Episodes source(input, shots);
  json result = {{"queries_of_each_class", kQueries}};
  constexpr const char* kNames[] = {"nearest_mean", "simpleshot"};
  if (!begin(result, source, shots, {kNames[0], kNames[1]})) return result;
  const int ways = static_cast<int>(source.ways());
  const at::Tensor rows = run_tasks(input.comm, kEpisodes, 2, input.threads, [&](int64_t task, double* row) {
    const Episode episode = source.draw(task, number, /*unequal=*/false);
    for (int m = 0; m < 2; ++m) {
      const at::Tensor &from = m == 0 ? prepared.memory : prepared.centred_memory,
                       &to = m == 0 ? prepared.queries : prepared.centred_queries;
      const at::Tensor scores =
          nearest_mean_scores(from.index_select(0, episode.support), episode.support_labels, ways, to.index_select(0, episode.queries));
      row[m] = *balanced_accuracy(tally(episode.query_labels, predict(scores), ways)).value;
    }
  });
  for (int m = 0; m < 2; ++m) put_mean(result["methods"][kNames[m]], "accuracy", "interval95", rows, m);
  return result;
}

struct Method {
  const char* name;
  at::Tensor (*scores)(const at::Tensor& support, std::span<const int32_t> labels, int classes, const at::Tensor& queries);
};
constexpr int kMethods = 3;
constexpr Method kMethod[kMethods] = {
    {"simpleshot", nearest_mean_scores},
    {"soft_kmeans", [](const at::Tensor& support, std::span<const int32_t> labels, int classes,
                       const at::Tensor& queries) { return soft_kmeans_scores(support, labels, classes, queries); }},
    {"laplacian", [](const at::Tensor& support, std::span<const int32_t> labels, int classes, const at::Tensor& queries) {
       return laplacian_assignment(support, labels, classes, queries);
     }}};

// `number` of the balanced episodes is that of one_setting(), so that both tables speak about the same tasks.
json transductive_setting(const ProtocolInput& input, const Prepared& prepared, int64_t shots, uint64_t number, bool unequal) {
  const Episodes source(input, shots);
  json result = {{"query_shares", unequal ? "dirichlet" : "equal"}};
  if (!begin(result, source, shots, {kMethod[0].name, kMethod[1].name, kMethod[2].name})) return result;
  const int ways = static_cast<int>(source.ways());
  const uint64_t sub = unequal ? std::size(kShots) + number : number;
  const at::Tensor rows = run_tasks(input.comm, kEpisodes, kMethods * 2, input.threads, [&](int64_t task, double* row) {
    const Episode episode = source.draw(task, sub, unequal);
    const at::Tensor support = prepared.centred_memory.index_select(0, episode.support),
                     queries = prepared.centred_queries.index_select(0, episode.queries);
    for (int m = 0; m < kMethods; ++m) {
      const Tally t = tally(episode.query_labels, predict(kMethod[m].scores(support, episode.support_labels, ways, queries)), ways);
      row[2 * m] = *accuracy(t).value;
      row[2 * m + 1] = *balanced_accuracy(t).value;
    }
  });
  for (int m = 0; m < kMethods; ++m) {
    json& method = result["methods"][kMethod[m].name];
    put_mean(method, "accuracy", "interval95", rows, 2 * m);
    put_mean(method, "balanced_accuracy", "balanced_interval95", rows, 2 * m + 1);
  }
  return result;
}

}  // namespace

json episodes(const ProtocolInput& input, const Prepared& prepared) {
  json result = json::array();
  for (size_t i = 0; i < std::size(kShots); ++i) result.push_back(one_setting(input, prepared, kShots[i], i));
  return result;
}

json transductive_episodes(const ProtocolInput& input, const Prepared& prepared) {
  json result = json::array();
  for (const bool unequal : {false, true})
    for (size_t i = 0; i < std::size(kShots); ++i) result.push_back(transductive_setting(input, prepared, kShots[i], i, unequal));
  return result;
}

json transductive_settings() {
  const LaplacianOptions laplacian;
  return {{"what",
           "methods that see all queries of an episode before they answer one; a user who asks about one image at a time cannot have them"},
          {"caveat",
           "with equally many queries of each class, the usual protocol, they gain from an assumption that users' images do not keep; read "
           "the "
           "episodes of query_shares dirichlet (Veilleux et al. 2021), where they can fall behind simpleshot"},
          {"query_shares",
           {{"equal", fmt::format("{} of each class, as far as there are", kQueries)},
            {"dirichlet", fmt::format("{} times ways in all, shares of the classes from a Dirichlet distribution with parameter {}",
                                      kQueries, kConcentration)}}},
          {"features", "as for simpleshot: minus the mean of the memory, normalised"},
          {"simpleshot", "for comparison: it answers each query by itself"},
          {"soft_kmeans", {{"method", "one step of soft k-means over the queries (Ren et al. 2018)"}, {"scale", kSoftKmeansScale}}},
          {"laplacian",
           {{"method", "Laplacian-regularised assignment (Ziko et al. 2020) without shifted means"},
            {"lambda", laplacian.lambda},
            {"neighbours", laplacian.neighbours},
            {"rounds", laplacian.rounds}}},
          {"accuracy", "share of correct predictions of an episode; mean +- 1.96 s / sqrt(episodes)"},
          {"balanced_accuracy", "mean recall of the classes that the episode's queries have"}};
}

}  // namespace dinoxx::eval
