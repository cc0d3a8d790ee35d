#include <fmt/ranges.h>

#include <cmath>
#include <set>

#include "comparison_view.hpp"
#include "report/eval/results_view.hpp"
#include "report/run/run_figures.hpp"

namespace dinoxx::report {
namespace {

using nlohmann::json;
using Answer = ComparisonView::Answer;

// Who has the highest score, who cannot be told apart from it, who is worse.
struct Standing {
  size_t best = 0;
  std::vector<size_t> open, worse;
};

Standing standing_of(const ComparisonView& view, const json& method) {
  Standing standing;
  const json& order = elements(at(method, {"order"}));
  standing.best = order[0].get<size_t>();
  for (size_t i = 1; i < order.size(); ++i) {
    const auto other = order[i].get<size_t>();
    (view.answer(method, standing.best, other) == Answer::kBetter ? standing.worse : standing.open).push_back(other);
  }
  return standing;
}

std::vector<std::string> names_of(const ComparisonView& view, const std::vector<size_t>& which) {
  std::vector<std::string> names;
  names.reserve(which.size());
  for (const size_t i : which) names.push_back(view.name(i));
  return names;
}

std::string method_words(const json& method) {
  return method_name(text_of(method, "protocol"), text_of(method, "method"));
}

std::string headline(const ComparisonView& view, const json& method, const Standing& standing) {
  const json& scores = at(method, {"scores"})[standing.best];
  const std::string images = figure(number_of(at(view.all(), {"test"}), "images"), 9), best = view.name(standing.best);
  const std::string by = fmt::format("By {}, ", method_words(method));
  const std::string value = share_text(at(scores, {"balanced_accuracy"}), at(scores, {"balanced95"}));
  if (standing.open.empty())
    return fmt::format("{}{} is better than {}: balanced accuracy {} on {} test images, and both tests tell it apart.", by, best,
                       listed(names_of(view, standing.worse)), value, images);
  std::vector<size_t> together{standing.best};
  together.insert(together.end(), standing.open.begin(), standing.open.end());
  std::string text = fmt::format("{}{} cannot be told apart on these {} test images.", by, listed(names_of(view, together)), images);
  text += fmt::format(" The highest balanced accuracy is that of {}: {}.", best, value);
  if (!standing.worse.empty())
    text += fmt::format(" {} {} worse than {}.", listed(names_of(view, standing.worse)), standing.worse.size() == 1 ? "is" : "are", best);
  return text;
}

// What one of the two tests says where the other does not.
void add_half_answers(const ComparisonView& view, const json& method, const Standing& standing, std::vector<std::string>& sentences) {
  for (const size_t other : standing.open) {
    const Answer answer = view.answer(method, standing.best, other);
    const std::string best = view.name(standing.best), name = view.name(other);
    if (answer == Answer::kAccuracyAlone)
      sentences.push_back(
          fmt::format("{} and {} differ in accuracy, which frequent classes decide; in balanced accuracy they do not.", best, name));
    if (answer == Answer::kBalancedAlone)
      sentences.push_back(fmt::format(
          "{} and {} differ in balanced accuracy, but not in the number of right answers (McNemar's test): undecided.", best, name));
    if (answer == Answer::kOpposite)
      sentences.push_back(
          fmt::format("{} has the higher balanced accuracy and {} the higher accuracy, both significantly: which is better "
                      "depends on how often each class comes in use.",
                      best, name));
  }
}

// Of those that the tests leave open the one that costs least.
std::string cheapest(const ComparisonView& view, const Standing& standing) {
  if (standing.open.empty()) return "";
  std::vector<size_t> candidates{standing.best};
  candidates.insert(candidates.end(), standing.open.begin(), standing.open.end());
  const json& checkpoints = elements(at(view.all(), {"checkpoints"}));
  std::set<std::string> machines;
  size_t fastest = candidates[0];
  double most = 0, least = INFINITY;
  for (const size_t i : candidates) {
    if (i >= checkpoints.size()) return "";
    const json& cost = at(checkpoints[i], {"cost"});
    const double speed = number_of(cost, "images_per_core_second");
    if (std::isnan(speed)) return "";
    machines.insert(text_of(cost, "host") + text_of(cost, "device"));
    if (speed > most) {
      most = speed;
      fastest = i;
    }
    least = std::min(least, speed);
  }
  if (machines.size() > 1 || !(most > 1.1 * least)) return "";
  return fmt::format("Of those that cannot be told apart {} is the fastest: {} images a second of one thread; the slowest does {}.",
                     view.name(fastest), figure(most, 3), figure(least, 3));
}

std::string rare_classes(const ComparisonView& view) {
  const json& rare = at(view.all(), {"classes", "rare"});
  const double images = number_of(rare, "queries");
  if (!(images > 0)) return "";
  std::vector<std::string> names, correct;
  for (const json& name : elements(at(rare, {"names"})))
    if (name.is_string()) names.push_back(name);
  const json& counts = elements(at(rare, {"correct"}));
  for (size_t i = 0; i < counts.size() && i < view.size(); ++i)
    correct.push_back(fmt::format("{} {}", view.name(i), figure(number_or_nan(counts[i]), 9)));
  return fmt::format("Rare classes ({}), {} test images together, right answers: {}; {}.", listed(names), figure(images, 9),
                     fmt::format("{}", fmt::join(correct, ", ")), told_apart(view, rare));
}

// Cross-validation of the method that the verdict is about, else of the first that has one; null where there is none.
const json& folds_of(const ComparisonView& view, const json& method) {
  static const json none;
  const json* first = &none;
  for (const json& row : elements(at(view.all(), {"figures"}))) {
    if (text_of(row, "figure") != "cross_validation" || !at(row, {"pairs"}).is_array()) continue;
    if (at(row, {"protocol"}) == at(method, {"protocol"}) && at(row, {"method"}) == at(method, {"method"})) return row;
    if (first->is_null()) first = &row;
  }
  return *first;
}

// Where the test images are few, cross-validation says more.
std::string folds(const ComparisonView& view, const json& method, const Standing& standing) {
  const json& row = folds_of(view, method);
  if (at(view.all(), {"few_test_images"}) != true || row.is_null()) return "";
  std::vector<std::string> differences;
  for (size_t other = 0; other < view.size(); ++other) {
    bool forward = false;
    if (other == standing.best) continue;
    const json& pair = view.pair(at(row, {"pairs"}), standing.best, other, forward);
    differences.push_back(fmt::format("{} - {}: {} points, p {}", view.name(standing.best), view.name(other),
                                      difference_text(pair, forward), p_text(at(pair, {"p_holm"}))));
  }
  return fmt::format("The test images are few. In {} on the same folds of the training images, balanced accuracy: {}.", figure_name(row),
                     fmt::format("{}", fmt::join(differences, "; ")));
}

void add_limits(const ComparisonView& view, const json& method, const Standing& standing, std::vector<std::string>& limits) {
  for (const size_t other : standing.open) {
    bool forward = false;
    const json& score = at(view.pair(at(method, {"pairs"}), standing.best, other, forward), {"balanced_accuracy"});
    if (elements(at(score, {"interval95"})).size() != 2) continue;
    limits.push_back(
        fmt::format("The difference of balanced accuracy {} - {} is {} points: any difference in this interval fits these test "
                    "images. \"Cannot be told apart\" does not mean equal.",
                    view.name(standing.best), view.name(other), difference_text(score, forward)));
  }
  const size_t pairs = elements(at(method, {"pairs"})).size();
  limits.push_back(
      fmt::format("Told apart means: the bootstrap of balanced accuracy and McNemar's test of accuracy, both paired on the same "
                  "test images{}, give p < {}, and agree.",
                  pairs > 1 ? fmt::format(" and corrected for {} pairs (Holm)", pairs) : "", figure(number_of(view.all(), "level"))));
  limits.emplace_back(
      "The tests cover the choice of test images. They do not cover the choice of training images, the seed of pre-training, or images "
      "that "
      "differ from these.");
  limits.push_back(
      fmt::format("The verdict is about {}, the first method of a fixed order that all evaluations have. The other methods and "
                  "figures are for orientation: with many of them some differences are chance.",
                  method_words(method)));
}

}  // namespace

ComparisonVerdict comparison_verdict(const ComparisonView& view) {
  ComparisonVerdict verdict;
  const json& method = view.chosen();
  if (method.is_null()) {
    verdict.answer.emplace_back("No verdict: none of the methods that it is based on was run for all. The figures stand below.");
    return verdict;
  }
  for (const json& scores : elements(at(method, {"scores"}))) {
    if (at(scores, {"balanced_accuracy"}).is_number()) continue;
    verdict.answer.push_back("No verdict: balanced accuracy is not defined: " + why_undefined(scores, "balanced_accuracy") + ".");
    return verdict;
  }
  const Standing standing = standing_of(view, method);
  verdict.answer.push_back(headline(view, method, standing));
  add_half_answers(view, method, standing, verdict.answer);
  for (const std::string& sentence : {folds(view, method, standing), rare_classes(view), cheapest(view, standing)})
    if (!sentence.empty()) verdict.answer.push_back(sentence);
  add_limits(view, method, standing, verdict.limits);
  return verdict;
}

}  // namespace dinoxx::report
