// The CUDA kernels of KoLeo, compiled for the CPU (tests/support/cuda_on_cpu), against ATen's formula in float64.
#include <ATen/ATen.h>
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "dinoxx/loss/koleo.hpp"
#include "golden.hpp"
#include "loss/gpu/koleo_cuda.hpp"

namespace dinoxx {
namespace {

using golden::uniform;

constexpr double kEps = 1e-8, kWeight = 0.7;

/// Loss and gradient of `kWeight` times it.
std::vector<at::Tensor> by_kernels(const at::Tensor& features, int64_t group, int64_t top_k) {
  const loss_cuda::KoleoForward f = loss_cuda::koleo_forward(features, group, top_k, kEps);
  return {f.loss, loss_cuda::koleo_backward(f, group, kEps, at::full({}, kWeight), features.scalar_type()), f.nearest};
}

void expect_equal(const at::Tensor& features, int64_t group, int64_t top_k) {
  cuda_on_cpu::backwards = true;
  const std::vector<at::Tensor> back = by_kernels(features, group, top_k);
  cuda_on_cpu::backwards = false;
  const std::vector<at::Tensor> results = by_kernels(features, group, top_k);
  for (size_t i = 0; i < results.size(); ++i) EXPECT_TRUE(at::equal(results[i], back[i]));
  const at::Tensor exact = features.to(at::kDouble).requires_grad_();
  const at::Tensor loss = koleo_loss(exact, group, top_k, nullptr);
  (loss * kWeight).backward();
  EXPECT_NEAR(results[0].item<double>(), loss.item<double>(), 1e-6 * std::max(1.0, std::abs(loss.item<double>())));
  // relative to the largest; bf16 rounds each element to 8 significant bits
  const at::Tensor& gradient = exact.grad();
  const at::Tensor rounding = gradient.abs() * (features.scalar_type() == at::kBFloat16 ? 1.0 / 256 : 0);
  const at::Tensor excess = (results[1].to(at::kDouble) - gradient).abs() - rounding - gradient.abs().max() * 2e-6;
  EXPECT_LE(excess.max().item<double>(), 0);
}

TEST(CudaKoleo, EqualsTheFormula) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    SCOPED_TRACE(c10::toString(type));
    expect_equal(uniform("features", {12, 40}).to(type), 4, 1);
    expect_equal(uniform("features", {12, 40}).to(type), 12, 5);
    expect_equal(uniform("features", {6, 301}).to(type), 2, 1);  // no multiple of anything
    expect_equal(uniform("features", {7, 3}).to(type), 7, 6);    // all others
  }
  expect_equal(uniform("features", {131, 4}).to(at::kFloat), 131, 2);  // more rows than threads of a block
}

TEST(CudaKoleo, EqualImagesAndAnEmptyOneHaveAFiniteGradient) {
  at::Tensor features = uniform("features", {6, 16}).to(at::kFloat);
  features[2] = features[1].clone();
  features[5].zero_();
  for (const at::Tensor& result : by_kernels(features, 6, 1)) EXPECT_TRUE(result.isfinite().all().item<bool>());
  // the first of equals is the neighbour, and of itself none is
  const at::Tensor nearest = loss_cuda::koleo_forward(at::ones({4, 16}), 4, 2, kEps).nearest;
  EXPECT_TRUE(at::equal(nearest, at::tensor({1, 2, 0, 2, 0, 1, 0, 1}, at::kInt).view({4, 2})));
}

TEST(CudaKoleo, ThroughTheLossItself) {
  const at::Tensor features = uniform("features", {8, 20}).to(at::kBFloat16).requires_grad_();
  cuda_on_cpu::takes_tensors = true;
  const at::Tensor loss = koleo_loss(features, 4, 2, nullptr);
  cuda_on_cpu::takes_tensors = false;
  (loss * kWeight).backward();
  const std::vector<at::Tensor> e = by_kernels(features.detach(), 4, 2);
  EXPECT_TRUE(at::equal(loss.detach(), e[0]));
  EXPECT_TRUE(at::equal(features.grad(), e[1]));
}

TEST(CudaKoleo, NaN) {
  at::Tensor features = uniform("features", {4, 16}).to(at::kFloat);
  features[3][7] = std::numeric_limits<float>::quiet_NaN();
  const std::vector<at::Tensor> results = by_kernels(features, 4, 1);
  EXPECT_TRUE(std::isnan(results[0].item<double>()));
  EXPECT_TRUE(results[1][3].isnan().all().item<bool>());
}

}  // namespace
}  // namespace dinoxx
