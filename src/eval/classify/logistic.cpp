#include "logistic.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "dinoxx/base/error.hpp"

namespace dinoxx::eval {
namespace {

at::Tensor view_of(std::span<const double> values, at::IntArrayRef shape) {
  return at::from_blob(const_cast<double*>(values.data()), shape, at::kDouble);
}

}  // namespace

at::Tensor LinearModel::logits(const at::Tensor& features) const {
  return at::addmm(bias, features.to(at::kDouble), weight.t());
}

LogisticRegression::LogisticRegression(const at::Tensor& features, std::span<const int32_t> labels, int classes)
    : n_(features.size(0)), classes_(classes) {
  if (n_ < 1 || n_ != static_cast<int64_t>(labels.size()))
    fail("logistic regression", "a label for each of at least one image", fmt::format("{} images, {} labels", n_, labels.size()),
         "This is a defect of the caller.");
  at::Tensor x = features.to(at::kDouble, /*non_blocking=*/false, /*copy=*/true);
  mean_ = x.mean(0);
  x.sub_(mean_);
  if (n_ < x.size(1)) {
    basis_ = std::get<0>(at::linalg_qr(x.t(), "reduced"));  // [D, n]
    x = at::mm(x, basis_);
  }
  const at::Tensor axes = std::get<1>(at::linalg_eigh(at::mm(x.t(), x)));
  basis_ = basis_.defined() ? at::mm(basis_, axes) : axes;
  z_ = at::mm(x, axes).contiguous();
  rank_ = z_.size(1);
  const at::Tensor squares = z_.square().mean(0);
  axes_.assign(squares.data_ptr<double>(), squares.data_ptr<double>() + rank_);
  relabel(labels);
}

void LogisticRegression::relabel(std::span<const int32_t> labels) {
  std::vector<int64_t> count(classes_);
  for (const int32_t label : labels) ++count[label];
  std::vector<int32_t> place(classes_, -1);
  present_.clear();
  counts_.clear();
  targets_.clear();
  for (int c = 0; c < classes_; ++c) {
    if (count[c] == 0) continue;
    place[c] = static_cast<int32_t>(present_.size());
    present_.push_back(c);
    counts_.push_back(count[c]);
  }
  for (const int32_t label : labels) targets_.push_back(place[label]);
  p_ = at::empty({n_, static_cast<int64_t>(present_.size())}, at::kDouble);
  start(ClassWeight::kPlain);
}

void LogisticRegression::start(ClassWeight weight) {
  const double classes = static_cast<double>(present_.size()), n = static_cast<double>(n_);
  total_weight_ = n;  // in both cases
  weights_.clear();
  for (const int32_t target : targets_)
    weights_.push_back(weight == ClassWeight::kPlain ? 1 / n : 1 / (classes * static_cast<double>(counts_[target])));
  x_.assign(present_.size() * (rank_ + 1), 0.0);
}

double LogisticRegression::objective(std::span<const double> x, std::span<double> gradient, double penalty) {
  const int64_t classes = static_cast<int64_t>(present_.size());
  const size_t weights = static_cast<size_t>(classes * rank_);
  const at::Tensor w = view_of(x.first(weights), {classes, rank_});
  at::mm_out(p_, z_, w.t());
  double* rows = p_.data_ptr<double>();
  const double* bias = x.data() + weights;
  const std::span<double> bias_gradient = gradient.subspan(weights);
  std::fill(bias_gradient.begin(), bias_gradient.end(), 0.0);
  double loss = 0;
  for (int64_t i = 0; i < n_; ++i) {
    double* row = rows + i * classes;
    double top = -std::numeric_limits<double>::infinity();
    for (int64_t c = 0; c < classes; ++c) top = std::max(top, row[c] += bias[c]);
    const double of_target = row[targets_[i]] - top;
    double sum = 0;
    for (int64_t c = 0; c < classes; ++c) sum += row[c] = std::exp(row[c] - top);
    loss += weights_[i] * (std::log(sum) - of_target);
    const double factor = weights_[i] / sum;
    for (int64_t c = 0; c < classes; ++c) row[c] *= factor;
    row[targets_[i]] -= weights_[i];
    for (int64_t c = 0; c < classes; ++c) bias_gradient[c] += row[c];
  }
  at::Tensor w_gradient = view_of(gradient.first(weights), {classes, rank_});
  at::mm_out(w_gradient, p_.t(), z_);
  double squares = 0;
  for (size_t i = 0; i < weights; ++i) {
    squares += x[i] * x[i];
    gradient[i] += penalty * x[i];
  }
  return loss + 0.5 * penalty * squares;
}

// Inverse of the Hessian's diagonal if all images had the mean p (1 - p) of the present solution. p_ holds s (p - y) of it.
std::vector<double> LogisticRegression::curvature(double penalty) const {
  const int64_t classes = static_cast<int64_t>(present_.size());
  const double* rows = p_.data_ptr<double>();
  double mean = 0;
  for (int64_t i = 0; i < n_; ++i) {
    for (int64_t c = 0; c < classes; ++c) {
      const double difference = std::abs(rows[i * classes + c]) / weights_[i];  // |p - y|: p or 1 - p
      mean += difference * (1 - difference);
    }
  }
  mean = std::max(mean / static_cast<double>(n_ * classes), 1e-6);
  std::vector<double> scale(x_.size(), 1 / mean);  // of the intercepts
  for (int64_t c = 0; c < classes; ++c)
    for (int64_t j = 0; j < rank_; ++j) scale[c * rank_ + j] = 1 / (mean * axes_[j] + penalty);
  return scale;
}

LogisticFit LogisticRegression::fit(double c, const LbfgsOptions& options) {
  if (!(c > 0)) fail("logistic regression", "C > 0", std::to_string(c), "This is a defect of the caller.");
  const double penalty = 1 / (c * total_weight_);
  std::vector<double> gradient(x_.size());
  objective(x_, gradient, penalty);
  const LbfgsResult result =
      minimize([&](std::span<const double> x, std::span<double> g) { return objective(x, g, penalty); }, x_, curvature(penalty), options);
  const int64_t classes = static_cast<int64_t>(present_.size());
  const at::Tensor w = at::mm(view_of(std::span(x_).first(classes * rank_), {classes, rank_}), basis_.t());  // [present, D]
  const at::Tensor b = view_of(std::span(x_).subspan(classes * rank_), {classes}) - at::mv(w, mean_);
  LogisticFit fitted{
      {at::zeros({classes_, w.size(1)}, at::kDouble), at::full({classes_}, -std::numeric_limits<double>::infinity(), at::kDouble)},
      result.value,
      result.iterations,
      result.converged};
  for (int64_t i = 0; i < classes; ++i) {
    fitted.model.weight[present_[i]].copy_(w[i]);
    fitted.model.bias[present_[i]] = b[i];
  }
  return fitted;
}

at::Tensor adjust_logits(const at::Tensor& logits, std::span<const int64_t> training_images, double tau) {
  double total = 0;
  for (const int64_t n : training_images) total += static_cast<double>(n);
  at::Tensor prior = at::zeros({logits.size(1)}, at::kDouble);
  // a class without training images has the logit minus infinity already
  for (size_t c = 0; c < training_images.size(); ++c)
    if (training_images[c] > 0) prior.data_ptr<double>()[c] = tau * std::log(static_cast<double>(training_images[c]) / total);
  return logits - prior;
}

std::vector<int32_t> predict(const at::Tensor& scores) {
  const at::Tensor rows = scores.contiguous();
  const double* data = rows.data_ptr<double>();
  const int64_t classes = rows.size(1);
  std::vector<int32_t> result;
  for (int64_t i = 0; i < rows.size(0); ++i) {
    const double* row = data + i * classes;
    result.push_back(static_cast<int32_t>(std::max_element(row, row + classes) - row));
  }
  return result;
}

std::vector<double> logarithmic_steps(double low, double high, int count) {
  std::vector<double> steps;
  for (int i = 0; i < count; ++i) {
    const double at = count == 1 ? 0.0 : static_cast<double>(i) / (count - 1);
    steps.push_back(std::pow(10.0, std::log10(low) + at * (std::log10(high) - std::log10(low))));
  }
  return steps;
}

}  // namespace dinoxx::eval
