#pragma once
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <functional>
#include <vector>

#include "ops/ops.hpp"

namespace dinoxx::test {

using Tensors = std::vector<at::Tensor>;
/// A differentiable function of tensors, some of which may be undefined.
using Operation = std::function<at::Tensor(const Tensors&)>;

/// Numbers that are a function of the seed alone.
inline at::Tensor normal(at::IntArrayRef sizes, uint64_t seed, double scale = 1.0) {
  const auto generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  return at::randn(sizes, generator, at::kDouble) * scale;
}

/// Output, then the gradients of sum(output * weights) for each defined input, computed in `type`.
inline Tensors run_with_grads(const Operation& f, const Tensors& inputs, at::ScalarType type, bool fused) {
  ops::set_fused(fused);
  Tensors leaves;
  for (const auto& t : inputs) leaves.push_back(t.defined() ? t.to(type).clone().requires_grad_(true) : t);
  const at::Tensor out = f(leaves);
  const at::Tensor weights = normal(out.sizes(), 99).to(type);
  (out * weights).sum().backward();
  ops::set_fused(true);
  Tensors results{out.detach().to(at::kDouble)};
  for (const auto& t : leaves)
    if (t.defined()) results.push_back(t.grad().to(at::kDouble));
  return results;
}

inline double largest(const at::Tensor& t) {
  return t.numel() ? t.abs().max().item<double>() : 0.0;
}
inline double rms(const at::Tensor& t) {
  return t.numel() ? t.square().mean().sqrt().item<double>() : 0.0;
}

/// float32: the fused result within 1e-5 of the float64 formula, relative to the largest element.
/// bfloat16: its root mean square error against float64 at most 1.5 times that of the ATen formula in bfloat16 (plus rounding of exactly
/// representable results).
inline void compare(const Operation& f, const Tensors& inputs) {
  const Tensors exact = run_with_grads(f, inputs, at::kDouble, false), single = run_with_grads(f, inputs, at::kFloat, true);
  for (size_t i = 0; i < exact.size(); ++i) {
    const double scale = largest(exact[i]);
    EXPECT_LE(largest(single[i] - exact[i]), 1e-5 * scale + 1e-7) << "float32, result " << i << " (0 is the output)";
  }
  Tensors rounded;
  for (const auto& t : inputs) rounded.push_back(t.defined() ? t.to(at::kBFloat16).to(at::kDouble) : t);
  const Tensors exact_of_rounded = run_with_grads(f, rounded, at::kDouble, false),
                formula = run_with_grads(f, rounded, at::kBFloat16, false), fused = run_with_grads(f, rounded, at::kBFloat16, true);
  for (size_t i = 0; i < exact.size(); ++i) {
    const double ours = rms(fused[i] - exact_of_rounded[i]), theirs = rms(formula[i] - exact_of_rounded[i]);
    EXPECT_LE(ours, 1.5 * theirs + 1e-4 * rms(exact_of_rounded[i])) << "bfloat16, result " << i << " (0 is the output)";
    EXPECT_LE(ours, 0.05 * rms(exact_of_rounded[i]) + 1e-7) << "bfloat16, result " << i;
  }
}

/// Two runs give the same bits.
inline void expect_deterministic(const Operation& f, const Tensors& inputs, at::ScalarType type) {
  const Tensors first = run_with_grads(f, inputs, type, true), second = run_with_grads(f, inputs, type, true);
  for (size_t i = 0; i < first.size(); ++i) EXPECT_TRUE(at::equal(first[i], second[i])) << "result " << i;
}

}  // namespace dinoxx::test
