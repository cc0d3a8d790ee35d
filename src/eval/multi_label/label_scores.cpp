#include "label_scores.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace dinoxx::eval {
namespace {

constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();

double ratio(double part, double whole) {
  return whole > 0 ? part / whole : kUndefined;
}

// Of the values that are defined.
double mean_of(std::span<const double> values) {
  double sum = 0, count = 0;
  for (const double value : values) {
    if (std::isnan(value)) continue;
    sum += value;
    ++count;
  }
  return ratio(sum, count);
}

std::vector<uint32_t> falling(std::span<const double> scores, std::span<const int8_t> truth) {
  std::vector<uint32_t> order;
  for (size_t i = 0; i < truth.size(); ++i)
    if (truth[i] >= 0) order.push_back(static_cast<uint32_t>(i));
  std::ranges::stable_sort(order, [&](uint32_t a, uint32_t b) { return scores[a] > scores[b]; });
  return order;
}

}  // namespace

RankedLabel::RankedLabel(std::span<const double> scores, std::span<const int8_t> truth) {
  const std::vector<uint32_t> order = falling(scores, truth);
  places_.reserve(order.size());
  for (size_t i = 0; i < order.size(); ++i)
    places_.push_back({order[i], truth[order[i]] == 1, i + 1 == order.size() || scores[order[i + 1]] < scores[order[i]]});
}

RankedLabel::Areas RankedLabel::areas(std::span<const uint32_t> counts) const {
  double yes = 0, no = 0, tied_yes = 0, tied_no = 0, precision = 0, pairs = 0;
  for (const Place& place : places_) {
    (place.yes ? tied_yes : tied_no) += counts.empty() ? 1 : counts[place.image];
    if (!place.last_of_ties) continue;
    pairs += tied_no * (yes + tied_yes / 2);
    yes += tied_yes;
    no += tied_no;
    if (tied_yes > 0) precision += tied_yes * yes / (yes + no);
    tied_yes = tied_no = 0;
  }
  if (yes == 0 || no == 0) return {kUndefined, kUndefined};
  return {precision / yes, pairs / (yes * no)};
}

std::optional<double> threshold_of_best_f1(std::span<const double> probabilities, std::span<const int8_t> truth) {
  const std::vector<uint32_t> order = falling(probabilities, truth);
  const auto all_yes = static_cast<double>(std::ranges::count_if(order, [&](uint32_t i) { return truth[i] == 1; }));
  if (all_yes == 0 || all_yes == static_cast<double>(order.size())) return std::nullopt;
  double best = -1, threshold = 1, yes = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    yes += truth[order[i]] == 1 ? 1 : 0;
    const double here = probabilities[order[i]], next = i + 1 < order.size() ? probabilities[order[i + 1]] : 0.0;
    if (i + 1 < order.size() && next == here) continue;
    const double f1 = 2 * yes / (static_cast<double>(i + 1) + all_yes);
    if (f1 <= best) continue;
    best = f1;
    threshold = (here + next) / 2;
  }
  return threshold;
}

double LabelTally::precision() const {
  return ratio(true_yes, true_yes + false_yes);
}

double LabelTally::recall() const {
  return ratio(true_yes, true_yes + false_no);
}

double LabelTally::f1() const {
  return ratio(2 * true_yes, 2 * true_yes + false_yes + false_no);
}

LabelAnswers::LabelAnswers(std::span<const double> probabilities, std::span<const int8_t> truth, std::span<const double> thresholds,
                           std::span<const uint8_t> scored)
    : images_(truth.size() / scored.size()),
      labels_(scored.size()),
      decides_(!thresholds.empty()),
      scored_(scored.begin(), scored.end()),
      truth_(truth.begin(), truth.end()) {
  if (decides_) {
    answers_.reserve(truth.size());
    for (size_t at = 0; at < truth.size(); ++at) answers_.push_back(probabilities[at] >= thresholds[at % labels_] ? 1 : 0);
  }
  std::vector<double> column(images_);
  std::vector<int8_t> of_label(images_);
  for (size_t l = 0; l < labels_; ++l) {
    if (!scored_[l]) {
      ranked_.push_back(RankedLabel({}, {}));
      continue;
    }
    for (size_t i = 0; i < images_; ++i) {
      column[i] = probabilities[i * labels_ + l];
      of_label[i] = truth[i * labels_ + l];
    }
    ranked_.emplace_back(column, of_label);
  }
}

LabelTally LabelAnswers::tally(size_t label, std::span<const uint32_t> counts) const {
  LabelTally tally;
  for (size_t i = 0; i < images_; ++i) {
    const int8_t truth = truth_[i * labels_ + label];
    if (truth < 0) continue;
    const bool yes = answers_[i * labels_ + label] == 1;
    double& place = truth == 1 ? (yes ? tally.true_yes : tally.false_no) : (yes ? tally.false_yes : tally.true_no);
    place += counts.empty() ? 1 : counts[i];
  }
  return tally;
}

MultiLabelScores LabelAnswers::scores(std::span<const uint32_t> counts) const {
  MultiLabelScores scores;
  LabelTally all;
  for (size_t l = 0; l < labels_; ++l) {
    const RankedLabel::Areas areas = ranked_[l].areas(counts);
    scores.average_precision.push_back(areas.average_precision);
    scores.auroc.push_back(areas.auroc);
    scores.f1.push_back(kUndefined);
    if (!decides_ || !scored_[l]) continue;
    const LabelTally of_label = tally(l, counts);
    scores.f1.back() = of_label.f1();
    all.true_yes += of_label.true_yes;
    all.false_yes += of_label.false_yes;
    all.false_no += of_label.false_no;
  }
  scores.map = mean_of(scores.average_precision);
  scores.macro_auroc = mean_of(scores.auroc);
  scores.macro_f1 = mean_of(scores.f1);
  scores.micro_f1 = decides_ ? all.f1() : kUndefined;
  double right = 0, images = 0;
  for (size_t i = 0; decides_ && i < images_; ++i) {
    bool known = false, exact = true;
    for (size_t l = 0; l < labels_; ++l) {
      if (!scored_[l] || truth_[i * labels_ + l] < 0) continue;
      known = true;
      exact = exact && truth_[i * labels_ + l] == answers_[i * labels_ + l];
    }
    const double times = counts.empty() ? 1 : counts[i];
    images += known ? times : 0;
    right += known && exact ? times : 0;
  }
  scores.exact = ratio(right, images);
  return scores;
}

}  // namespace dinoxx::eval
