#include "batch_norm.hpp"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "batch_norm_cuda.hpp"
#include "dinoxx/base/error.hpp"
#include "init.hpp"
#include "ops/columns.hpp"

namespace dinoxx {
namespace {

/// The type of statistics and of all per-channel factors beside activations of `type`: ATen's kernels mix bfloat16 or half activations with
/// float32 factors.
at::ScalarType factor_type(at::ScalarType type) {
  return type == at::kDouble ? at::kDouble : at::kFloat;
}

/// ATen's normalisation with given statistics as a general per-channel map in one pass: (x - mean) / sqrt(variance + eps) * gain + offset.
at::Tensor normalize(const at::Tensor& x, const at::Tensor& mean, const at::Tensor& variance, double eps, const at::Tensor& gain,
                     const at::Tensor& offset) {
  return std::get<0>(at::native_batch_norm(x, gain, offset, mean, variance, /*training=*/false, /*momentum=*/0.0, eps));
}

struct BatchMoments {
  at::Tensor mean, variance;  // [C], float64, the variance biased
  at::Tensor count;           // [1], float64: values per channel over all ranks
};

/// Moments of this rank. The pass over x is ATen's where the own kernels do not take it.
ops::Moments own_moments(const at::Tensor& x) {
  if (ops::has_column_kernels(x)) return ops::column_moments(x);
  // the running statistics that the kernel updates are thrown away; their type says in which one it accumulates
  const at::Tensor scratch = at::zeros({x.size(1)}, x.options().dtype(factor_type(x.scalar_type())));
  const auto [mean, variance] = at::batch_norm_update_stats(x, scratch, scratch.clone(), 0.0);
  return {mean.to(at::kDouble), variance.to(at::kDouble)};
}

/// Moments of each rank, combined by their deviations from the common mean (Chan et al. 1979): no difference of large sums, and ranks may
/// hold different numbers of values. Every rank computes the same numbers from the same gathered table.
BatchMoments combined_moments(const at::Tensor& x, Communicator* group) {
  const int64_t channels = x.size(1), values = x.numel() / channels;
  const ops::Moments own = own_moments(x);
  const at::TensorOptions wide = x.options().dtype(at::kDouble);
  const at::Tensor count = at::full({1}, static_cast<double>(values), wide);
  if (!group) return {own.mean, own.variance, count};

  const at::Tensor mine = at::cat({own.mean, own.variance, count});
  const at::Tensor all = at::empty({group->size(), 2 * channels + 1}, wide);
  group->all_gather(all, mine)->wait();
  const at::Tensor means = all.narrow(1, 0, channels), variances = all.narrow(1, channels, channels);
  const at::Tensor counts = all.narrow(1, 2 * channels, 1), total = counts.sum(0);
  const at::Tensor common = (means * counts).sum(0) / total;
  return {common, ((variances + (means - common).square()) * counts).sum(0) / total, total};
}

/// The passes over activations, by the own kernels or by ATen's. x, dy and residual have one memory format.
struct Passes {
  bool own;
  double eps;

