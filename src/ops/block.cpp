// One pre-norm transformer block as a single autograd node: 4 matrix products forward and 8 backward with everything else fused into them
// or into five passes over the activations. The gradients are written out below in the order in which they are computed.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "fused.hpp"

namespace dinoxx::ops::cpu {
namespace {

/// Inputs of the node in order; also the order of the gradients that it returns.
enum Input { kX, kNorm1W, kNorm1B, kQkvW, kQkvB, kProjW, kProjB, kNorm2W, kNorm2B, kFc1W, kFc1B, kFc2W, kFc2B, kS1, kS2, kInputs };

/// What the backward pass needs beside x and the weights.
struct Activations {
  at::Tensor h1, mean1, rstd1;  ///< norm1(x)
  at::Tensor qkv, mixed;        ///< attention input and output
  at::Tensor y;                 ///< x + s1 * proj(mixed)
  at::Tensor h2, mean2, rstd2;  ///< norm2(y)
  at::Tensor hidden, slope;     ///< gelu(u) and gelu'(u), u = fc1(h2)
};

/// x + s * (input W^T + b)
at::Tensor residual_linear(const at::Tensor& x, const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias,
                           const at::Tensor& scale) {
  at::Tensor out = empty_as(x, x.sizes());
  const at::Tensor b = as_floats(bias);
  EpilogueArgs e;
  e.kind = Epilogue::kResidual;
  e.bias = floats_or_null(b);
  e.residual = x.const_data_ptr();
  e.scale = floats_or_null(scale);
  e.rows_per_scale = x.size(1);
  run_linear(input, weight, out, e);
  return out;
}

/// a.qkv and a.mixed of a.h1.
void run_attention_part(const std::array<at::Tensor, kInputs>& in, int64_t heads, Activations& a) {
  a.qkv = empty_as(a.h1, {a.h1.size(0), a.h1.size(1), 3 * a.h1.size(2)});
  const at::Tensor qkv_bias = as_floats(in[kQkvB]);
  EpilogueArgs plain;
  plain.bias = floats_or_null(qkv_bias);
  run_linear(a.h1, in[kQkvW], a.qkv, plain);
  a.mixed = run_attention(a.qkv, heads);
}

/// in: contiguous tensors; s1, s2 float or undefined.
at::Tensor block_forward(const std::array<at::Tensor, kInputs>& in, int64_t heads, double eps, bool training, Activations& a) {
  const at::Tensor& x = in[kX];
  const int64_t batch = x.size(0), tokens = x.size(1);
  Norm norm = run_layer_norm(x, in[kNorm1W], in[kNorm1B], eps);
  a.h1 = norm.y, a.mean1 = norm.mean, a.rstd1 = norm.rstd;

  run_attention_part(in, heads, a);
  a.y = residual_linear(x, a.mixed, in[kProjW], in[kProjB], in[kS1]);

  norm = run_layer_norm(a.y, in[kNorm2W], in[kNorm2B], eps);
  a.h2 = norm.y, a.mean2 = norm.mean, a.rstd2 = norm.rstd;
  const at::Tensor fc1_bias = as_floats(in[kFc1B]);
  a.hidden = empty_as(x, {batch, tokens, in[kFc1W].size(0)});
  EpilogueArgs gelu;
  gelu.kind = Epilogue::kGelu;
  gelu.bias = floats_or_null(fc1_bias);
  if (training) {
    a.slope = empty_as(x, a.hidden.sizes());
    gelu.aux = a.slope.data_ptr();
  }
  run_linear(a.h2, in[kFc1W], a.hidden, gelu);
  return residual_linear(a.y, a.hidden, in[kFc2W], in[kFc2B], in[kS2]);
}

class BlockFunction : public torch::autograd::Function<BlockFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x, const at::Tensor& norm1_w,
                            const at::Tensor& norm1_b, const at::Tensor& qkv_w, const at::Tensor& qkv_b, const at::Tensor& proj_w,
                            const at::Tensor& proj_b, const at::Tensor& norm2_w, const at::Tensor& norm2_b, const at::Tensor& fc1_w,
                            const at::Tensor& fc1_b, const at::Tensor& fc2_w, const at::Tensor& fc2_b, const std::optional<at::Tensor>& s1,
                            const std::optional<at::Tensor>& s2, int64_t heads, double eps, bool training, bool attention_again) {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    std::array<at::Tensor, kInputs> in{x,
                                       norm1_w,
                                       norm1_b,
                                       qkv_w,
                                       qkv_b,
                                       proj_w,
                                       proj_b,
                                       norm2_w,
                                       norm2_b,
                                       fc1_w,
                                       fc1_b,
                                       fc2_w,
                                       fc2_b,
                                       as_floats(s1.value_or(at::Tensor())),
                                       as_floats(s2.value_or(at::Tensor()))};
    for (auto& t : in)
      if (t.defined()) t = t.contiguous();
    Activations a;
    at::Tensor out = block_forward(in, heads, eps, training, a);
    if (training) {
      if (attention_again) a.qkv = a.mixed = at::Tensor();
      ctx->save_for_backward(
          {in[kX],  in[kNorm1W], in[kQkvW], in[kProjW], in[kNorm2W], in[kFc1W], in[kFc2W],
           in[kS1], in[kS2],     a.h1,      a.mean1,    a.rstd1,     a.qkv,     a.mixed,
           a.y,     a.h2,        a.mean2,   a.rstd2,    a.hidden,    a.slope,   attention_again ? in[kQkvB] : at::Tensor()});
      ctx->saved_data["heads"] = heads;
    }
    return out;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, torch::autograd::variable_list grads) {
    refuse_second_derivative();
    auto saved = ctx->get_saved_variables();
    auto next = saved.begin();
    const auto take = [&] { return std::move(*next++); };
    const at::Tensor x = take(), norm1_w = take(), qkv_w = take(), proj_w = take(), norm2_w = take(), fc1_w = take(), fc2_w = take(),
                     s1 = take(), s2 = take(), h1 = take(), mean1 = take(), rstd1 = take();
    at::Tensor qkv = take(), mixed = take();
    const at::Tensor y = take(), h2 = take(), mean2 = take(), rstd2 = take(), hidden = take(), slope = take(), qkv_bias = take();
    const int64_t tokens = x.size(1), heads = ctx->saved_data["heads"].toInt();
    const auto type = x.scalar_type();
    const at::Tensor dz = grads[0].contiguous();
    torch::autograd::variable_list g(kInputs + 4);
    // the product that a frozen weight does not need
    const auto weight_grad = [&](Input weight, const at::Tensor& dy, const at::Tensor& input) {
      return ctx->needs_input_grad(weight) ? run_linear_weight_grad(dy, input) : at::Tensor();
    };

    // z = y + s2 (hidden fc2^T + b): both products see s2 dz
    const Scaled branch2 = run_scale_rows(dz, s2, tokens);
    g[kFc2B] = branch2.column_sums.to(type);
    g[kFc2W] = weight_grad(kFc2W, branch2.x, hidden);
    at::Tensor du = empty_as(hidden, hidden.sizes()), fc1_bias_grad = at::empty({hidden.size(-1)}, at::kFloat);
    EpilogueArgs through_gelu;
    through_gelu.kind = Epilogue::kMultiply;
    through_gelu.aux = slope.data_ptr();
    run_linear_input_grad(branch2.x, fc2_w, du, through_gelu, fc1_bias_grad.data_ptr<float>());

    // u = h2 fc1^T + b, h2 = norm2(y)
    g[kFc1B] = fc1_bias_grad.to(type);
    g[kFc1W] = weight_grad(kFc1W, du, h2);
    at::Tensor dh2 = empty_as(y, y.sizes());
    run_linear_input_grad(du, fc1_w, dh2, {});
    const NormGrads norm2 = run_layer_norm_backward(dh2, y, mean2, rstd2, norm2_w, dz, s1, tokens);  // norm2.x = dy, norm2.scaled = s1 dy
    g[kNorm2W] = norm2.weight.to(type);
    g[kNorm2B] = norm2.bias.to(type);

    // y = x + s1 (mixed proj^T + b)
    if (!mixed.defined()) {
      std::array<at::Tensor, kInputs> in;
      in[kQkvW] = qkv_w, in[kQkvB] = qkv_bias;
      Activations again;
      again.h1 = h1;
      run_attention_part(in, heads, again);
      qkv = again.qkv, mixed = again.mixed;
    }
    g[kProjB] = norm2.column_sums.to(type);
    g[kProjW] = weight_grad(kProjW, norm2.scaled, mixed);
    at::Tensor dmixed = empty_as(mixed, mixed.sizes());
    run_linear_input_grad(norm2.scaled, proj_w, dmixed, {});
    const Scaled dqkv = run_attention_backward(qkv, dmixed, heads);

    // qkv = h1 qkv^T + b, h1 = norm1(x)
    g[kQkvB] = dqkv.column_sums.to(type);
    g[kQkvW] = weight_grad(kQkvW, dqkv.x, h1);
    at::Tensor dh1 = empty_as(x, x.sizes());
    run_linear_input_grad(dqkv.x, qkv_w, dh1, {});
    const NormGrads norm1 = run_layer_norm_backward(dh1, x, mean1, rstd1, norm1_w, norm2.x, {}, 1);
    g[kNorm1W] = norm1.weight.to(type);
    g[kNorm1B] = norm1.bias.to(type);
    g[kX] = norm1.x;
    return g;
  }
};

}  // namespace

at::Tensor transformer_block(const at::Tensor& x, const BlockWeights& w, int heads, double eps, const at::Tensor& s1, const at::Tensor& s2,
                             bool attention_again) {
  bool training = x.requires_grad();
  for (const at::Tensor* t : {&w.norm1_weight, &w.norm1_bias, &w.qkv_weight, &w.qkv_bias, &w.proj_weight, &w.proj_bias, &w.norm2_weight,
                              &w.norm2_bias, &w.fc1_weight, &w.fc1_bias, &w.fc2_weight, &w.fc2_bias})
    training |= t->requires_grad();
  training &= at::GradMode::is_enabled();
  return BlockFunction::apply(x, w.norm1_weight, w.norm1_bias, w.qkv_weight, w.qkv_bias, w.proj_weight, w.proj_bias, w.norm2_weight,
                              w.norm2_bias, w.fc1_weight, w.fc1_bias, w.fc2_weight, w.fc2_bias, maybe(s1), maybe(s2), int64_t{heads}, eps,
                              training, attention_again);
}

}  // namespace dinoxx::ops::cpu
