#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "dinoxx/base/error.hpp"
#include "fused.hpp"
#include "pool.hpp"
#include "profile.hpp"

namespace dinoxx::ops::cpu {
namespace {

/// Rows `stride` apart added in order; column j of the result from column offset + j.
at::Tensor add_partials(const float* partial, int64_t count, int64_t stride, int64_t offset, int64_t n) {
  at::Tensor out = at::zeros({n}, at::kFloat);
  float* sum = out.data_ptr<float>();
  for (int64_t c = 0; c < count; ++c)
    for (int64_t j = 0; j < n; ++j) sum[j] += partial[c * stride + offset + j];
  return out;
}

}  // namespace

bool supported(std::initializer_list<at::Tensor> tensors) {
  const auto type = tensors.begin()->scalar_type();
  if (type != at::kFloat && type != at::kBFloat16) return false;
  for (const at::Tensor& t : tensors)
    if (t.defined() && (!t.device().is_cpu() || t.scalar_type() != type || t.layout() != at::kStrided)) return false;
  return true;
}

void refuse_second_derivative() {
  if (at::GradMode::is_enabled())
    fail("second derivative", "backward() without create_graph", "a graph of the backward pass of a fused operation",
         "Call ops::set_fused(false) to use the ATen formulas");
}

at::Tensor empty_as(const at::Tensor& like, at::IntArrayRef sizes) {
  return pooled_empty(sizes, like.scalar_type());
}
at::Tensor as_floats(const at::Tensor& t) {
  return t.defined() ? t.detach().to(at::kFloat).contiguous() : t;
}

Norm run_layer_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double eps) {
  const ProfileScope scope(Phase::kLayerNorm);
  const int64_t dim = x.size(-1), rows = dim ? x.numel() / dim : 0;
  const at::Tensor w = as_floats(weight), b = as_floats(bias);
  Norm out{empty_as(x, x.sizes()), pooled_empty({rows}, at::kFloat), pooled_empty({rows}, at::kFloat)};
  const LayerNormForward args{x.const_data_ptr(),
                              w.const_data_ptr<float>(),
                              b.const_data_ptr<float>(),
                              out.y.data_ptr(),
                              out.mean.data_ptr<float>(),
                              out.rstd.data_ptr<float>(),
                              rows,
                              dim,
                              static_cast<float>(eps)};
  for_row_chunks(rows, [&](int64_t begin, int64_t end) { kernel_set(is_bf16(x)).layer_norm(args, begin, end); });
  return out;
}

NormGrads run_layer_norm_backward(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& mean, const at::Tensor& rstd,
                                  const at::Tensor& weight, const at::Tensor& residual, const at::Tensor& scale, int64_t rows_per_scale) {
  const ProfileScope scope(Phase::kLayerNorm);
  const int64_t dim = x.size(-1), rows = dim ? x.numel() / dim : 0, chunks = row_chunks(rows);
  const at::Tensor w = as_floats(weight);
  NormGrads out;
  out.x = empty_as(x, x.sizes());
  out.scaled = scale.defined() ? empty_as(x, x.sizes()) : out.x;
  PooledFloats partial(chunks * 3 * dim);
  const LayerNormBackward args{dy.const_data_ptr(),
                               x.const_data_ptr(),
                               mean.const_data_ptr<float>(),
                               rstd.const_data_ptr<float>(),
                               w.const_data_ptr<float>(),
                               residual.defined() ? residual.const_data_ptr() : nullptr,
                               out.x.data_ptr(),
                               floats_or_null(scale),
                               rows_per_scale,
                               scale.defined() ? out.scaled.data_ptr() : nullptr,
                               partial.get(),
                               rows,
                               dim};
  for_row_chunks(rows, [&](int64_t begin, int64_t end) { kernel_set(is_bf16(x)).layer_norm_backward(args, begin, end); });
  out.weight = add_partials(partial.get(), chunks, 3 * dim, 0, dim);
  out.bias = add_partials(partial.get(), chunks, 3 * dim, dim, dim);
  out.column_sums = add_partials(partial.get(), chunks, 3 * dim, 2 * dim, dim);
  return out;
}

Scaled run_scale_rows(const at::Tensor& x, const at::Tensor& scale, int64_t rows_per_scale) {
  const ProfileScope scope(Phase::kRowSums);
  const int64_t dim = x.size(-1), rows = dim ? x.numel() / dim : 0, chunks = row_chunks(rows);
  Scaled out{scale.defined() ? empty_as(x, x.sizes()) : x, {}};
  PooledFloats partial(chunks * dim);
  const ScaleRows args{
      x.const_data_ptr(), floats_or_null(scale), rows_per_scale, scale.defined() ? out.x.data_ptr() : nullptr, partial.get(), rows, dim};
  for_row_chunks(rows, [&](int64_t begin, int64_t end) { kernel_set(is_bf16(x)).scale_rows(args, begin, end); });
  out.column_sums = add_partials(partial.get(), chunks, dim, 0, dim);
  return out;
}

namespace {

class LayerNormFunction : public torch::autograd::Function<LayerNormFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& input, const at::Tensor& weight,
                            const at::Tensor& bias, double eps) {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    const at::Tensor x = input.contiguous();
    const Norm norm = run_layer_norm(x, weight, bias, eps);
    ctx->save_for_backward({x, weight, norm.mean, norm.rstd});
    return norm.y;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, torch::autograd::variable_list grads) {
    refuse_second_derivative();
    const auto saved = ctx->get_saved_variables();
    const NormGrads g = run_layer_norm_backward(grads[0].contiguous(), saved[0], saved[2], saved[3], saved[1], {}, {}, 1);
    const auto type = saved[1].scalar_type();
    return {g.x, g.weight.to(type), g.bias.to(type), at::Tensor()};
  }
};

}  // namespace

at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double eps) {
  return LayerNormFunction::apply(x, weight, bias, eps);
}

}  // namespace dinoxx::ops::cpu
