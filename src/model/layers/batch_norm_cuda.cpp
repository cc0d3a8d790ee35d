#include "batch_norm_cuda.hpp"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

namespace dinoxx {
namespace {

struct Group : torch::CustomClassHolder {
  explicit Group(std::shared_ptr<Communicator> of_ranks) : communicator(std::move(of_ranks)) {}
  std::shared_ptr<Communicator> communicator;
};

class CudaNormalize : public torch::autograd::Function<CudaNormalize> {
 public:
  // mean, invstd [C]; counts [ranks], int32: values per channel of each rank
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                            const at::Tensor& mean, const at::Tensor& invstd, const at::Tensor& counts, double eps,
                            const std::shared_ptr<Communicator>& group) {
    // the operators mix bfloat16 activations with float32 factors, of one type for all of them
    const at::Tensor gain = weight.to(mean.scalar_type());
    ctx->save_for_backward({x, gain, mean, invstd, counts});
    ctx->saved_data["type"] = static_cast<int64_t>(weight.scalar_type());
    if (group) ctx->saved_data["group"] = c10::IValue::make_capsule(c10::make_intrusive<Group>(group));
    return at::batch_norm_elemt(x, gain, bias.to(mean.scalar_type()), mean, invstd, eps);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, torch::autograd::variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &gain = saved[1], &mean = saved[2], &invstd = saved[3], &counts = saved[4];
    const auto type = static_cast<at::ScalarType>(ctx->saved_data["type"].toInt());
    const at::Tensor dy = grads[0].contiguous(x.suggest_memory_format());
    auto [sum_dy, sum_dy_x, dweight, dbias] = at::batch_norm_backward_reduce(dy, x, mean, invstd, gain, true, true, true);
    if (const auto entry = ctx->saved_data.find("group"); entry != ctx->saved_data.end()) {
      const auto group = c10::static_intrusive_pointer_cast<Group>(entry->second.toCapsule());
      const at::Tensor sums = at::cat({sum_dy, sum_dy_x});
      group->communicator->all_reduce(sums, ReduceOp::kSum)->wait();
      sum_dy = sums.narrow(0, 0, mean.size(0));
      sum_dy_x = sums.narrow(0, mean.size(0), mean.size(0));
    }
    const at::Tensor dx = at::batch_norm_backward_elemt(dy, x, mean, invstd, gain, sum_dy, sum_dy_x, counts);
    return {dx, dweight.to(type), dbias.to(type), {}, {}, {}, {}, {}};
  }
};

}  // namespace

CudaBatchNorm batch_norm_cuda(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double eps,
                              const std::shared_ptr<Communicator>& group) {
  CudaBatchNorm out;
  at::Tensor mean, invstd, counts;
  {
    at::NoGradGuard no_grad;
    const int64_t channels = x.size(1);
    const auto [own_mean, own_invstd] = at::batch_norm_stats(x, eps);
    const at::Tensor count = at::full({1}, static_cast<double>(x.numel() / channels), own_mean.options());
    at::Tensor all = at::cat({own_mean, own_invstd, count}).unsqueeze(0);  // [ranks, 2 C + 1]
    if (group) {
      const at::Tensor mine = all;
      all = at::empty({group->size(), 2 * channels + 1}, mine.options());
      group->all_gather(all, mine)->wait();
    }
    const at::Tensor each = all.select(1, 2 * channels).contiguous();
    // with a momentum of 1 "running" statistics become the batch's own: the program adds them to the running ones when the step is good
    const at::Tensor batch = at::zeros({2, channels}, own_mean.options());
    out.mean = batch[0];
    out.unbiased_variance = batch[1];
    std::tie(mean, invstd) = at::batch_norm_gather_stats_with_counts(x, all.narrow(1, 0, channels), all.narrow(1, channels, channels),
                                                                     out.mean, out.unbiased_variance, /*momentum=*/1.0, eps, each);
    counts = each.to(at::kInt);
  }
  out.y = CudaNormalize::apply(x, weight, bias, mean, invstd, counts, eps, group);
  return out;
}

}  // namespace dinoxx
