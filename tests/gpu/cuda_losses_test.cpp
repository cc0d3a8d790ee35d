// The losses over prototypes on a GPU against ATen's formula in float64 on the CPU, and that they are made without waiting for the GPU.
#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>

#include "dinoxx/comm/self_communicator.hpp"
#include "dinoxx/loss/centre.hpp"
#include "dinoxx/loss/dino_loss.hpp"
#include "dinoxx/loss/koleo.hpp"
#include "dinoxx/loss/patch_loss.hpp"
#include "dinoxx/loss/sinkhorn.hpp"
#include "loss/monitors.hpp"

namespace dinoxx {
namespace {

constexpr double kStudentTemp = 0.1, kTeacherTemp = 0.06, kLocalWeight = 0.7, kDivisor = 7;
const at::Device kGpu(at::kCUDA, 0);

/// In [-1, 1], the same on every machine.
at::Tensor waves(at::IntArrayRef shape, double frequency) {
  return at::sin(at::arange(c10::multiply_integers(shape), at::kDouble) * frequency).view(shape);
}

void expect_figures(LossFigures gpu, const LossFigures& e) {
  EXPECT_TRUE(std::isnan(gpu.value) && std::isnan(gpu.kl)) << "read before it was asked for";
  gpu.read();
  EXPECT_NEAR(gpu.value, e.value, 2e-6 * std::max(1.0, e.value));
  EXPECT_NEAR(gpu.teacher_entropy, e.teacher_entropy, 2e-6 * std::max(1.0, e.teacher_entropy));
  EXPECT_NEAR(gpu.student_entropy, e.student_entropy, 2e-6 * std::max(1.0, e.student_entropy));
  EXPECT_NEAR(gpu.kl, e.kl, 2e-6 * std::max(1.0, e.kl));
}

// bf16 rounds each element to 8 significant bits; `weight` is what a probability of 1 weighs
void expect_gradient(const at::Tensor& gpu, const at::Tensor& e, double weight) {
  const double rounding = gpu.scalar_type() == at::kBFloat16 ? 1.0 / 256 : 0;
  const at::Tensor excess = (gpu.cpu().to(at::kDouble) - e).abs() - e.abs() * rounding - weight * 2e-6;
  EXPECT_LE(excess.max().item<double>(), 0);
}

class CudaLosses : public testing::TestWithParam<at::ScalarType> {};
INSTANTIATE_TEST_SUITE_P(, CudaLosses, testing::Values(at::kFloat, at::kBFloat16), testing::PrintToStringParamName());

// 4103 is no multiple of what the kernels read at a time: ATen's operators
TEST_P(CudaLosses, Dino) {
  for (const int64_t dim : {8, 4104, 65536, 4103}) {
    SCOPED_TRACE(dim);
    const at::Tensor student = waves({6, 5, dim}, 0.73).to(GetParam()), teacher = waves({2, 5, dim}, 0.51).to(GetParam());
    const at::Tensor centre = waves({dim}, 0.3).mul_(0.2).to(at::kFloat);
    const at::Tensor exact = student.to(at::kDouble).requires_grad_(), on_gpu = student.to(kGpu).requires_grad_();
    const DinoLossResult e = dino_loss(exact, teacher.to(at::kDouble), centre.to(at::kDouble), kStudentTemp, kTeacherTemp, kLocalWeight);
    const DinoLossResult r = dino_loss(on_gpu, teacher.to(kGpu), centre.to(kGpu), kStudentTemp, kTeacherTemp, kLocalWeight);
    expect_figures(r, e);
    (e.loss * 3).backward();
    (r.loss * 3).backward();
    expect_gradient(on_gpu.grad(), exact.grad(), 3 * 2 / (2 * 5 * 5 * kStudentTemp));
  }
}

TEST_P(CudaLosses, Patches) {
  for (const int64_t dim : {8, 4104, 65536, 4103}) {
    SCOPED_TRACE(dim);
    const at::Tensor student = waves({300, dim}, 0.73).to(GetParam()), teacher = waves({300, dim}, 0.51).to(GetParam());
    const at::Tensor centre = waves({dim}, 0.3).mul_(0.2).to(at::kFloat), weight = waves({300}, 0.9).add_(1.5);
    const at::Tensor exact = student.to(at::kDouble).requires_grad_(), on_gpu = student.to(kGpu).requires_grad_();
    const PatchLossResult e =
        patch_loss(exact, teacher.to(at::kDouble), centre.to(at::kDouble), weight, kStudentTemp, kTeacherTemp, kDivisor);
    const PatchLossResult r = patch_loss(on_gpu, teacher.to(kGpu), centre.to(kGpu), weight, kStudentTemp, kTeacherTemp, kDivisor);
    expect_figures(r, e);
    e.loss.backward();
    r.loss.backward();
    expect_gradient(on_gpu.grad(), exact.grad(), 2.5 / (kDivisor * kStudentTemp));
  }
}

TEST_P(CudaLosses, CentresAndUsage) {
  const auto self = make_self_communicator();
  for (const int64_t dim : {24, 8192, 4103}) {
    SCOPED_TRACE(dim);
    const at::Tensor logits = waves({700, dim}, 0.73).to(GetParam()), exact = logits.to(at::kDouble), on_gpu = logits.to(kGpu);
    const at::Tensor centre = sinkhorn_centre(on_gpu, kTeacherTemp, 3, *self).cpu();
    const at::Tensor e = sinkhorn_centre(exact, kTeacherTemp, 3, *self);
    EXPECT_LE((centre.to(at::kDouble) - e).abs().max().item<double>(), 2e-6);
    const at::Tensor slots = at::arange(700).div(9, "floor");
    const CentreSum sum = centre_sum_by_group(on_gpu, slots, 4), exact_sum = centre_sum_by_group(exact, slots, 4);
    EXPECT_EQ(sum.rows, exact_sum.rows);
    EXPECT_LE((sum.sum.cpu().to(at::kDouble) - exact_sum.sum).abs().max().item<double>(), 1e-5);
    const PrototypeUsage usage = prototype_usage(on_gpu, centre.to(kGpu), kTeacherTemp),
                         exact_usage = prototype_usage(exact, e, kTeacherTemp);
    EXPECT_NEAR(usage.perplexity, exact_usage.perplexity, 1e-4 * exact_usage.perplexity);
    EXPECT_NEAR(usage.used, exact_usage.used, 2.0 / static_cast<double>(dim));  // near equals may change places
  }
}

TEST_P(CudaLosses, Koleo) {
  const at::Tensor features = waves({64, 384}, 0.73).to(GetParam());
  const at::Tensor exact = features.to(at::kDouble).requires_grad_(), on_gpu = features.to(kGpu).requires_grad_();
  for (const int64_t group : {16, 64}) {
    const at::Tensor e = koleo_loss(exact, group, 2, nullptr), loss = koleo_loss(on_gpu, group, 2, nullptr);
    EXPECT_NEAR(loss.item<double>(), e.item<double>(), 1e-5);
    const at::Tensor by_formula = torch::autograd::grad({e * 3}, {exact})[0], by_kernels = torch::autograd::grad({loss * 3}, {on_gpu})[0];
    expect_gradient(by_kernels, by_formula, 5 * by_formula.abs().max().item<double>());
  }
}

TEST_P(CudaLosses, TheSameBitsAgain) {
  const at::Tensor student = waves({6, 5, 4104}, 0.73).to(kGpu, GetParam()).requires_grad_(),
                   teacher = waves({2, 5, 4104}, 0.51).to(kGpu, GetParam());
  const at::Tensor centre = at::zeros({4104}, kGpu);
  const at::Tensor first = dino_loss(student, teacher, centre, kStudentTemp, kTeacherTemp).figures;
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(at::equal(first, dino_loss(student, teacher, centre, kStudentTemp, kTeacherTemp).figures));
}

TEST_P(CudaLosses, NaN) {
  at::Tensor student = waves({3, 2, 64}, 0.73).to(kGpu, GetParam());
  const at::Tensor teacher = waves({2, 2, 64}, 0.51).to(kGpu, GetParam()), centre = at::zeros({64}, kGpu);
  student[2][1][9] = std::nan("");
  EXPECT_TRUE(std::isnan(dino_loss(student, teacher, centre, kStudentTemp, kTeacherTemp).loss.item<double>()));
}

TEST(CudaLossesOnce, ASecondBackwardIsRefused) {
  const at::Tensor student = at::zeros({2, 2, 64}, kGpu).requires_grad_(), teacher = at::zeros({2, 2, 64}, kGpu);
  const at::Tensor loss = dino_loss(student, teacher, at::zeros({64}, kGpu), kStudentTemp, kTeacherTemp).loss;
  loss.backward({}, /*retain_graph=*/true);
  EXPECT_THROW(loss.backward(), c10::Error);
}

}  // namespace
}  // namespace dinoxx
