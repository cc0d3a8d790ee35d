// The CUDA kernels of the losses over prototypes, compiled for the CPU (tests/support/cuda_on_cpu), against ATen's formula in float64 and
// the CPU's kernels: values, gradients, columns' sums, what is not finite, and the same bits in both orders of threads.
#include <ATen/ATen.h>
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "dinoxx/comm/self_communicator.hpp"
#include "dinoxx/loss/centre.hpp"
#include "dinoxx/loss/dino_loss.hpp"
#include "dinoxx/loss/patch_loss.hpp"
#include "dinoxx/loss/sinkhorn.hpp"
#include "golden.hpp"
#include "loss/gpu/prototype_cuda.hpp"
#include "loss/gpu/prototype_limits.hpp"
#include "loss/prototypes/column_sums.hpp"
#include "ops/ops.hpp"

namespace dinoxx {
namespace {

using golden::uniform;

constexpr double kStudentTemp = 0.1, kTeacherTemp = 0.05, kLocalWeight = 0.7, kDivisor = 7;
constexpr double kNan = std::numeric_limits<double>::quiet_NaN(), kInfinity = std::numeric_limits<double>::infinity();
constexpr double kFloatBound = 1e-6;     // of what a probability of 1 weighs in a gradient, and of values
constexpr double kBf16Unit = 1.0 / 256;  // rounding to 8 significant bits: relative to each element

// the CPU's kernels are what most tests compare with
const bool cpu_by_itself = [] { return cuda_on_cpu::takes_tensors = false; }();
/// While it lives the losses take the CUDA kernels, as on a GPU.
struct AsOnGpu {
  AsOnGpu() { cuda_on_cpu::takes_tensors = true; }
  AsOnGpu(const AsOnGpu&) = delete;
  AsOnGpu& operator=(const AsOnGpu&) = delete;
  ~AsOnGpu() { cuda_on_cpu::takes_tensors = false; }
};

at::Tensor exact(const at::Tensor& t) {
  return t.detach().to(at::kDouble);
}

void expect_close(const char* what, double a, double e) {
  EXPECT_NEAR(a, e, kFloatBound * std::max(1.0, std::abs(e))) << what;
}

/// figures against the numbers of another way.
void expect_figures(const loss_cuda::LossTensors& cuda, const LossFigures& e) {
  LossFigures a;
  a.set(cuda.figures);
  EXPECT_EQ(a.value, cuda.loss.item<double>());
  expect_close("value", a.value, e.value);
  expect_close("teacher's entropy", a.teacher_entropy, e.teacher_entropy);
  expect_close("student's entropy", a.student_entropy, e.student_entropy);
  expect_close("KL", a.kl, e.kl);
}

/// `weight`, like the gradient or to be broadcast: what a probability of 1 weighs.
void expect_gradient(const at::Tensor& gradient, const at::Tensor& e, const at::Tensor& weight) {
  const at::Tensor rounding = gradient.scalar_type() == at::kBFloat16 ? e.abs() * kBf16Unit : at::zeros_like(e);
  const at::Tensor excess = (exact(gradient) - e).abs() - rounding - weight * kFloatBound;
  EXPECT_LE(excess.max().item<double>(), 0);
}

/// The same bits, whichever thread runs first.
template <class Run>
auto in_both_orders(Run run) {
  cuda_on_cpu::backwards = true;
  const auto back = run();
  cuda_on_cpu::backwards = false;
  const auto results = run();
  for (size_t i = 0; i < results.size(); ++i) EXPECT_TRUE(at::equal(results[i], back[i])) << "result " << i;
  return results;
}

struct Images {
  Images(int64_t views, int64_t teacher_views, int64_t batch, int64_t dim, at::ScalarType type, double size = 1)
      : student((uniform("student", {views, batch, dim}) * size).to(type)),
        teacher((uniform("teacher", {teacher_views, batch, dim}) * size).to(type)),
        centre((uniform("centre", {dim}) * 0.2).to(at::kFloat)) {}
  loss_cuda::LossTensors run(const at::Tensor& grad = {}) const {
    return loss_cuda::dino(student, teacher, centre, {kStudentTemp, kTeacherTemp}, kLocalWeight, grad);
  }
  DinoLossResult other(const at::Tensor& as_student) const {
    const at::ScalarType type = as_student.scalar_type();
    const bool wide = type == at::kDouble;
    return dino_loss(as_student, teacher.to(type), wide ? exact(centre) : centre, kStudentTemp, kTeacherTemp, kLocalWeight);
  }
  at::Tensor student, teacher, centre;
};

void expect_dino(const Images& images) {
  const auto results = in_both_orders([&] {
    const at::Tensor grad = at::full_like(images.student, kNan);  // every element is written
    const auto r = images.run(grad);
    return std::vector<at::Tensor>{r.loss, r.figures, grad};
  });
  const at::Tensor student = exact(images.student).requires_grad_();
  const DinoLossResult e = images.other(student);
  e.loss.backward();
  expect_figures({results[0], results[1]}, e);
  expect_figures({results[0], results[1]}, images.other(images.student));  // the CPU's kernel
  const int64_t views = student.size(0), teachers = images.teacher.size(0);
  const double weight = static_cast<double>(teachers) / static_cast<double>(teachers * (views - 1) * student.size(1)) / kStudentTemp;
  expect_gradient(results[2], student.grad(), at::full({1}, weight, at::kDouble));
}

TEST(CudaDinoLoss, EqualsTheFormulaAndTheCpuKernel) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    SCOPED_TRACE(c10::toString(type));
    expect_dino(Images(4, 2, 3, 520, type));
    expect_dino(Images(2, 2, 1, 8, type));  // fewer columns than threads, no local view, one image
    expect_dino(Images(2, 1, 2, 24, type));
    expect_dino(Images(4, 3, 1, 40, type));
    expect_dino(Images(3, 2, 1, 4104, type));  // a second round of threads, several chunks
  }
}

