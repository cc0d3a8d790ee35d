#pragma once
#include <ATen/core/Tensor.h>

#include <limits>
#include <string>
#include <vector>

#include "eval/run/protocols.hpp"
#include "label_table.hpp"

namespace dinoxx::eval {

/// A logistic regression of yes and no for each label, on features of unit length.
struct LabelHead {
  at::Tensor weight;                  ///< [labels, D] float64; zeros for a label that was not learned
  at::Tensor bias;                    ///< [labels] float64; minus infinity for such a label: its probability is 0
  std::vector<std::string> left_out;  ///< [labels]: why a label was not learned; empty: it was
  std::vector<double> thresholds;     ///< [labels]: yes from this probability on
  std::vector<uint8_t> chosen;        ///< [labels]: whether the threshold was chosen; else it is one half
  double c = 1;
  bool c_at_the_edge = false;
  std::vector<double> selection;  ///< for each C: mean over the labels of log loss / log loss of knowing the share alone; empty: nothing to
                                  ///< choose on
  std::string chosen_on, not_chosen;
  int64_t tried = 0;  ///< images that C and thresholds were chosen on
  double map_of_tried =
      std::numeric_limits<double>::quiet_NaN();  ///< mean average precision on them, by fits that have not learned from them
  int not_converged = 0;                         ///< labels whose fit ended at the limit of iterations

  /// Probabilities of yes [images, labels] float64 of features [images, D].
  at::Tensor probabilities(const at::Tensor& features) const;
  std::vector<uint8_t> learned() const;  ///< [labels]
};

/// Fits on the memory. C, one for all labels, of least log loss (every label counts the same), and a threshold for each label, of largest
/// F1, are chosen on the val split where there is one, else on five folds of the memory; the labels of the queries are looked at by
/// nothing. Collective.
LabelHead fit_label_head(const ProtocolInput& input, const LabelTable& table);
/// Why that would take hours; empty: it would not.
std::string why_too_large(const ProtocolInput& input, const LabelTable& table);

}  // namespace dinoxx::eval
