#include "guide.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/ranges.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>

#include "comm/gather.hpp"
#include "dinoxx/base/error.hpp"
#include "loss_common.hpp"

namespace dinoxx {
namespace {

// x; backward multiplies the gradient of each row by its factor [M, 1].
class ScaleGradient : public torch::autograd::Function<ScaleGradient> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x, const at::Tensor& factors) {
    ctx->save_for_backward({factors});
    return x.view_as(x);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, torch::autograd::variable_list gradient) {
    return {gradient[0] * ctx->get_saved_variables()[0], at::Tensor()};
  }
};

void check_shapes(const at::Tensor& features, const at::Tensor& targets, const char* what) {
  if (features.dim() != 3 || targets.dim() != 1 || targets.size(0) != features.size(1) || features.numel() == 0)
    fail(what, "features [V, B, D] and targets [B]",
         fmt::format("[{}] and [{}]", fmt::join(features.sizes(), ", "), fmt::join(targets.sizes(), ", ")),
         "One target belongs to each image");
}

// [V, B, D] -> rows [V B, D] as the head sees them.
at::Tensor head_rows(const at::Tensor& features, const at::Tensor& targets, const char* what) {
  check_shapes(features, targets, what);
  const at::Tensor rows = loss_common::normalized(features).flatten(0, 1) * std::sqrt(static_cast<double>(features.size(2)));
  return rows.to(features.scalar_type());
}

// The head's answers [V, B, outputs]. `told`: of its answers [V, B, outputs] the rows [V, B] that a factor below 0 holds for.
template <class Told>
at::Tensor answers_of(const at::Tensor& rows, int64_t images, const GuideHead& head, double factor, const Told& told) {
  const auto by_view = [&](const at::Tensor& answers) { return answers.to(loss_common::wide_type(answers)).unflatten(0, {-1, images}); };
  at::Tensor factors = at::full({rows.size(0), 1}, factor, rows.options().requires_grad(false));
  if (factor < 0) {
    const at::NoGradGuard no_grad;
    factors = factors * told(by_view(head(rows))).reshape({-1, 1}).to(rows.scalar_type());
  }
  return by_view(head(ScaleGradient::apply(rows, factors)));
}

// What a sum over this rank's rows is multiplied by, so that the mean over ranks is the mean over the rows that count. `known`: float64, of
// all ranks.
at::Tensor share_of_row(const at::Tensor& known, int64_t views, Communicator& comm) {
  return comm.size() / (known * static_cast<double>(views)).clamp_min(1.0);
}

}  // namespace

GuideLoss guide_classes(const at::Tensor& features, const at::Tensor& classes, const GuideHead& head, double factor, Communicator& comm) {
  const at::Tensor rows = head_rows(features, classes, "guide_classes"), known = classes.ge(0);  // [B]
  const at::Tensor chosen = classes.clamp_min(0).unsqueeze(-1).expand({features.size(0), -1, 1});
  const auto own = [&](const at::Tensor& z) { return at::log_softmax(z, -1).gather(-1, chosen).squeeze(-1); };  // [V, B]
  at::Tensor counts;  // images of each class, over all ranks
  const auto count = [&](int64_t outputs) {
    counts = at::one_hot(classes.clamp_min(0), outputs).to(at::kDouble).mul_(known.unsqueeze(-1)).sum(0);
    comm.all_reduce(counts, ReduceOp::kSum)->wait();
  };
  const at::Tensor z = answers_of(rows, features.size(1), head, factor, [&](const at::Tensor& answers) {
    count(answers.size(-1));
    const at::Tensor frequency = (counts / counts.sum().clamp_min(1.0)).index_select(0, classes.clamp_min(0));  // [B]
    return own(answers).gt(frequency.log().to(answers.scalar_type()));
  });
  if (!counts.defined()) count(z.size(-1));
  const at::Tensor share = share_of_row(counts.sum(), features.size(0), comm), of = known.to(z.scalar_type());
  const at::Tensor right = z.detach().argmax(-1).eq(classes).to(at::kDouble);  // where the class is not known it is no class
  return {-(own(z) * of).sum() * share.to(z.scalar_type()), right.sum() * share};
}

