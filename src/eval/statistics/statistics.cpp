#include "statistics.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "dinoxx/base/error.hpp"

namespace dinoxx::eval {
namespace {

double ratio(int64_t a, int64_t b) {
  return static_cast<double>(a) / static_cast<double>(b);
}

// Mean of the values that are there.
Stat mean_of(const std::vector<Stat>& stats, const char* why_none) {
  double sum = 0;
  int64_t count = 0;
  for (const Stat& stat : stats) {
    if (!stat.value) continue;
    sum += *stat.value;
    ++count;
  }
  return count == 0 ? Stat::undefined(why_none) : Stat::of(sum / static_cast<double>(count));
}

constexpr const char* kNoImages = "no test images";
constexpr const char* kNoPositive = "no test images of the class";
constexpr const char* kNoNegative = "all test images are of the class";

// Rows by falling score, and the ends of the runs of equal scores.
std::vector<size_t> falling(std::span<const double> scores) {
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] > scores[b]; });
  return order;
}

// Calls step(positives, negatives) for each run of equal scores, best first.
template <typename Step>
void walk(std::span<const double> scores, std::span<const uint8_t> positive, Step&& step) {
  const std::vector<size_t> order = falling(scores);
  for (size_t i = 0; i < order.size();) {
    int64_t positives = 0, negatives = 0;
    const double score = scores[order[i]];
    for (; i < order.size() && scores[order[i]] == score; ++i) ++(positive[order[i]] ? positives : negatives);
    step(positives, negatives);
  }
}

const char* why_no_ranking(std::span<const uint8_t> positive) {
  const auto positives = std::count_if(positive.begin(), positive.end(), [](uint8_t p) { return p != 0; });
  if (positives == 0) return kNoPositive;
  return positives == static_cast<int64_t>(positive.size()) ? kNoNegative : nullptr;
}

}  // namespace

void put(nlohmann::json& object, const std::string& key, const Stat& stat) {
  if (stat.value) {
    object[key] = *stat.value;
    return;
  }
  object[key] = nullptr;
  object["undefined"][key] = stat.reason;
}

Tally tally(std::span<const int32_t> labels, std::span<const int32_t> predictions, int classes) {
  Tally t;
  t.count = static_cast<int64_t>(labels.size());
  t.support.resize(classes);
  t.predicted.resize(classes);
  t.correct.resize(classes);
  for (size_t i = 0; i < labels.size(); ++i) {
    if (predictions[i] < 0 || predictions[i] >= classes)
      fail("predictions", fmt::format("a class in [0, {})", classes), fmt::format("{} in row {}", predictions[i], i),
           "This is a defect of the classifier.");
    ++t.support[labels[i]];
    ++t.predicted[predictions[i]];
    if (labels[i] == predictions[i]) ++t.correct[labels[i]];
  }
  return t;
}

Stat accuracy(const Tally& t) {
  if (t.count == 0) return Stat::undefined(kNoImages);
  return Stat::of(ratio(std::accumulate(t.correct.begin(), t.correct.end(), int64_t{0}), t.count));
}

Stat recall(const Tally& t, int c) {
  return t.support[c] == 0 ? Stat::undefined(kNoPositive) : Stat::of(ratio(t.correct[c], t.support[c]));
}

Stat precision(const Tally& t, int c) {
  return t.predicted[c] == 0 ? Stat::undefined("the class is never predicted") : Stat::of(ratio(t.correct[c], t.predicted[c]));
}

Stat f1(const Tally& t, int c) {
  const int64_t both = t.support[c] + t.predicted[c];
  return both == 0 ? Stat::undefined("the class has neither test images nor predictions") : Stat::of(ratio(2 * t.correct[c], both));
}

Stat balanced_accuracy(const Tally& t) {
  std::vector<Stat> all;
  for (int c = 0; c < static_cast<int>(t.support.size()); ++c) all.push_back(recall(t, c));
  return mean_of(all, kNoImages);
}