TEST(CudaDinoLoss, LogitsFarApart) {
  // probabilities of 0 beside 1: bf16 logits and their differences are exact, so that the temperature alone enlarges rounding
  Images images(3, 2, 2, 64, at::kBFloat16, 40);
  images.centre.zero_();
  expect_dino(images);
}

TEST(CudaDinoLoss, WithoutGradientTheSameLoss) {
  const Images images(3, 2, 2, 40, at::kFloat);
  EXPECT_TRUE(at::equal(images.run().figures, images.run(at::empty_like(images.student)).figures));
}

TEST(CudaDinoLoss, WhatIsNotFinite) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16})
    for (const bool of_teacher : {false, true})
      for (const double bad : {kNan, kInfinity, -kInfinity}) {
        SCOPED_TRACE(fmt::format("{} {} {}", c10::toString(type), of_teacher, bad));
        Images images(2, 2, 2, 32, type);
        (of_teacher ? images.teacher : images.student)[1][0][17] = bad;
        const at::Tensor grad = at::zeros_like(images.student);
        const double loss = images.run(grad).loss.item<double>();
        EXPECT_TRUE(!std::isnan(bad) || std::isnan(loss)) << loss;
        if (of_teacher && bad == -kInfinity)
          expect_figures(images.run(), images.other(exact(images.student)));  // a probability of 0
        else
          EXPECT_FALSE(std::isfinite(loss)) << loss;
        EXPECT_TRUE(!std::isnan(bad) || grad.isnan().any().item<bool>());
      }
  Images images(2, 2, 2, 32, at::kFloat);
  images.student[0][1].fill_(-kInfinity);
  EXPECT_FALSE(std::isfinite(images.run().loss.item<double>()));
}

struct Patches {
  Patches(int64_t rows, int64_t dim, at::ScalarType type)
      : student(uniform("student", {rows, dim}).to(type)),
        teacher(uniform("teacher", {rows, dim}).to(type)),
        centre((uniform("centre", {dim}) * 0.2).to(at::kFloat)),
        weight(uniform("weight", {rows}).add_(1.5).to(at::kFloat)) {}
  loss_cuda::LossTensors run(const at::Tensor& grad = {}) const {
    return loss_cuda::patch(student, teacher, centre, weight, {kStudentTemp, kTeacherTemp}, kDivisor, grad);
  }
  PatchLossResult other(const at::Tensor& as_student) const {
    const at::ScalarType type = as_student.scalar_type(), wide = type == at::kDouble ? at::kDouble : at::kFloat;
    return patch_loss(as_student, teacher.to(type), centre.to(wide), weight.to(wide), kStudentTemp, kTeacherTemp, kDivisor);
  }
  at::Tensor student, teacher, centre, weight;
};

