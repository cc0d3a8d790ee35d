#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include "fused.hpp"
#include "pool.hpp"
#include "profile.hpp"

namespace dinoxx::ops::cpu {
namespace {

/// f(begin, end, workspace) over `units`, each of `tokens` x `tokens` probabilities or more; few small ones stay on one thread.
template <class F>
void for_heads(int64_t units, int64_t tokens, int64_t workspace, const F& f) {
  at::parallel_for(0, units, std::max<int64_t>(1, 4096 / std::max<int64_t>(1, tokens * tokens)), [&](int64_t begin, int64_t end) {
    PooledFloats floats(workspace);
    f(begin, end, floats.get());
  });
}

}  // namespace

at::Tensor run_attention(const at::Tensor& qkv, int64_t heads) {
  const ProfileScope scope(Phase::kAttention);
  const int64_t batch = qkv.size(0), tokens = qkv.size(1), dim = qkv.size(2) / 3;
  const KernelSet& kernels = kernel_set(is_bf16(qkv));
  at::Tensor out = empty_as(qkv, {batch, tokens, dim});
  const Attention args{qkv.const_data_ptr(), out.data_ptr(), tokens, heads, dim / heads};
  for_heads(batch * heads, tokens, kernels.attention_workspace(tokens, dim / heads),
            [&](int64_t begin, int64_t end, float* workspace) { kernels.attention(args, begin, end, workspace); });
  return out;
}

Scaled run_attention_backward(const at::Tensor& qkv, const at::Tensor& dout, int64_t heads) {
  const ProfileScope scope(Phase::kAttention);
  const int64_t batch = qkv.size(0), tokens = qkv.size(1), dim = qkv.size(2) / 3, chunks = (batch + kSampleChunk - 1) / kSampleChunk;
  const KernelSet& kernels = kernel_set(is_bf16(qkv));
  Scaled out{empty_as(qkv, qkv.sizes()), at::zeros({3 * dim}, at::kFloat)};
  PooledFloats partial(chunks * 3 * dim);
  const AttentionBackward args{qkv.const_data_ptr(), dout.const_data_ptr(), out.x.data_ptr(), partial.get(), batch, tokens, heads,
                               dim / heads};
  for_heads(chunks * heads, tokens, kernels.attention_workspace(tokens, dim / heads),
            [&](int64_t begin, int64_t end, float* workspace) { kernels.attention_backward(args, begin, end, workspace); });
  float* sums = out.column_sums.data_ptr<float>();
  for (int64_t c = 0; c < chunks; ++c)
    for (int64_t j = 0; j < 3 * dim; ++j) sums[j] += partial.get()[c * 3 * dim + j];
  return out;
}

namespace {

class AttentionFunction : public torch::autograd::Function<AttentionFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& input, int64_t heads) {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    const at::Tensor qkv = input.contiguous();
    ctx->save_for_backward({qkv});
    ctx->saved_data["heads"] = heads;
    return run_attention(qkv, heads);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, torch::autograd::variable_list grads) {
    refuse_second_derivative();
    return {run_attention_backward(ctx->get_saved_variables()[0], grads[0].contiguous(), ctx->saved_data["heads"].toInt()).x, at::Tensor()};
  }
};

}  // namespace

at::Tensor attention(const at::Tensor& qkv, int heads) {
  return AttentionFunction::apply(qkv, int64_t{heads});
}

}  // namespace dinoxx::ops::cpu
