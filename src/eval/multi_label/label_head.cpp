#include "label_head.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>

#include "eval/classify/logistic.hpp"
#include "eval/features/blocks.hpp"
#include "eval/protocols/logistic_trial.hpp"
#include "label_scores.hpp"

namespace dinoxx::eval {
namespace {

constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();
constexpr double kMostAnswers = 5e7;  // out of fold, 8 bytes each

// Into how many tasks the labels of a fold are cut: as many as keep every thread busy, because each turns the features anew. What comes out
// of a label's fit does not depend on it.
int64_t parts_of(const ProtocolInput& input, const LabelTable& table, int64_t folds) {
  const int64_t workers = int64_t{input.comm.size()} * std::max(1, input.threads);
  return std::clamp<int64_t>((workers + folds - 1) / folds, 1, static_cast<int64_t>(table.labels()));
}

// Rows of features with the labels of all of them.
struct Rows {
  at::Tensor features;         // [images, D]
  std::vector<int8_t> labels;  // [images, labels of the table]
  int64_t images() const { return features.size(0); }
};

// The rows that a fold tries, or those that it learns from.
std::vector<int64_t> places_of(const Trial& trial, bool tried, int fold) {
  std::vector<int64_t> rows;
  for (size_t row = 0; row < trial.fold_of.size(); ++row)
    if ((trial.fold_of[row] == fold) == tried) rows.push_back(static_cast<int64_t>(row));
  return rows;
}

std::vector<int8_t> labels_of(const LabelTable& table, const std::vector<int64_t>& rows) {
  std::vector<int8_t> labels;
  labels.reserve(rows.size() * table.labels());
  for (const int64_t row : rows) {
    const auto begin = table.memory.begin() + row * static_cast<std::ptrdiff_t>(table.labels());
    labels.insert(labels.end(), begin, begin + static_cast<std::ptrdiff_t>(table.labels()));
  }
  return labels;
}

Rows rows_of(const at::Tensor& features, const LabelTable& table, const std::vector<int64_t>& rows) {
  return {features.index_select(0, at::tensor(rows, at::kLong)), labels_of(table, rows)};
}

// What is learned from in a fold, and what is tried.
struct Fold {
  Rows train, test;
};

Fold fold_of(const ProtocolInput& input, const LabelTable& table, const Trial& trial, int fold) {
  if (trial.fold_of.empty()) return {{input.features.memory, table.memory}, {input.features.validation, table.validation}};
  return {rows_of(input.features.memory, table, places_of(trial, /*tried=*/false, fold)),
          rows_of(input.features.memory, table, places_of(trial, /*tried=*/true, fold))};
}

// Fits one label after the other on the images of which it is known.
class LabelFits {
 public:
  LabelFits(const Rows& rows, size_t labels) : rows_(rows), labels_(labels) {}

  // False where the label has no yes or no no.
  bool take(size_t label) {
    std::vector<int64_t> known;
    std::vector<int32_t> targets;
    for (int64_t i = 0; i < rows_.images(); ++i) {
      const int8_t value = rows_.labels[static_cast<size_t>(i) * labels_ + label];
      if (value < 0) continue;
      known.push_back(i);
      targets.push_back(value);
    }
    if (std::ranges::find(targets, 0) == targets.end() || std::ranges::find(targets, 1) == targets.end()) return false;
    if (regression_ && known == known_) {
      regression_->relabel(targets);
      return true;
    }
    const bool all = static_cast<int64_t>(known.size()) == rows_.images();
    const at::Tensor features = all ? rows_.features : rows_.features.index_select(0, at::tensor(known, at::kLong));
    regression_ = std::make_unique<LogisticRegression>(features, targets, 2);
    known_ = std::move(known);
    return true;
  }
  LogisticFit fit(double c, double tolerance) { return regression_->fit(c, {.tolerance = tolerance}); }

 private:
  const Rows& rows_;
  size_t labels_;
  std::unique_ptr<LogisticRegression> regression_;
  std::vector<int64_t> known_;
};

// Logits of yes against no.
std::vector<double> logits_of(const LinearModel& model, const at::Tensor& features) {
  const at::Tensor both = model.logits(features);
  const at::Tensor logits = (both.select(1, 1) - both.select(1, 0)).contiguous();
  return {logits.const_data_ptr<double>(), logits.const_data_ptr<double>() + logits.numel()};
}

// Sum over the images of which the label is known.
double log_loss(std::span<const double> logits, std::span<const int8_t> truth) {
  double sum = 0;
  for (size_t i = 0; i < truth.size(); ++i) {
    if (truth[i] < 0) continue;
    const double against = truth[i] == 1 ? -logits[i] : logits[i];
    sum += std::max(against, 0.0) + std::log1p(std::exp(-std::abs(against)));
  }
  return sum;
}

double probability(double logit) {
  return 1 / (1 + std::exp(-logit));
}

// Every `parts`th label from `part` on.
void each_label(size_t labels, int64_t part, int64_t parts, const std::function<void(size_t)>& visit) {
  for (auto label = static_cast<size_t>(part); label < labels; label += static_cast<size_t>(parts)) visit(label);
}

class Choosing {
 public:
  Choosing(const ProtocolInput& input, const LabelTable& table, const Trial& trial)
      : input_(input), table_(table), trial_(trial), labels_(table.labels()), parts_(parts_of(input, table, trial.folds)) {
    for (int fold = 0; fold < trial.folds; ++fold) {
      tried_.push_back(trial.fold_of.empty() ? table.validation : labels_of(table, places_of(trial, /*tried=*/true, fold)));
      most_ = std::max(most_, static_cast<int64_t>(tried_.back().size() / labels_));
    }
  }