Stat macro_f1(const Tally& t) {
  std::vector<Stat> all;
  for (int c = 0; c < static_cast<int>(t.support.size()); ++c) all.push_back(f1(t, c));
  return mean_of(all, kNoImages);
}

Stat matthews(const Tally& t) {
  if (t.count == 0) return Stat::undefined(kNoImages);
  double correct = 0, cross = 0, of_labels = 0, of_predictions = 0;
  const double n = static_cast<double>(t.count);
  for (size_t c = 0; c < t.support.size(); ++c) {
    const double s = static_cast<double>(t.support[c]), p = static_cast<double>(t.predicted[c]);
    correct += static_cast<double>(t.correct[c]);
    cross += s * p;
    of_labels += s * s;
    of_predictions += p * p;
  }
  const double labels = n * n - of_labels, predictions = n * n - of_predictions;
  if (labels == 0) return Stat::undefined("all test images are of one class");
  if (predictions == 0) return Stat::undefined("all predictions are the same class");
  return Stat::of((correct * n - cross) / std::sqrt(labels * predictions));
}

ShotRecall recall_by_training_count(const Tally& t, std::span<const int64_t> training_images) {
  std::vector<Stat> many, medium, few;
  for (int c = 0; c < static_cast<int>(t.support.size()); ++c) {
    if (t.support[c] == 0) continue;
    (training_images[c] > kManyAbove ? many : training_images[c] >= kFewBelow ? medium : few).push_back(recall(t, c));
  }
  ShotRecall result;
  result.many = mean_of(many, "no class with more than 100 training images has test images");
  result.medium = mean_of(medium, "no class with 20 to 100 training images has test images");
  result.few = mean_of(few, "no class with fewer than 20 training images has test images");
  result.classes_many = static_cast<int>(many.size());
  result.classes_medium = static_cast<int>(medium.size());
  result.classes_few = static_cast<int>(few.size());
  return result;
}

Stat auroc(std::span<const double> scores, std::span<const uint8_t> positive) {
  if (const char* why = why_no_ranking(positive)) return Stat::undefined(why);
  double wins = 0;  // pairs (positive, negative) in the right order, ties half
  int64_t positives = 0, negatives = 0;
  walk(scores, positive, [&](int64_t p, int64_t n) {
    wins += static_cast<double>(n) * (static_cast<double>(positives) + 0.5 * static_cast<double>(p));
    positives += p;
    negatives += n;
  });
  return Stat::of(wins / (static_cast<double>(positives) * static_cast<double>(negatives)));
}

Stat average_precision(std::span<const double> scores, std::span<const uint8_t> positive) {
  if (const char* why = why_no_ranking(positive)) return Stat::undefined(why);
  double sum = 0;
  int64_t positives = 0, seen = 0;
  walk(scores, positive, [&](int64_t p, int64_t n) {
    positives += p;
    seen += p + n;
    sum += static_cast<double>(p) * ratio(positives, seen);
  });
  return Stat::of(sum / static_cast<double>(positives));
}

Ranking one_against_rest(std::span<const int32_t> labels, std::span<const double> scores, int classes) {
  for (size_t i = 0; i < scores.size(); ++i) {
    if (std::isnan(scores[i]))
      fail("class scores", "numbers", fmt::format("NaN in row {}", i / classes), "The features or the classifier are damaged.");
  }
  Ranking result;
  std::vector<double> column(labels.size());
  std::vector<uint8_t> positive(labels.size());
  for (int c = 0; c < classes; ++c) {
    for (size_t q = 0; q < labels.size(); ++q) {
      column[q] = scores[q * classes + c];
      positive[q] = labels[q] == c;
    }
    result.auroc.push_back(auroc(column, positive));
    result.auprc.push_back(average_precision(column, positive));
    if (!result.auroc.back().value) result.left_out.push_back(c);
  }
  result.macro_auroc = mean_of(result.auroc, "no class has both positive and negative test images");
  result.macro_auprc = mean_of(result.auprc, "no class has both positive and negative test images");
  return result;
}

}  // namespace dinoxx::eval
