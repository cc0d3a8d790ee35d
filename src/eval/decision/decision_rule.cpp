#include "decision_rule.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "dinoxx/base/error.hpp"

namespace dinoxx::eval {
namespace {

using nlohmann::json;

// The most probable class that has training images, without `except`; -1: there is none.
int32_t most_probable(std::span<const double> row, std::span<const int64_t> training_images, int32_t except) {
  int32_t best = -1;
  for (int32_t c = 0; c < static_cast<int32_t>(row.size()); ++c)
    if (c != except && training_images[static_cast<size_t>(c)] > 0 &&
        (best < 0 || row[static_cast<size_t>(c)] > row[static_cast<size_t>(best)]))
      best = c;
  return best;
}

int32_t least_cost(std::span<const double> row, std::span<const int64_t> training_images, const std::vector<double>& costs) {
  const size_t classes = row.size();
  int32_t best = -1;
  double least = 0;
  for (size_t answer = 0; answer < classes; ++answer) {
    if (training_images[answer] == 0) continue;
    double cost = 0;
    for (size_t c = 0; c < classes; ++c) cost += row[c] * costs[c * classes + answer];
    if (best < 0 || cost < least || (cost == least && row[answer] > row[static_cast<size_t>(best)])) {
      best = static_cast<int32_t>(answer);
      least = cost;
    }
  }
  return best;
}

}  // namespace

std::vector<int32_t> decide(const DecisionRule& rule, std::span<const double> probabilities, std::span<const int64_t> training_images) {
  const size_t classes = training_images.size();
  std::vector<int32_t> answers;
  for (size_t begin = 0; begin + classes <= probabilities.size(); begin += classes) {
    const auto row = probabilities.subspan(begin, classes);
    switch (rule.kind) {
      case DecisionRule::Kind::kMostProbable:
        answers.push_back(most_probable(row, training_images, -1));
        break;
      case DecisionRule::Kind::kThreshold: {
        const int32_t other = most_probable(row, training_images, rule.positive);
        answers.push_back(row[static_cast<size_t>(rule.positive)] >= rule.threshold || other < 0 ? rule.positive : other);
        break;
      }
      case DecisionRule::Kind::kLeastCost:
        answers.push_back(least_cost(row, training_images, rule.costs));
        break;
      case DecisionRule::Kind::kLabels:
        fail("decision rule", "one answer an image", "several labels", "This is a defect of the caller.");
    }
  }
  return answers;
}

std::vector<uint8_t> answers(const DecisionRule& rule, std::span<const double> probabilities) {
  std::vector<uint8_t> answered;
  answered.reserve(probabilities.size());
  for (size_t at = 0; at < probabilities.size(); ++at)
    answered.push_back(probabilities[at] >= rule.thresholds[at % rule.thresholds.size()]);
  return answered;
}

DecisionRule rule_from_json(const json& about, const std::vector<std::string>& classes) {
  const auto refuse = [](const std::string& found) {
    fail("decision rule", "one of argmax, recall, cost and labels with all that belongs to it", found,
         "The file is damaged, or of a newer version.");
  };
  DecisionRule rule;
  rule.about = about;
  const std::string kind = about.is_object() ? about.value("kind", "") : "";
  if (kind == "recall") {
    rule.kind = DecisionRule::Kind::kThreshold;
    const auto found = std::find(classes.begin(), classes.end(), about.value("class", ""));
    if (found == classes.end()) refuse("a class that is not among the classes");
    if (!about.contains("threshold") || !about["threshold"].is_number()) refuse("no threshold");
    rule.positive = static_cast<int32_t>(found - classes.begin());
    rule.threshold = about["threshold"].get<double>();
  } else if (kind == "cost") {
    rule.kind = DecisionRule::Kind::kLeastCost;
    const json costs = about.value("costs", json());
    if (!costs.is_array() || costs.size() != classes.size()) refuse("costs of another number of classes");
    for (const json& row : costs) {
      if (!row.is_array() || row.size() != classes.size()) refuse("costs of another number of classes");
      for (const json& cost : row) rule.costs.push_back(cost.get<double>());
    }
  } else if (kind == "labels") {
    rule.kind = DecisionRule::Kind::kLabels;
    const json thresholds = about.value("thresholds", json());
    if (!thresholds.is_array() || thresholds.size() != classes.size()) refuse("thresholds of another number of labels");
    for (const json& threshold : thresholds) rule.thresholds.push_back(threshold.get<double>());
  } else if (kind != "argmax") {
    refuse(kind.empty() ? "nothing" : "\"" + kind + "\"");
  }
  return rule;
}

std::vector<std::string> rule_lines(const json& about) {
  const std::string kind = about.is_object() ? about.value("kind", "") : "";
  if (kind == "cost") return {"decision: the class of least expected cost, by the costs that were given"};
  if (kind == "labels")
    return {fmt::format("an image may have several labels: each is answered from a probability of its own on, {}",
                        about.value("chosen_on", ""))};
  if (kind != "recall") return {};
  const auto percent = [&](const char* key) { return about.contains(key) && about[key].is_number() ? 100 * about[key].get<double>() : 0; };
  const std::string name = about.value("class", "");
  std::vector<std::string> lines{
      fmt::format("decision: {} from probability {:.4g} on, for a recall of {:.4g} %; else the most probable other class", name,
                  about.value("threshold", 0.0), percent("wanted_recall")),
      fmt::format("in validation ({}) it finds {} of {} images of {}: with 95 % confidence at least {:.1f} % of new ones",
                  about.value("chosen_on", ""), about.value("found", int64_t{0}), about.value("images", int64_t{0}), name,
                  percent("recall_at_least"))};
  if (about.contains("note")) lines.push_back("note: " + about["note"].get<std::string>());
  return lines;
}

}  // namespace dinoxx::eval