GuideLoss guide_numbers(const at::Tensor& features, const at::Tensor& numbers, const GuideHead& head, double factor, Communicator& comm) {
  const at::Tensor rows = head_rows(features, numbers, "guide_numbers"), known = numbers.isnan().logical_not();
  const at::Tensor wanted = numbers.nan_to_num(0.0);
  const at::Tensor z = answers_of(rows, features.size(1), head, factor, [&](const at::Tensor& answers) {
                         return (answers.squeeze(-1) - wanted).square().lt(wanted.square());
                       }).squeeze(-1);
  at::Tensor count = known.sum(at::kDouble);
  comm.all_reduce(count, ReduceOp::kSum)->wait();
  const at::Tensor share = share_of_row(count, features.size(0), comm);
  const at::Tensor error = (z - wanted.to(z.scalar_type())).square() * known.to(z.scalar_type());
  // of a variance of 1 over the training images
  return {0.5 * error.sum() * share.to(z.scalar_type()), 1.0 - error.detach().sum(at::kDouble) * share};
}

namespace {

// Distances [..., N, N] less the means of their rows and columns, over the pairs of different rows that count: `pairs` [N, N] is 1 for
// these, 0 else; `count` of the N rows count.
at::Tensor u_centred(const at::Tensor& distances, const at::Tensor& pairs, const at::Tensor& count) {
  const at::Tensor of = distances * pairs, row = of.sum(-1, /*keepdim=*/true) / (count - 2);
  const at::Tensor all = of.sum({-2, -1}, /*keepdim=*/true) / ((count - 1) * (count - 2));
  return (of - row - row.transpose(-2, -1) + all) * pairs;
}

}  // namespace

at::Tensor distance_correlation(const at::Tensor& features, const at::Tensor& targets, Communicator& comm) {
  constexpr double kTiny = 1e-8;  // a distance of 0 has a gradient
  check_shapes(features, targets, "distance_correlation");
  const at::Tensor x = gather_rows(loss_common::normalized(features).transpose(0, 1).contiguous(), comm).transpose(0, 1);  // [V, N, D]
  at::Tensor y = targets.contiguous();
  if (comm.size() > 1) {
    at::Tensor all = at::empty({comm.size() * y.size(0)}, y.options());
    comm.all_gather(all, y)->wait();
    y = all;
  }
  const bool numbers = y.is_floating_point();
  const at::Tensor known = (numbers ? y.isnan().logical_not() : y.ge(0)).to(x.scalar_type());
  const at::Tensor pairs = known.unsqueeze(0) * known.unsqueeze(1) * (1 - at::eye(y.size(0), x.options()));
  const at::Tensor count = known.sum().clamp_min(4.0);
  at::Tensor of_targets = y.unsqueeze(0).ne(y.unsqueeze(1)).to(x.scalar_type());
  if (numbers) {
    const at::Tensor values = y.nan_to_num(0.0).to(x.scalar_type());
    of_targets = (values.unsqueeze(0) - values.unsqueeze(1)).abs();
  }
  const at::Tensor squares = (2.0 - 2.0 * at::matmul(x, x.transpose(1, 2))).clamp_min(0.0);
  const at::Tensor a = u_centred((squares + kTiny).sqrt(), pairs, count), b = u_centred(of_targets, pairs, count);
  // where one of them does not vary, or of fewer than four, there is nothing to be told, and a root that has a gradient
  const at::Tensor enough = known.sum().ge(4.0).to(x.scalar_type());
  const at::Tensor scale = (a.square().sum({-2, -1}) * b.square().sum()).clamp_min(kTiny * kTiny).sqrt();
  return ((a * b).sum({-2, -1}) / scale).mean() * enough;
}

}  // namespace dinoxx