  // Mean over the labels of the log loss, as a share of that of an answer that knows the label's share alone; empty where no label has both
  // a yes and a no among the images that are tried.
  std::vector<double> path() const {
    const std::vector<double> cs = values_of_c();
    constexpr int64_t kNumbers = kSteps + 2;  // of a label: images, those with it, and the loss for each C
    const auto width = static_cast<int64_t>(labels_) * kNumbers;
    const at::Tensor rows = run_tasks(input_.comm, tasks(), width, input_.threads, [&](int64_t task, double* row) {
      const Fold fold = fold_of(input_, table_, trial_, static_cast<int>(task / parts_));
      LabelFits fits(fold.train, labels_);
      each_label(labels_, task % parts_, parts_, [&](size_t label) {
        const std::vector<int8_t> truth = table_.column(fold.test.labels, label);
        const LabelCount count = count_labels(truth);
        if (count.yes + count.no == 0 || !fits.take(label)) return;
        double* place = row + static_cast<int64_t>(label) * kNumbers;
        *place++ = static_cast<double>(count.yes + count.no);
        *place++ = static_cast<double>(count.yes);
        for (const double c : cs) *place++ = log_loss(logits_of(fits.fit(c, kPathTolerance).model, fold.test.features), truth);
      });
    });
    std::vector<double> path(kSteps);
    double labels = 0;
    for (size_t label = 0; label < labels_; ++label) {
      std::array<double, kNumbers> of_label{};  // fold by fold, so that the sums are the same however the work was cut
      for (size_t fold = 0; fold < tried_.size(); ++fold) {
        const double* of_fold = row_of(rows, fold, label) + static_cast<int64_t>(label) * kNumbers;
        for (size_t i = 0; i < of_label.size(); ++i) of_label[i] += of_fold[i];
      }
      const double images = of_label[0], yes = of_label[1], no = images - yes;
      if (yes == 0 || no == 0) continue;
      const double known = -yes * std::log(yes / images) - no * std::log(no / images);
      for (int step = 0; step < kSteps; ++step) path[static_cast<size_t>(step)] += of_label[2 + static_cast<size_t>(step)] / known;
      ++labels;
    }
    if (labels == 0) return {};
    for (double& value : path) value /= labels;
    return path;
  }

  // Thresholds at this C, from answers to images that were not learned from.
  void choose_thresholds(LabelHead& head) const {
    const auto of_part = static_cast<int64_t>((labels_ + static_cast<size_t>(parts_) - 1) / static_cast<size_t>(parts_));
    const at::Tensor rows = run_tasks(input_.comm, tasks(), of_part * most_, input_.threads, [&](int64_t task, double* row) {
      std::fill_n(row, of_part * most_, kUndefined);
      const Fold fold = fold_of(input_, table_, trial_, static_cast<int>(task / parts_));
      LabelFits fits(fold.train, labels_);
      each_label(labels_, task % parts_, parts_, [&](size_t label) {
        if (!fits.take(label)) return;
        const std::vector<double> logits = logits_of(fits.fit(head.c, kTolerance).model, fold.test.features);
        std::ranges::copy(logits, row + static_cast<int64_t>(label) / parts_ * most_);
      });
    });
    double precision = 0, labels = 0;
    for (size_t label = 0; label < labels_; ++label) {
      std::vector<double> probabilities;
      std::vector<int8_t> truth;
      for (size_t f = 0; f < tried_.size(); ++f) {
        const double* logits = row_of(rows, f, label) + static_cast<int64_t>(label) / parts_ * most_;
        const std::vector<int8_t> of_fold = table_.column(tried_[f], label);
        for (size_t i = 0; i < of_fold.size(); ++i) {
          if (std::isnan(logits[i])) continue;
          probabilities.push_back(probability(logits[i]));
          truth.push_back(of_fold[i]);
        }
      }
      if (const std::optional<double> threshold = threshold_of_best_f1(probabilities, truth)) {
        head.thresholds[label] = *threshold;
        head.chosen[label] = 1;
        precision += RankedLabel(probabilities, truth).areas().average_precision;
        ++labels;
      }
    }
    if (labels > 0) head.map_of_tried = precision / labels;
  }