TEST(CudaPatchLoss, EqualsTheFormulaAndTheCpuKernel) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16})
    for (const auto& [rows, dim] : {std::pair{7, 520}, {1, 8}, {3, 24}, {2, 4104}, {1, 8200}}) {
      SCOPED_TRACE(fmt::format("{} [{}, {}]", c10::toString(type), rows, dim));
      const Patches patches(rows, dim, type);
      const auto results = in_both_orders([&] {
        const at::Tensor grad = at::full_like(patches.student, kNan);
        const auto r = patches.run(grad);
        return std::vector<at::Tensor>{r.loss, r.figures, grad};
      });
      const at::Tensor student = exact(patches.student).requires_grad_();
      const PatchLossResult e = patches.other(student);
      e.loss.backward();
      expect_figures({results[0], results[1]}, e);
      expect_figures({results[0], results[1]}, patches.other(patches.student));
      expect_gradient(results[2], student.grad(), exact(patches.weight).unsqueeze(1) / (kDivisor * kStudentTemp));
    }
}

TEST(CudaPatchLoss, ManyRowsInOneReduction) {
  const Patches patches(300, 8, at::kBFloat16);  // more rows than threads add them up
  expect_figures(patches.run(), patches.other(exact(patches.student)));
}

TEST(CudaPatchLoss, NoRows) {
  const Patches patches(0, 16, at::kFloat);
  const auto r = patches.run(at::empty_like(patches.student));
  EXPECT_EQ(r.loss.item<float>(), 0);
  EXPECT_TRUE(at::equal(r.figures, at::zeros({loss_cuda::kFigures}, at::kDouble)));
}

TEST(CudaPatchLoss, WhatIsNotFinite) {
  for (const double bad : {kNan, kInfinity}) {
    Patches patches(3, 16, at::kBFloat16);
    patches.student[2][3] = bad;
    EXPECT_FALSE(std::isfinite(patches.run().loss.item<double>()));
    patches = Patches(3, 16, at::kBFloat16);
    patches.teacher[0][15] = bad;
    EXPECT_FALSE(std::isfinite(patches.run().loss.item<double>()));
  }
  Patches patches(3, 16, at::kFloat);
  patches.student[1][4] = kNan;
  const at::Tensor grad = at::empty_like(patches.student);
  EXPECT_TRUE(std::isnan(patches.run(grad).loss.item<double>()));
  EXPECT_TRUE(grad[1].isnan().all().item<bool>());
  EXPECT_TRUE(grad[0].isfinite().all().item<bool>());  // its own row alone
}

/// Relative to the largest of a row of sums.
void expect_sums(const at::Tensor& sums, const at::Tensor& e) {
  EXPECT_LE((exact(sums) - e).abs().max().item<double>(), 2 * kFloatBound * e.abs().max().item<double>());
}

TEST(CudaColumnSums, EqualTheFormula) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16})
    for (const auto& shape : {std::pair{1, 8}, {16, 24}, {17, 40}, {5, 4104}, {70, 16}}) {
      const int rows = shape.first, dim = shape.second;
      SCOPED_TRACE(fmt::format("{} [{}, {}]", c10::toString(type), rows, dim));
      const at::Tensor logits = uniform("logits", {rows, dim}).to(type), centre = (uniform("centre", {dim}) * 0.2).to(at::kFloat);
      const at::Tensor weight = uniform("weight", {rows}).to(at::kFloat);
      const auto results = in_both_orders([&] {
        const auto [top, sums] = loss_cuda::log_sum_exp(logits, kTeacherTemp);
        const at::Tensor is_top = at::zeros({dim}, at::kByte);
        return std::vector<at::Tensor>{top,
                                       sums,
                                       loss_cuda::softmax_sums(logits, centre, kTeacherTemp, is_top),
                                       is_top,
                                       loss_cuda::softmax_sums(logits, centre, kTeacherTemp, {}),
                                       loss_cuda::weighted_sums(logits, weight)};
      });
      const at::Tensor x = exact(logits);
      // the temperature enlarges the rounding of a float32 top
      EXPECT_LE((exact(results[0]) + exact(results[1]).log() - at::logsumexp(x / kTeacherTemp, 0)).abs().max().item<double>(),
                kFloatBound / kTeacherTemp);
      const at::Tensor is_top = at::zeros({dim}, at::kByte);
      expect_sums(results[2], loss_columns::softmax_sums(x, exact(centre), kTeacherTemp, is_top));
      EXPECT_TRUE(at::equal(results[2], results[4]));
      EXPECT_TRUE(at::equal(results[3], is_top));
      expect_sums(results[5], at::mv(x.t(), exact(weight)));
    }
}

