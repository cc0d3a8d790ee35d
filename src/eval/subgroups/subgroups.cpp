#include "subgroups.hpp"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

#include "data_pipeline/labels/dataset_view.hpp"
#include "dinoxx/base/error.hpp"
#include "eval/statistics/metrics.hpp"
#include "eval/statistics/multiple_tests.hpp"
#include "eval/statistics/statistics.hpp"

namespace dinoxx::eval {
namespace {

using nlohmann::json;

std::vector<int32_t> values_of(const Dataset& dataset, size_t column, std::span<const uint64_t> ids) {
  std::vector<int32_t> values;
  values.reserve(ids.size());
  for (const uint64_t id : ids) values.push_back(dataset.label(id, column));
  return values;
}

// Right answers, and all, of each class.
struct Counts {
  std::vector<int64_t> right, all;
};

// The chance of at least this distance from 0 under a normal distribution, on both sides.
double two_sided(double z) {
  return std::erfc(std::abs(z) / std::sqrt(2.0));
}

// Of the class-by-class comparison of a subgroup with the others: nullopt where no class has images on both sides and both kinds of
// answers.
std::optional<double> mantel_haenszel(const Counts& here, const Counts& everywhere) {
  double difference = 0, variance = 0;
  for (size_t c = 0; c < everywhere.all.size(); ++c) {
    const auto n = static_cast<double>(everywhere.all[c]), right = static_cast<double>(everywhere.right[c]),
               own = static_cast<double>(here.all[c]);
    if (n < 2) continue;
    difference += static_cast<double>(here.right[c]) - own * right / n;
    variance += own * (n - own) * right * (n - right) / (n * n * (n - 1));
  }
  if (variance <= 0) return std::nullopt;
  return two_sided(difference / std::sqrt(variance));
}

double expected_accuracy(const Counts& here, const Counts& everywhere) {
  double right = 0, all = 0;
  for (size_t c = 0; c < everywhere.all.size(); ++c) {
    if (here.all[c] == 0) continue;
    right += static_cast<double>(here.all[c] * everywhere.right[c]) / static_cast<double>(everywhere.all[c]);
    all += static_cast<double>(here.all[c]);
  }
  return right / all;
}

json worst_of(const json& groups) {
  const json* worst = nullptr;
  for (const json& group : groups)
    if (group["queries"] >= kLeastOfSubgroup && (!worst || group["accuracy"] < (*worst)["accuracy"])) worst = &group;
  if (!worst) return nullptr;
  const json& p = (*worst)["p_holm"];
  return {{"name", (*worst)["name"]},
          {"accuracy", (*worst)["accuracy"]},
          {"expected", (*worst)["expected"]},
          {"queries", (*worst)["queries"]},
          {"significant", p.is_number() && p < 0.05 && (*worst)["accuracy"] < (*worst)["expected"]}};
}

}  // namespace

std::vector<Subgroups> subgroups_of(const Dataset& dataset, const EvalData& data, std::span<const std::string> columns) {
  std::vector<Subgroups> all;
  std::set<size_t> seen{0};
  for (const std::string& name : columns) {
    const size_t column = find_label_column(dataset, name, "--by");
    const LabelColumn& labels = dataset.label_columns()[column];
    if (!seen.insert(column).second)
      fail_usage("--by", column == 0 ? "another column than that of the labels" : "each column once", fmt::format("\"{}\"", name),
                 column == 0 ? "Scores by class are in every evaluation; --label chooses what is predicted." : "Leave one out.");
    Subgroups subgroups{labels.name, labels.classes, values_of(dataset, column, data.memory), values_of(dataset, column, data.queries)};
    std::set<int32_t> values(subgroups.of_queries.begin(), subgroups.of_queries.end());
    values.erase(-1);
    if (values.size() < 2)
      fail_usage("--by", fmt::format("test images of at least two values of \"{}\"", labels.name),
                 values.empty() ? std::string("none that has a value") : fmt::format("\"{}\" alone", labels.classes.at(*values.begin())),
                 "Leave it out, or choose another column.");
    all.push_back(std::move(subgroups));
  }
  return all;
}

json subgroup_scores(const Subgroups& subgroups, const EvalData& data, std::span<const int32_t> answers) {
  const size_t count = subgroups.names.size(), classes = static_cast<size_t>(data.classes);
  const Counts none{std::vector<int64_t>(classes), std::vector<int64_t>(classes)};
  std::vector<Counts> of(count, none);
  Counts everywhere = none;
  int64_t without = 0;
  for (size_t q = 0; q < answers.size(); ++q) {
    if (subgroups.of_queries[q] < 0) {
      ++without;
      continue;
    }
    const auto label = static_cast<size_t>(data.query_labels[q]);
    for (Counts* counts : {&of[static_cast<size_t>(subgroups.of_queries[q])], &everywhere}) {
      ++counts->all[label];
      counts->right[label] += answers[q] == data.query_labels[q] ? 1 : 0;
    }
  }
  json groups = json::array();
  std::vector<std::optional<double>> tests;
  for (size_t g = 0; g < count; ++g) {
    int64_t queries = 0, right = 0, present = 0;
    double recalls = 0;
    for (size_t c = 0; c < classes; ++c) {
      queries += of[g].all[c];
      right += of[g].right[c];
      if (of[g].all[c] == 0) continue;
      ++present;
      recalls += static_cast<double>(of[g].right[c]) / static_cast<double>(of[g].all[c]);
    }
    if (queries == 0) continue;
    const auto [low, high] = wilson_interval(right, queries);
    tests.push_back(mantel_haenszel(of[g], everywhere));
    groups.push_back({{"name", subgroups.names[g]},
                      {"memory", std::count(subgroups.of_memory.begin(), subgroups.of_memory.end(), static_cast<int32_t>(g))},
                      {"queries", queries},
                      {"correct", right},
                      {"accuracy", static_cast<double>(right) / static_cast<double>(queries)},
                      {"interval95", {low, high}},
                      {"balanced_accuracy", recalls / static_cast<double>(present)},
                      {"classes", present},
                      {"expected", expected_accuracy(of[g], everywhere)},
                      {"p", tests.back() ? json(*tests.back()) : json(nullptr)}});
  }
  const std::vector<std::optional<double>> together = holm(tests);
  for (size_t g = 0; g < groups.size(); ++g) groups[g]["p_holm"] = together[g] ? json(*together[g]) : json(nullptr);
  return {{"column", subgroups.column}, {"without", without}, {"worst", worst_of(groups)}, {"groups", std::move(groups)}};
}

}  // namespace dinoxx::eval
