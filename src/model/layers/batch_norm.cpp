#include "batch_norm.hpp"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "batch_norm_cuda.hpp"
#include "dinoxx/base/error.hpp"
#include "init.hpp"

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

struct Moments {
  at::Tensor mean, variance;  // [C], float64, the variance biased
  at::Tensor count;           // [1], float64: values per channel over all ranks
};

/// Moments of each rank, combined by their deviations from the common mean (Chan et al. 1979): no difference of large sums, and ranks may
/// hold different numbers of values. Every rank computes the same numbers from the same gathered table.
Moments combined_moments(const at::Tensor& x, Communicator* group) {
  const int64_t channels = x.size(1), count = x.numel() / channels;
  // the running statistics that the kernel updates are thrown away; their type says in which one it accumulates
  const at::Tensor scratch = at::zeros({channels}, x.options().dtype(factor_type(x.scalar_type())));
  const auto [mean, variance] = at::batch_norm_update_stats(x, scratch, scratch.clone(), 0.0);
  const at::TensorOptions wide = x.options().dtype(at::kDouble);
  if (!group) return {mean.to(at::kDouble), variance.to(at::kDouble), at::full({1}, static_cast<double>(count), wide)};

  const at::Tensor mine = at::cat({mean.to(at::kDouble), variance.to(at::kDouble), at::full({1}, static_cast<double>(count), wide)});
  const at::Tensor all = at::empty({group->size(), 2 * channels + 1}, wide);
  group->all_gather(all, mine)->wait();
  const at::Tensor means = all.narrow(1, 0, channels), variances = all.narrow(1, channels, channels);
  const at::Tensor counts = all.narrow(1, 2 * channels, 1), total = counts.sum(0);
  const at::Tensor common = (means * counts).sum(0) / total;
  return {common, ((variances + (means - common).square()) * counts).sum(0) / total, total};
}

/// y = (x - mean) / sqrt(variance + eps) * weight + bias, where mean and variance are those of x over all ranks, so that backward sees
/// through them: with a = weight / sqrt(variance + eps), n values per channel and x^ the normalised x,
///   dx = a (dy - sum(dy) / n - x^ sum(dy x^) / n),   sums over all ranks;   dweight = sum(dy x^), dbias = sum(dy) of this rank,
/// as the gradients of all parameters are summed over ranks elsewhere.
class GroupNormalize : public torch::autograd::Function<GroupNormalize> {
  struct Group : torch::CustomClassHolder {
    explicit Group(std::shared_ptr<Communicator> communicator) : communicator(std::move(communicator)) {}
    std::shared_ptr<Communicator> communicator;
  };

 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                            const at::Tensor& mean, const at::Tensor& variance, const at::Tensor& count, double eps,
                            const std::shared_ptr<Communicator>& group) {
    const at::ScalarType factor = factor_type(x.scalar_type());
    ctx->save_for_backward({x, weight, mean, variance, count});
    ctx->saved_data["eps"] = eps;
    if (group) ctx->saved_data["group"] = c10::IValue::make_capsule(c10::make_intrusive<Group>(group));
    return normalize(x, mean.to(factor), variance.to(factor), eps, weight.to(factor), bias.to(factor));
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, torch::autograd::variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &wide_mean = saved[2], &wide_variance = saved[3], &count = saved[4];
    const double eps = ctx->saved_data["eps"].toDouble();
    const at::ScalarType factor = factor_type(x.scalar_type());
    const at::Tensor mean = wide_mean.to(factor), variance = wide_variance.to(factor);
    const at::Tensor dy = grads[0].contiguous(x.suggest_memory_format());

    const auto local =
        at::native_batch_norm_backward(dy, x, weight.to(factor), mean, variance, {}, {}, /*train=*/false, eps, {false, true, true});
    const at::Tensor &dweight = std::get<1>(local), &dbias = std::get<2>(local);
    const at::Tensor sums = at::stack({dweight, dbias}).to(at::kDouble);
    if (const auto entry = ctx->saved_data.find("group"); entry != ctx->saved_data.end()) {
      const auto group = c10::static_intrusive_pointer_cast<Group>(entry->second.toCapsule());
      group->communicator->all_reduce(sums, ReduceOp::kSum)->wait();
    }

    const at::Tensor gain = weight.to(at::kDouble) * (wide_variance + eps).rsqrt();
    const at::Tensor shared = -gain * sums / count;  // [2, C]: factors of x^ and of 1
    at::Tensor dx = normalize(x, mean, variance, eps, shared[0].to(factor), shared[1].to(factor));
    const at::Tensor zero = at::zeros_like(mean), one = at::ones_like(mean);
    dx.add_(normalize(dy, zero, one, 0.0, gain.to(factor), zero));
    return {dx, dweight.to(weight.scalar_type()), dbias.to(weight.scalar_type()), {}, {}, {}, {}, {}};
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
  const int64_t channels = weight_.size(0);
  if ((x.dim() != 2 && x.dim() != 4) || x.size(1) != channels || x.numel() == 0)
    fail("batch normalisation", fmt::format("[B, {0}] or [B, {0}, H, W], not empty", channels),
         fmt::format("{}", fmt::join(x.sizes(), " x ")), "Every rank needs a batch of its own, with the channels of the network");
  if (!training) {
    const at::ScalarType factor = factor_type(x.scalar_type());
    return at::batch_norm(x, weight_.to(factor), bias_.to(factor), running_mean_, running_var_, /*training=*/false, momentum_, eps_,
                          /*cudnn_enabled=*/false);
  }
  const int64_t count = x.numel() / channels;
  if (count == 1 && (!group_ || group_->size() == 1))
    fail("batch normalisation", "more than one value per channel in training", "one", "Use a larger batch or larger images");

  const at::Tensor input = x.contiguous(x.suggest_memory_format());
  if (input.is_cuda()) {
    const CudaBatchNorm out = batch_norm_cuda(input, weight_, bias_, eps_, group_);
    pending_.push_back({out.mean, out.unbiased_variance});
    return out.y;
  }
  Moments moments;
  {
    at::NoGradGuard no_grad;
    moments = combined_moments(input, group_.get());
    pending_.push_back({moments.mean, moments.variance * (moments.count / (moments.count - 1.0))});
  }
  return GroupNormalize::apply(input, weight_, bias_, moments.mean, moments.variance, moments.count, eps_, group_);
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