 private:
  // The row of the task that had this label in this fold.
  const double* row_of(const at::Tensor& rows, size_t fold, size_t label) const {
    const int64_t task = static_cast<int64_t>(fold) * parts_ + static_cast<int64_t>(label) % parts_;
    return rows.const_data_ptr<double>() + task * rows.size(1);
  }
  int64_t tasks() const { return static_cast<int64_t>(tried_.size()) * parts_; }
  const ProtocolInput& input_;
  const LabelTable& table_;
  const Trial& trial_;
  size_t labels_;
  int64_t parts_;
  std::vector<std::vector<int8_t>> tried_;  // of each fold: the labels of the images that are tried
  int64_t most_ = 0;                        // images tried in a fold
};

void fit_all(const ProtocolInput& input, const LabelTable& table, LabelHead& head) {
  const auto labels = static_cast<int64_t>(table.labels()), dim = input.features.memory.size(1);
  const int64_t width = dim + 2;
  const Rows memory{input.features.memory, table.memory};
  const int64_t parts = parts_of(input, table, /*folds=*/1);
  const at::Tensor rows = run_tasks(input.comm, parts, labels * width, input.threads, [&](int64_t part, double* row) {
    LabelFits fits(memory, table.labels());
    each_label(table.labels(), part, parts, [&](size_t label) {
      if (!fits.take(label)) return;
      const LogisticFit fit = fits.fit(head.c, kTolerance);
      double* place = row + static_cast<int64_t>(label) * width;
      const at::Tensor weight = (fit.model.weight[1] - fit.model.weight[0]).contiguous();
      std::copy_n(weight.const_data_ptr<double>(), dim, place);
      place[dim] = (fit.model.bias[1] - fit.model.bias[0]).item<double>();
      place[dim + 1] = fit.converged ? 0 : 1;
    });
  });
  const at::Tensor sum = rows.sum(0).view({labels, width});  // each label is of one part
  head.weight = sum.narrow(1, 0, dim).contiguous();
  head.bias = sum.select(1, dim).contiguous();
  for (int64_t label = 0; label < labels; ++label)
    if (!head.left_out[static_cast<size_t>(label)].empty()) head.bias[label] = -std::numeric_limits<double>::infinity();
  head.not_converged = static_cast<int>(sum.select(1, dim + 1).sum().item<double>());
}

}  // namespace

at::Tensor LabelHead::probabilities(const at::Tensor& features) const {
  return at::sigmoid(at::addmm(bias, features.to(at::kDouble), weight.t()));
}

std::vector<uint8_t> LabelHead::learned() const {
  std::vector<uint8_t> learned;
  learned.reserve(left_out.size());
  for (const std::string& why : left_out) learned.push_back(why.empty() ? 1 : 0);
  return learned;
}

std::string why_too_large(const ProtocolInput& input, const LabelTable& table) {
  const auto labels = static_cast<double>(table.labels()), images = static_cast<double>(input.data.memory.size()),
             asked = static_cast<double>(input.data.queries.size());
  if (std::max(images, asked) * labels > kMostAnswers)
    return fmt::format("{:.0f} labels of {:.0f} images are {:.1e} answers, more than {:.1e}", labels, std::max(images, asked),
                       std::max(images, asked) * labels, kMostAnswers);
  const double fit = size_of_fit(images, 2 * labels, static_cast<double>(input.features.memory.size(1)));
  if (fit > kLargestFit)
    return fmt::format("an iteration of all fits would take {:.1e} multiplications, more than {:.1e}", fit, kLargestFit);
  return "";
}

LabelHead fit_label_head(const ProtocolInput& input, const LabelTable& table) {
  LabelHead head;
  head.thresholds.assign(table.labels(), 0.5);
  head.chosen.assign(table.labels(), 0);
  for (size_t label = 0; label < table.labels(); ++label) {
    const LabelCount count = count_labels(table.column(table.memory, label));
    head.left_out.push_back(count.yes == 0  ? "no training image has it"
                            : count.no == 0 ? "every training image of which it is known has it"
                                            : "");
  }
  const Trial trial = plan_trial(input.dataset, input.data, input.seed);
  head.chosen_on = trial.by;
  if (trial.none.empty()) {
    const Choosing choosing(input, table, trial);
    head.selection = choosing.path();
    head.tried = trial.images();
    if (!head.selection.empty()) {
      const auto place = static_cast<int>(std::ranges::min_element(head.selection) - head.selection.begin());
      head.c = values_of_c()[static_cast<size_t>(place)];
      head.c_at_the_edge = place == 0 || place == kSteps - 1;
      choosing.choose_thresholds(head);
    }
  }
  if (head.selection.empty())
    head.not_chosen = (trial.none.empty() ? std::string("no label has a yes and a no among the images to try settings on") : trial.none) +
                      ": C = 1 and thresholds of one half";
  fit_all(input, table, head);
  return head;
}

}  // namespace dinoxx::eval
