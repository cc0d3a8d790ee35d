#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include "fused.hpp"

namespace dinoxx::ops::cpu {

void run_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& y, EpilogueArgs out) {
  const int64_t in = weight.size(1), n = weight.size(0), rows = n ? y.numel() / n : 0;
  out.c = y.data_ptr();
  out.ldc = n;
  gemm(is_bf16(x), {rows, n, in, x.const_data_ptr(), in, 1, weight.const_data_ptr(), 1, in, out});
}

void run_linear_input_grad(const at::Tensor& dy, const at::Tensor& weight, const at::Tensor& dx, EpilogueArgs out, float* column_sums) {
  const int64_t in = weight.size(1), n = weight.size(0), rows = in ? dx.numel() / in : 0;
  out.c = dx.data_ptr();
  out.ldc = in;
  gemm(is_bf16(dy), {rows, in, n, dy.const_data_ptr(), n, 1, weight.const_data_ptr(), in, 1, out}, column_sums);
}

at::Tensor run_linear_weight_grad(const at::Tensor& dy, const at::Tensor& x) {
  const int64_t n = dy.size(-1), in = x.size(-1), rows = n ? dy.numel() / n : 0;
  at::Tensor dw = empty_as(x, {n, in});
  EpilogueArgs out;
  out.c = dw.data_ptr();
  out.ldc = in;
  gemm(is_bf16(x), {n, in, rows, dy.const_data_ptr(), 1, n, x.const_data_ptr(), in, 1, out});
  return dw;
}

namespace {

std::vector<int64_t> with_last(const at::Tensor& x, int64_t last) {
  auto sizes = x.sizes().vec();
  sizes.back() = last;
  return sizes;
}

/// dx and dw where wanted, given the gradient before the nonlinearity.
torch::autograd::variable_list linear_grads(torch::autograd::AutogradContext* ctx, const at::Tensor& dy, const at::Tensor& x,
                                            const at::Tensor& weight) {
  const bool has_bias = ctx->saved_data["bias"].toBool();
  torch::autograd::variable_list out(3);
  if (ctx->needs_input_grad(0)) {
    out[0] = empty_as(x, x.sizes());
    run_linear_input_grad(dy, weight, out[0], {});
  }
  if (ctx->needs_input_grad(1)) out[1] = run_linear_weight_grad(dy, x);
  if (has_bias && ctx->needs_input_grad(2)) out[2] = run_scale_rows(dy, {}, 1).column_sums.to(weight.scalar_type());
  return out;
}

class LinearFunction : public torch::autograd::Function<LinearFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& input, const at::Tensor& weights,
                            const std::optional<at::Tensor>& bias) {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    const at::Tensor x = input.contiguous(), weight = weights.contiguous(), b = as_floats(bias.value_or(at::Tensor()));
    at::Tensor y = empty_as(x, with_last(x, weight.size(0)));
    EpilogueArgs out;
    out.bias = floats_or_null(b);
    run_linear(x, weight, y, out);
    ctx->save_for_backward({x, weight});
    ctx->saved_data["bias"] = b.defined();
    return y;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, torch::autograd::variable_list grads) {
    refuse_second_derivative();
    const auto saved = ctx->get_saved_variables();
    return linear_grads(ctx, grads[0].contiguous(), saved[0], saved[1]);
  }
};

/// gelu(x W^T + b); the derivative of the nonlinearity is computed with its value, because both need the same exp.
class LinearGeluFunction : public torch::autograd::Function<LinearGeluFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& input, const at::Tensor& weights,
                            const std::optional<at::Tensor>& bias, bool training) {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    const at::Tensor x = input.contiguous(), weight = weights.contiguous(), b = as_floats(bias.value_or(at::Tensor()));
    at::Tensor y = empty_as(x, with_last(x, weight.size(0)));
    const at::Tensor derivative = training ? empty_as(y, y.sizes()) : at::Tensor();
    EpilogueArgs out;
    out.kind = Epilogue::kGelu;
    out.bias = floats_or_null(b);
    out.aux = training ? derivative.data_ptr() : nullptr;
    run_linear(x, weight, y, out);
    if (training) ctx->save_for_backward({x, weight, derivative});
    ctx->saved_data["bias"] = b.defined();
    return y;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, torch::autograd::variable_list grads) {
    refuse_second_derivative();
    const auto saved = ctx->get_saved_variables();
    at::Tensor du = empty_as(saved[2], saved[2].sizes());
    at::mul_out(du, grads[0], saved[2]);
    auto out = linear_grads(ctx, du, saved[0], saved[1]);
    out.emplace_back();
    return out;
  }
};

class GeluFunction : public torch::autograd::Function<GeluFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& input) {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    const at::Tensor x = input.contiguous();
    at::Tensor y = empty_as(x, x.sizes());
    over(x, [&](int64_t begin, int64_t n) { kernel_set(is_bf16(x)).gelu(at_element(x, begin), at_element(y, begin), n); });
    ctx->save_for_backward({x});
    return y;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, torch::autograd::variable_list grads) {
    refuse_second_derivative();
    const at::Tensor x = ctx->get_saved_variables()[0], dy = grads[0].contiguous();
    at::Tensor dx = empty_as(x, x.sizes());
    over(x, [&](int64_t begin, int64_t n) {
      kernel_set(is_bf16(x)).gelu_backward(at_element(dy, begin), at_element(x, begin), at_element(dx, begin), n);
    });
    return {dx};
  }

 private:
  static void* at_element(const at::Tensor& t, int64_t i) { return static_cast<char*>(t.data_ptr()) + i * t.element_size(); }
  template <class F>
  static void over(const at::Tensor& x, const F& f) {
    at::parallel_for(0, x.numel(), 16384, [&](int64_t begin, int64_t end) { f(begin, end - begin); });
  }
};

}  // namespace

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  return LinearFunction::apply(x, weight, maybe(bias));
}

at::Tensor linear_gelu(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const bool training =
      at::GradMode::is_enabled() && (x.requires_grad() || weight.requires_grad() || (bias.defined() && bias.requires_grad()));
  return LinearGeluFunction::apply(x, weight, maybe(bias), training);
}

at::Tensor gelu(const at::Tensor& x) {
  return GeluFunction::apply(x);
}

}  // namespace dinoxx::ops::cpu
