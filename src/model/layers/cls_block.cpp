#include "cls_block.hpp"

#include <ATen/ATen.h>

namespace dinoxx {
namespace {

/// x + scale * branch, rows [B, D], scale [B] or undefined.
at::Tensor add_scaled(const at::Tensor& x, const at::Tensor& branch, const at::Tensor& scale) {
  return scale.defined() ? x + branch * scale.to(branch.scalar_type()).unsqueeze(1) : x + branch;
}

}  // namespace

at::Tensor cls_attention(const at::Tensor& h, const at::Tensor& qkv_weight, const at::Tensor& qkv_bias, int heads) {
  const int64_t batch = h.size(0), dim = h.size(2), head_dim = dim / heads;
  const auto rows = [&](const at::Tensor& t, int part) { return t.narrow(0, part * dim, dim); };  // of q, k or v
  const at::Tensor key_weight = rows(qkv_weight, 1).view({heads, head_dim, dim}),
                   value_weight = rows(qkv_weight, 2).view({heads, head_dim, dim});

  const at::Tensor query =
      ops::linear(h.select(1, 0), rows(qkv_weight, 0), rows(qkv_bias, 0)) * (1.0 / std::sqrt(static_cast<double>(head_dim)));
  const at::Tensor probe = at::bmm(query.view({batch, heads, head_dim}).transpose(0, 1), key_weight);  // [heads, B, D]
  const at::Tensor attention = at::softmax(at::bmm(probe.transpose(0, 1), h.transpose(1, 2)), -1);     // [B, heads, N]
  const at::Tensor mixed = at::bmm(attention, h).transpose(0, 1);                                      // [heads, B, D]
  const at::Tensor value = at::bmm(mixed, value_weight.transpose(1, 2)) + rows(qkv_bias, 2).view({heads, 1, head_dim});
  return value.transpose(0, 1).reshape({batch, dim});
}

at::Tensor cls_block(const at::Tensor& x, const ops::BlockWeights& w, int heads, double eps, const at::Tensor& s1, const at::Tensor& s2) {
  const at::Tensor h = ops::layer_norm(x, w.norm1_weight, w.norm1_bias, eps);
  const at::Tensor mixed = cls_attention(h, w.qkv_weight, w.qkv_bias, heads);
  const at::Tensor y = add_scaled(x.select(1, 0), ops::linear(mixed, w.proj_weight, w.proj_bias), s1);
  const at::Tensor hidden = ops::gelu(ops::linear(ops::layer_norm(y, w.norm2_weight, w.norm2_bias, eps), w.fc1_weight, w.fc1_bias));
  return add_scaled(y, ops::linear(hidden, w.fc2_weight, w.fc2_bias), s2);
}

}  // namespace dinoxx