TEST(CudaColumnSums, TheFirstOfEquals) {
  at::Tensor logits = at::zeros({2, 2064}, at::kFloat);  // equals in one vector, in several threads, and in a second round of threads
  for (const int64_t j : {7, 6, 900, 2060}) logits[0][j] = 3;
  const at::Tensor is_top = at::zeros({2064}, at::kByte);
  loss_cuda::softmax_sums(logits, at::zeros({2064}, at::kFloat), 0.1, is_top);
  at::Tensor e = at::zeros({2064}, at::kByte);
  e[6] = e[0] = 1;  // the second row is all equal
  EXPECT_TRUE(at::equal(is_top, e));
}

TEST(CudaColumnSums, WhatIsNotFinite) {
  at::Tensor logits = uniform("logits", {5, 16}).to(at::kFloat);
  logits[3][2] = kNan;
  const at::Tensor sums = loss_cuda::log_sum_exp(logits, 0.1).second, nan = sums.isnan();
  EXPECT_TRUE(nan[2].item<bool>());
  EXPECT_EQ(nan.sum().item<int64_t>(), 1);
  EXPECT_TRUE(loss_cuda::softmax_sums(logits, at::zeros({16}), 0.1, {}).isnan().all().item<bool>());
  // -infinity in all rows: the column has no mass
  logits = uniform("logits", {5, 16}).to(at::kFloat);
  logits.select(1, 4).fill_(-kInfinity);
  const auto [top, mass] = loss_cuda::log_sum_exp(logits, 0.1);
  EXPECT_EQ(mass[4].item<float>(), 0);
  EXPECT_TRUE(top.isfinite().all().item<bool>());
  EXPECT_EQ(loss_cuda::softmax_sums(logits, at::zeros({16}), 0.1, {})[4].item<float>(), 0);
}

TEST(CudaSinkhorn, CentreOfTheFormula) {
  const auto self = make_self_communicator();
  const double temp = 0.06;
  const at::Tensor logits = uniform("logits", {33, 24}).to(at::kBFloat16);
  auto [top, sums] = loss_cuda::log_sum_exp(logits, temp);
  const at::Tensor own_top = top.clone();
  top.add_(0.5);  // as if another rank had the maximum and no mass
  loss_cuda::rescale(sums, own_top, top);
  at::Tensor centre = loss_cuda::first_centre(top, sums, temp);
  for (int i = 1; i < 3; ++i) {
    sums = loss_cuda::softmax_sums(logits, centre, temp, {});
    loss_cuda::next_centre(centre, sums, temp);
  }
  EXPECT_LE((exact(centre) - sinkhorn_centre(exact(logits), temp, 3, *self)).abs().max().item<double>(), kFloatBound);
  // no samples
  sums = at::zeros({24});
  EXPECT_TRUE(at::equal(loss_cuda::first_centre(top, sums, temp), sums));
  const at::Tensor before = centre.clone();
  loss_cuda::next_centre(centre, sums, temp);
  EXPECT_TRUE(at::equal(centre, before));
}

TEST(CudaLosses, ThroughTheLossesThemselves) {
  const Images images(3, 2, 2, 40, at::kBFloat16);
  const Patches patches(5, 24, at::kFloat);
  for (const double weight : {1.0, 0.3}) {
    const AsOnGpu as_on_gpu;
    const at::Tensor student = images.student.clone().requires_grad_(), patch_student = patches.student.clone().requires_grad_();
    const DinoLossResult r = images.other(student);
    const PatchLossResult p = patches.other(patch_student);
    const at::Tensor grad = at::empty_like(images.student), patch_grad = at::empty_like(patches.student);
    EXPECT_TRUE(at::equal(r.figures, images.run(grad).figures));
    EXPECT_TRUE(at::equal(p.figures, patches.run(patch_grad).figures));
    const at::Tensor sum = r.loss + p.loss * weight;
    sum.backward({}, /*retain_graph=*/true);
    EXPECT_TRUE(at::equal(student.grad(), grad));
    EXPECT_TRUE(at::equal(patch_student.grad(), patch_grad * weight));
    EXPECT_THROW(sum.backward(), c10::Error);  // the gradient was scaled in its place
  }
}