  at::Tensor forward(const at::Tensor& x, const BatchMoments& moments, const at::Tensor& weight, const at::Tensor& bias,
                     const at::Tensor& residual, bool relu) const {
    if (own) return ops::map_columns(x, moments.mean, (moments.variance + eps).rsqrt() * weight, bias, residual, relu);
    const at::ScalarType factor = factor_type(x.scalar_type());
    at::Tensor y = normalize(x, moments.mean.to(factor), moments.variance.to(factor), eps, weight.to(factor), bias.to(factor));
    if (residual.defined()) y.add_(residual);
    return relu ? y.relu_() : y;
  }
  /// g, and its sums over rows of this rank: of g x^ and of g, [2, C] float64, x^ the normalised x.
  std::pair<at::Tensor, at::Tensor> sums(const at::Tensor& dy, const at::Tensor& y, const at::Tensor& x,
                                         const BatchMoments& moments) const {
    if (own) {
      const at::Tensor sums = ops::column_gradient_sums(dy, y, x, moments.mean);
      return {dy, at::stack({sums[1] * (moments.variance + eps).rsqrt(), sums[0]})};
    }
    const at::ScalarType factor = factor_type(x.scalar_type());
    const at::Tensor g = y.defined() ? at::threshold_backward(dy, y, 0) : dy;
    const auto local = at::native_batch_norm_backward(g, x, at::ones({x.size(1)}, x.options().dtype(factor)), moments.mean.to(factor),
                                                      moments.variance.to(factor), {}, {}, /*train=*/false, eps, {false, true, true});
    return {g, at::stack({std::get<1>(local), std::get<2>(local)}).to(at::kDouble)};
  }
  /// gain g + shared[0] x^ + shared[1], and the gradient of the residual.
  ops::ColumnGradients gradient(const at::Tensor& g, const at::Tensor& y, const at::Tensor& x, const BatchMoments& moments,
                                const at::Tensor& gain, const at::Tensor& shared, bool of_residual) const {
    if (own) {
      ops::ColumnGradients out =
          ops::column_gradient(g, y, x, moments.mean, gain, shared[0] * (moments.variance + eps).rsqrt(), shared[1], of_residual);
      if (of_residual && !out.residual.defined()) out.residual = g;
      return out;
    }
    const at::ScalarType factor = factor_type(x.scalar_type());
    const at::Tensor zero = at::zeros({x.size(1)}, x.options().dtype(factor)), one = at::ones_like(zero);
    at::Tensor dx = normalize(x, moments.mean.to(factor), moments.variance.to(factor), eps, shared[0].to(factor), shared[1].to(factor));
    dx.add_(normalize(g, zero, one, 0.0, gain.to(factor), zero));
    return {dx, of_residual ? g : at::Tensor()};
  }
};

/// y = relu((x - mean) / sqrt(variance + eps) * weight + bias + residual), where mean and variance are those of x over all ranks, so that
/// backward sees through them: with g = dy where y is above 0, a = weight / sqrt(variance + eps), n values per channel and x^ the
/// normalised x,
///   dx = a (g - sum(g) / n - x^ sum(g x^) / n),   sums over all ranks;   dweight = sum(g x^), dbias = sum(g) of this rank,
/// as the gradients of all parameters are summed over ranks elsewhere; g is the residual's.
class GroupNormalize : public torch::autograd::Function<GroupNormalize> {
  struct Group : torch::CustomClassHolder {
    explicit Group(std::shared_ptr<Communicator> communicator) : communicator(std::move(communicator)) {}
    std::shared_ptr<Communicator> communicator;
  };

 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                            const std::optional<at::Tensor>& residual, const BatchMoments& moments, double eps, bool relu,
                            const std::shared_ptr<Communicator>& group) {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    const Passes passes{ops::has_column_kernels(x), eps};
    const at::Tensor y = passes.forward(x, moments, weight, bias, residual.value_or(at::Tensor()), relu);
    ctx->save_for_backward({x, relu ? y : at::Tensor(), weight, moments.mean, moments.variance, moments.count});
    ctx->saved_data["eps"] = eps;
    ctx->saved_data["own"] = passes.own;
    ctx->saved_data["residual"] = residual.has_value();
    if (group) ctx->saved_data["group"] = c10::IValue::make_capsule(c10::make_intrusive<Group>(group));
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, torch::autograd::variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &y = saved[1], &weight = saved[2];
    const BatchMoments moments{saved[3], saved[4], saved[5]};
    const Passes passes{ctx->saved_data["own"].toBool(), ctx->saved_data["eps"].toDouble()};
    const auto [g, own_sums] = passes.sums(grads[0].contiguous(x.suggest_memory_format()), y, x, moments);
    at::Tensor sums = own_sums;
    if (const auto entry = ctx->saved_data.find("group"); entry != ctx->saved_data.end()) {
      const auto group = c10::static_intrusive_pointer_cast<Group>(entry->second.toCapsule());
      sums = own_sums.clone();
      group->communicator->all_reduce(sums, ReduceOp::kSum)->wait();
    }
    const at::Tensor gain = weight.to(at::kDouble) * (moments.variance + passes.eps).rsqrt();
    const at::Tensor shared = -gain * sums / moments.count;  // [2, C]: factors of x^ and of 1
    const ops::ColumnGradients out = passes.gradient(g, y, x, moments, gain, shared, ctx->saved_data["residual"].toBool());
    return {out.x, own_sums[0].to(weight.scalar_type()), own_sums[1].to(weight.scalar_type()), out.residual, {}, {}, {}, {}};
  }
};

}  // namespace

