#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "lbfgs.hpp"

namespace dinoxx::eval {

/// logits = features * weight^T + bias.
struct LinearModel {
  at::Tensor weight;  ///< [classes, D] float64
  at::Tensor bias;    ///< [classes] float64; minus infinity for a class without training images: it is never predicted
  /// [N, D] -> [N, classes] float64.
  at::Tensor logits(const at::Tensor& features) const;
};

enum class ClassWeight {
  kPlain,     ///< each image counts 1
  kBalanced,  ///< n / (classes present * images of the class): each class counts the same
};

struct LogisticFit {
  LinearModel model;
  double objective = 0;
  int iterations = 0;
  bool converged = false;
};

/// Multinomial logistic regression with L2 penalty and free intercept. Minimises
///     sum_i s_i (-log softmax(W x_i + b)[y_i]) / S + |W|^2 / (2 C S),    S = sum of the weights s_i,
/// which is scikit-learn's objective for three and more classes, divided by C S. (For two classes scikit-learn has one vector of weights;
/// its C is then twice this one.)
///
/// The same minimum is looked for in other coordinates: features centred (the free intercept takes that up), and turned onto their
/// principal axes, with n < D inside the span of the images (an orthogonal basis changes neither the penalty nor, because the penalty keeps
/// W in that span, the minimum). There the Hessian is nearly diagonal, and its diagonal is where L-BFGS starts from: a path over C takes a
/// few steps per value however badly the features are scaled. All sums are float64.
class LogisticRegression {
 public:
  /// features [n, D], n >= 1; labels [n] in [0, classes).
  LogisticRegression(const at::Tensor& features, std::span<const int32_t> labels, int classes);
  /// The same features with other labels [n], as if made anew: what the features alone decide is not computed again.
  void relabel(std::span<const int32_t> labels);
  /// Forgets the solution so far and counts images by `weight` from now on.
  void start(ClassWeight weight);
  /// Starts from the solution of the last fit since start(), which is what makes a path over rising C cheap.
  LogisticFit fit(double c, const LbfgsOptions& options = {});

 private:
  double objective(std::span<const double> x, std::span<double> gradient, double penalty);
  std::vector<double> curvature(double penalty) const;

  int64_t n_, rank_;
  int classes_;
  std::vector<int32_t> targets_;  // index into present_
  std::vector<int32_t> present_;  // classes with images
  std::vector<int64_t> counts_;   // images of these
  at::Tensor mean_, basis_;       // [D], [D, rank]
  at::Tensor z_;                  // [n, rank], centred and turned
  std::vector<double> axes_;      // mean square of each column of z
  std::vector<double> weights_;   // of each image, sum 1
  at::Tensor p_;                  // [n, present]: logits, then probabilities minus targets, weighted
  std::vector<double> x_;         // [present, rank] then [present]
  double total_weight_ = 0;
};

/// Logits for a test set whose classes are all equally frequent, from a model that has seen `training_images` of each: logit - tau
/// log(share of the class). Post-hoc logit adjustment (Menon et al. 2021, eq. 9). `logits` [N, classes] float64.
at::Tensor adjust_logits(const at::Tensor& logits, std::span<const int64_t> training_images, double tau = 1.0);

/// The class with the largest score of each row; equal: the lower class. [N, classes] float64.
std::vector<int32_t> predict(const at::Tensor& scores);

/// `count` values from `low` to `high`, both included, equally spaced in their logarithm.
std::vector<double> logarithmic_steps(double low, double high, int count);

}  // namespace dinoxx::eval