TEST(CudaLosses, ThroughCentres) {
  const auto self = make_self_communicator();
  const at::Tensor logits = uniform("logits", {33, 24}).to(at::kBFloat16), slots = at::arange(33).div(5, "floor");
  const at::Tensor e = sinkhorn_centre(exact(logits), 0.06, 3, *self), sum = centre_sum_by_group(exact(logits), slots, 2).sum;
  const AsOnGpu as_on_gpu;
  const at::Tensor centre = sinkhorn_centre(logits, 0.06, 3, *self);
  EXPECT_LE((exact(centre) - e).abs().max().item<double>(), kFloatBound);
  EXPECT_LE((exact(centre_sum_by_group(logits, slots, 2).sum) - sum).abs().max().item<double>(), kFloatBound);
  EXPECT_TRUE(at::equal(loss_columns::softmax_sums(logits, centre, 0.1), loss_cuda::softmax_sums(logits, centre, 0.1, {})));
  // no rows; prototypes that are no multiple of 16 bytes
  EXPECT_TRUE(at::equal(sinkhorn_centre(logits.narrow(0, 0, 0), 0.06, 3, *self), at::zeros({24})));
  EXPECT_TRUE(loss_columns::softmax_sums(at::zeros({4, 5}), at::zeros({5}), 1).isfinite().all().item<bool>());
}

TEST(CudaLosses, GradientTimesWeight) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16})
    for (const float weight : {1.0F, 0.3F, 0.0F}) {
      const at::Tensor gradient = uniform("gradient", {1100, 1000}).to(type);
      at::Tensor scaled = gradient.clone();
      loss_cuda::scale(scaled, at::full({}, weight));
      EXPECT_TRUE(at::equal(scaled, gradient * weight));
      EXPECT_TRUE(at::equal(loss_cuda::scaled(gradient, at::full({}, weight)), gradient * weight));
    }
  loss_cuda::scale(at::zeros({0, 8}), at::full({}, 2.0F));
}

TEST(CudaLosses, WhichTensorsTheyTake) {
  const at::Tensor logits = at::zeros({3, 16}, at::kBFloat16), centre = at::zeros({16});
  EXPECT_TRUE(loss_cuda::fits({logits, logits}, centre));
  EXPECT_TRUE(loss_cuda::fits({at::zeros({2, 3, 4})}));
  EXPECT_TRUE(loss_cuda::fits({at::zeros({0, 16})}, centre));
  EXPECT_FALSE(loss_cuda::takes({logits}, centre));  // not on a GPU
  const AsOnGpu as_on_gpu;
  EXPECT_TRUE(loss_cuda::takes({logits}, centre));
  EXPECT_FALSE(loss_cuda::takes({at::zeros({3, 6})}));
  ops::set_fused(false);
  EXPECT_FALSE(loss_cuda::takes({logits}, centre));
  ops::set_fused(true);
  EXPECT_FALSE(loss_cuda::fits({at::zeros({3, 12}, at::kBFloat16)}));
  EXPECT_FALSE(loss_cuda::fits({at::zeros({3, 6})}));
  EXPECT_FALSE(loss_cuda::fits({logits, logits.to(at::kFloat)}, centre));
  EXPECT_FALSE(loss_cuda::fits({logits.to(at::kDouble)}));
  EXPECT_FALSE(loss_cuda::fits({logits.to(at::kHalf)}));
  EXPECT_FALSE(loss_cuda::fits({logits}, centre.to(at::kDouble)));
  EXPECT_FALSE(loss_cuda::fits({at::zeros({16, 8}).t()}));
  EXPECT_FALSE(loss_cuda::fits({at::zeros({49}, at::kBFloat16).narrow(0, 1, 48).view({3, 16})}));  // not aligned
  EXPECT_FALSE(loss_cuda::fits({logits}, at::zeros({17}).narrow(0, 1, 16)));
  EXPECT_FALSE(loss_cuda::fits({at::empty({1, loss_cuda::kMostPrototypes + 8}, at::kBFloat16)}));
}

TEST(LossFigures, OnTheCpuTheNumbersAreThereAtOnce) {
  const Images images(3, 2, 2, 40, at::kFloat);
  for (const at::ScalarType type : {at::kFloat, at::kDouble}) {
    const DinoLossResult r = images.other(images.student.to(type));
    const at::Tensor numbers = at::tensor({r.value, r.teacher_entropy, r.student_entropy, r.kl}, at::kDouble);
    EXPECT_TRUE(at::equal(r.figures, numbers));
    EXPECT_TRUE(numbers.isfinite().all().item<bool>());
    EXPECT_EQ(r.value, r.loss.item<double>());
  }
}

}  // namespace
}  // namespace dinoxx
