#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

/// Scores of answers to several questions of yes and no about each image. Truth: 1 yes, 0 no, -1 not known (the image does not count for
/// this label). Golden values of scikit-learn: tests/golden/make_multi_label.py.
namespace dinoxx::eval {

/// One label's images in the falling order of their scores: what a resample changes is how often each counts.
class RankedLabel {
 public:
  /// scores, truth [images]; scores without NaN.
  RankedLabel(std::span<const double> scores, std::span<const int8_t> truth);
  struct Areas {
    double average_precision = 0, auroc = 0;  ///< as statistics.hpp has them; NaN without a yes or without a no
  };
  /// `counts` [images]: how often each counts; empty: once.
  Areas areas(std::span<const uint32_t> counts = {}) const;

 private:
  struct Place {
    uint32_t image;
    bool yes, last_of_ties;
  };
  std::vector<Place> places_;
};

/// The probability from which on the answer is yes, of largest F1 on these images: half way from the lowest one that is answered yes to the
/// next below it (equal F1: the highest). Nothing without a yes or without a no.
std::optional<double> threshold_of_best_f1(std::span<const double> probabilities, std::span<const int8_t> truth);

/// Answers of one label against the truth.
struct LabelTally {
  double true_yes = 0, false_yes = 0, false_no = 0, true_no = 0;
  double precision() const;  ///< NaN where nothing is answered yes
  double recall() const;     ///< NaN without a yes
  double f1() const;         ///< NaN with neither a yes nor an answer of yes
};

/// Figures of all labels together, and of each.
struct MultiLabelScores {
  double map = 0;                                    ///< mean average precision: of the labels that have one
  double macro_auroc = 0;                            ///< the same of the area under the ROC curve
  double macro_f1 = 0;                               ///< mean F1 of the labels that have one
  double micro_f1 = 0;                               ///< F1 of all answers of all labels
  double exact = 0;                                  ///< share of images with every known label right
  std::vector<double> average_precision, auroc, f1;  ///< [labels]; NaN: not defined
};

/// Answers to all labels of a set of images.
class LabelAnswers {
 public:
  /// probabilities, truth [images, labels], row by row. `thresholds` [labels]: yes from there on; empty: there are none, and what needs
  /// them is NaN. `scored` [labels]: the others do not count.
  LabelAnswers(std::span<const double> probabilities, std::span<const int8_t> truth, std::span<const double> thresholds,
               std::span<const uint8_t> scored);
  /// `counts` [images]: how often each counts; empty: once.
  MultiLabelScores scores(std::span<const uint32_t> counts = {}) const;
  LabelTally tally(size_t label, std::span<const uint32_t> counts = {}) const;

 private:
  size_t images_, labels_;
  bool decides_;
  std::vector<uint8_t> scored_;
  std::vector<int8_t> truth_, answers_;  // [images, labels]
  std::vector<RankedLabel> ranked_;      // of the labels that are scored; empty of the others
};

}  // namespace dinoxx::eval
