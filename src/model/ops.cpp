#include "dinoxx/model/ops.hpp"

#include <ATen/ATen.h>

#include <atomic>

#include "ops_formula.hpp"

namespace dinoxx::ops {
namespace {
std::atomic<bool> fused_on{true};
}

void set_fused(bool on) { fused_on = on; }
bool fused() { return fused_on; }

at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double eps) {
  return formula::layer_norm(x, weight, bias, eps);
}

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) { return formula::linear(x, weight, bias); }

at::Tensor gelu(const at::Tensor& x) { return formula::gelu(x); }

at::Tensor attention(const at::Tensor& qkv, int heads) { return formula::attention(qkv, heads); }

at::Tensor transformer_block(const at::Tensor& x, const BlockWeights& weights, int heads, double eps, const at::Tensor& s1, const at::Tensor& s2) {
  return formula::transformer_block(x, weights, heads, eps, s1, s2);
}

}  // namespace dinoxx::ops
