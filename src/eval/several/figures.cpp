#include "figures.hpp"

#include <algorithm>
#include <set>

#include "eval/statistics/multiple_tests.hpp"

namespace dinoxx::eval {
namespace {

using nlohmann::json;

// A number of results.json with its interval, and the repetitions it is the mean of.
struct Found {
  json value, interval, repetitions;
};

// The object at a path of names, through `object`.
const json& walk(const json& object, std::initializer_list<std::string_view> path) {
  const json* place = &object;
  for (const std::string_view name : path) place = &member(*place, name);
  return *place;
}

std::vector<double> numbers_in(const json& array) {
  std::vector<double> numbers;
  if (!array.is_array()) return numbers;
  for (const json& value : array) {
    if (!value.is_number()) return {};
    numbers.push_back(value.get<double>());
  }
  return numbers;
}

// Differences of each pair, repetition by repetition; null where any evaluation has not got them.
json test_pairs(const std::vector<Found>& found, double test_share) {
  std::vector<std::vector<double>> repetitions;
  for (const Found& one : found) {
    repetitions.push_back(numbers_in(one.repetitions));
    if (repetitions.back().size() < 2 || repetitions.back().size() != repetitions.front().size()) return nullptr;
  }
  json pairs = json::array();
  std::vector<std::optional<double>> p;
  for (size_t a = 0; a < found.size(); ++a) {
    for (size_t b = a + 1; b < found.size(); ++b) {
      std::vector<double> differences;
      for (size_t i = 0; i < repetitions[a].size(); ++i) differences.push_back(repetitions[a][i] - repetitions[b][i]);
      json row = {{"first", a}, {"second", b}, {"difference", found[a].value.get<double>() - found[b].value.get<double>()}};
      const std::optional<PairedMean> test = paired_mean(differences, test_share);
      row["interval95"] = test ? json{test->low, test->high} : json(nullptr);
      row["p"] = test ? json(test->p) : json(nullptr);
      p.push_back(test ? std::optional(test->p) : std::nullopt);
      pairs.push_back(std::move(row));
    }
  }
  const std::vector<std::optional<double>> adjusted = holm(p);
  for (size_t i = 0; i < adjusted.size(); ++i) pairs[i]["p_holm"] = adjusted[i] ? json(*adjusted[i]) : json(nullptr);
  return pairs;
}

class Table {
 public:
  explicit Table(std::span<const Evaluation> evaluations) : evaluations_(evaluations) {}

  // `find`(the checkpoint's section) -> Found. `row`: what the figure is called. test_share: paired_mean(); below 0 no test.
  template <typename Find>
  void add(const std::string& protocol, json row, const char* spread, double test_share, Find find) {
    std::vector<Found> found;
    json values = json::array();
    bool any = false, all = true;
    for (const Evaluation& evaluation : evaluations_) {
      found.push_back(find(evaluation.section(protocol)));
      const bool defined = found.back().value.is_number();
      any |= defined;
      all &= defined;
      values.push_back(defined ? json{{"value", found.back().value}, {"interval95", found.back().interval}} : json(nullptr));
    }
    if (!any) return;
    row.update({{"protocol", protocol}, {"values", values}, {"spread", spread}});
    row["pairs"] = all && test_share >= 0 ? test_pairs(found, test_share) : json(nullptr);
    rows_.push_back(std::move(row));
  }
  json rows() && { return std::move(rows_); }

 private:
  std::span<const Evaluation> evaluations_;
  json rows_ = json::array();
};

Found mean_of(const json& score) {
  return {member(score, "mean"), member(score, "interval95"), member(score, "values")};
}

void add_folds(Table& table, const std::string& protocol, const json& first) {
  const json& folds = member(first, "repeated_folds");
  const json& count = member(folds, "folds");
  if (!count.is_number() || !member(folds, "methods").is_object()) return;
  const double test_share = 1 / (count.get<double>() - 1);
  for (const auto& [method, scores] : member(folds, "methods").items())
    table.add(protocol, {{"figure", "cross_validation"}, {"method", method}}, "folds of the training images", test_share,
              [&, name = method](const json& section) {
                return mean_of(walk(section, {"repeated_folds", "methods", name, "balanced_accuracy"}));
              });
}

void add_shots(Table& table, const json& first) {
  const json& curve = member(first, "curve");
  if (!curve.is_array()) return;
  for (const char* method : {"simpleshot", "nearest_mean", "logistic"}) {
    for (const json& entry : curve) {
      const json& shots = member(entry, "shots");
      table.add("few", {{"figure", "shots"}, {"method", method}, {"shots", shots}}, "draws of the labelled images", 0,
                [&](const json& section) -> Found {
                  for (const json& other : member(section, "curve"))
                    if (member(other, "shots") == shots) return mean_of(walk(other, {"methods", method, "balanced_accuracy"}));
                  return {};
                });
    }
  }
}

// Figures that are one number of the whole set, with the interval that their protocol gives.
void add_plain(Table& table, const std::string& protocol) {
  const auto add = [&](const char* figure, const char* spread, std::initializer_list<std::string_view> value,
                       std::initializer_list<std::string_view> interval) {
    table.add(protocol, {{"figure", figure}}, spread, -1, [&](const json& section) -> Found {
      return {walk(section, value), interval.size() == 0 ? json(nullptr) : walk(section, interval), nullptr};
    });
  };
  constexpr const char *kNone = "", *kImages = "test images", *kCopies = "distorted copies";
  if (protocol == "zero") {
    add("clustering_accuracy", kNone, {"clustering", "accuracy"}, {});
    add("clustering_nmi", kNone, {"clustering", "nmi"}, {});
    add("retrieval_map", kNone, {"retrieval", "map"}, {});
    add("retrieval_map_of_classes", kNone, {"retrieval", "map_of_classes"}, {});
    add("copies_mild", kCopies, {"copies", "distortions", "mild", "recall_at_1"}, {"copies", "distortions", "mild", "interval95"});
    add("copies_strong", kCopies, {"copies", "distortions", "strong", "recall_at_1"}, {"copies", "distortions", "strong", "interval95"});
  } else if (protocol == "linseg") {
    add("object_miou", kImages, {"object", "pixel", "miou"}, {"bootstrap95", "object_miou"});
    add("classes_miou", kImages, {"classes", "pixel", "miou"}, {"bootstrap95", "classes_miou"});
    add("attention_mean_map", kImages, {"attention", "mean_map"}, {"bootstrap95", "attention_mean_map"});
  } else if (protocol == "multi_label") {
    for (const char* method : {"knn", "logistic"})
      table.add(protocol, {{"figure", "map"}, {"method", method}}, kImages, -1, [&](const json& section) -> Found {
        return {walk(section, {"scores", method, "map"}), walk(section, {"scores", method, "bootstrap95", "map"}), nullptr};
      });
    add("macro_f1", kImages, {"scores", "logistic", "macro_f1"}, {"scores", "logistic", "bootstrap95", "macro_f1"});
  } else if (protocol == "match") {
    add("pck_0.1", kImages, {"pck", "0.1"}, {"bootstrap95", "0.1"});
  }
}

}  // namespace

json compare_figures(std::span<const Evaluation> evaluations, std::span<const std::string> protocols) {
  Table table(evaluations);
  for (const std::string& protocol : protocols) {
    const json& first = evaluations[0].section(protocol);
    add_folds(table, protocol, first);
    if (protocol == "few") add_shots(table, first);
    add_plain(table, protocol);
  }
  return std::move(table).rows();
}

}  // namespace dinoxx::eval