BatchNorm::BatchNorm(int64_t channels, at::ScalarType dtype, double eps, double momentum) : eps_(eps), momentum_(momentum) {
  if (channels < 1 || !(eps > 0) || !(momentum >= 0 && momentum <= 1))
    fail_usage("batch normalisation", "one channel or more, eps > 0 and a momentum in [0, 1]",
               fmt::format("{} channels, eps {}, momentum {}", channels, eps, momentum), "Correct the network's sizes");
  weight_ = init::uninitialized({channels}, dtype);
  bias_ = init::uninitialized({channels}, dtype);
  running_mean_ = at::zeros({channels}, at::TensorOptions().dtype(factor_type(dtype)));
  running_var_ = at::ones({channels}, at::TensorOptions().dtype(factor_type(dtype)));
  batches_ = at::zeros({}, at::TensorOptions().dtype(at::kLong));
}

void BatchNorm::append_to(const std::string& prefix, NamedTensors& parameters, NamedTensors& buffers) const {
  parameters.push_back({prefix + "weight", weight_});
  parameters.push_back({prefix + "bias", bias_});
  buffers.push_back({prefix + "running_mean", running_mean_});
  buffers.push_back({prefix + "running_var", running_var_});
  buffers.push_back({prefix + "num_batches_tracked", batches_});
}

at::Tensor BatchNorm::forward(const at::Tensor& x, bool training) const {
  return run(x, training, {}, /*relu=*/false);
}

at::Tensor BatchNorm::forward_relu(const at::Tensor& x, bool training, const at::Tensor& residual) const {
  return run(x, training, residual, /*relu=*/true);
}

at::Tensor BatchNorm::run(const at::Tensor& x, bool training, const at::Tensor& residual, bool relu) const {
  const int64_t channels = weight_.size(0);
  if ((x.dim() != 2 && x.dim() != 4) || x.size(1) != channels || x.numel() == 0)
    fail("batch normalisation", fmt::format("[B, {0}] or [B, {0}, H, W], not empty", channels),
         fmt::format("{}", fmt::join(x.sizes(), " x ")), "Every rank needs a batch of its own, with the channels of the network");
  const at::Tensor input = x.contiguous(x.suggest_memory_format());
  const at::Tensor added = residual.defined() ? residual.contiguous(x.suggest_memory_format()) : residual;
  const auto behind = [&](at::Tensor y) {
    if (added.defined()) y = y.add_(added);
    return relu ? y.relu_() : y;
  };
  if (!training) {
    if (!at::GradMode::is_enabled() && ops::has_column_kernels(input))
      return ops::map_columns(input, running_mean_, (running_var_.to(at::kDouble) + eps_).rsqrt() * weight_, bias_, added, relu);
    const at::ScalarType factor = factor_type(x.scalar_type());
    return behind(at::batch_norm(input, weight_.to(factor), bias_.to(factor), running_mean_, running_var_, /*training=*/false, momentum_,
                                 eps_, /*cudnn_enabled=*/false));
  }
  const int64_t count = x.numel() / channels;
  if (count == 1 && (!group_ || group_->size() == 1))
    fail("batch normalisation", "more than one value per channel in training", "one", "Use a larger batch or larger images");

  if (input.is_cuda()) {
    const CudaBatchNorm out = batch_norm_cuda(input, weight_, bias_, eps_, group_);
    pending_.push_back({out.mean, out.unbiased_variance});
    return behind(out.y);
  }
  BatchMoments moments;
  {
    at::NoGradGuard no_grad;
    moments = combined_moments(input, group_.get());
    pending_.push_back({moments.mean, moments.variance * (moments.count / (moments.count - 1.0))});
  }
  return GroupNormalize::apply(input, weight_, bias_, added.defined() ? std::optional<at::Tensor>(added) : std::nullopt, moments, eps_,
                               relu, group_);
}

void BatchNorm::commit_statistics() {
  at::NoGradGuard no_grad;
  for (const Pending& batch : pending_) {
    running_mean_.mul_(1.0 - momentum_).add_(batch.mean, momentum_);
    running_var_.mul_(1.0 - momentum_).add_(batch.unbiased_variance, momentum_);
  }
  batches_.add_(static_cast<int64_t>(pending_.size()));
  pending_.clear();
}

}  // namespace dinoxx
