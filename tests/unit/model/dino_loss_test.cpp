// The loss beside the textbook's double loop, the kernel on every instruction set, and what must not pass unseen.
#include "dinoxx/loss/dino_loss.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gmock/gmock.h>

#include <bit>
#include <limits>

#include "dinoxx/base/error.hpp"
#include "golden.hpp"
#include "kernels/loss/dino_loss_kernel.hpp"
#include "ops/ops.hpp"

namespace dinoxx {
namespace {

using golden::near;
using golden::uniform;

struct Problem {
  at::Tensor student, teacher, centre;
};
Problem problem(int64_t views, int64_t teachers, int64_t batch, int64_t dim, at::ScalarType dtype, double size = 1.0) {
  return {(uniform("student", {views, batch, dim}) * size).to(dtype).set_requires_grad(true),
          (uniform("teacher", {teachers, batch, dim}) * size).to(dtype),
          (uniform("centre", {dim}) * 0.2).to(dtype == at::kDouble ? at::kDouble : at::kFloat)};
}

/// Pair by pair, as the paper's pseudo-code has it.
at::Tensor textbook(const Problem& p, double student_temp, double teacher_temp) {
  at::Tensor total = at::zeros({}, p.student.options());
  int64_t pairs = 0;
  for (int64_t g = 0; g < p.teacher.size(0); ++g)
    for (int64_t v = 0; v < p.student.size(0); ++v) {
      if (g == v) continue;
      const at::Tensor q = at::softmax((p.teacher[g] - p.centre) / teacher_temp, -1);
      total = total - (q * at::log_softmax(p.student[v] / student_temp, -1)).sum(-1).mean();
      ++pairs;
    }
  return total / pairs;
}

TEST(DinoLoss, EqualsTheTextbook) {
  for (const auto& [views, teachers] : {std::pair<int64_t, int64_t>{2, 2}, {6, 2}, {3, 1}, {4, 3}, {2, 1}}) {
    const Problem a = problem(views, teachers, 3, 21, at::kDouble), b = problem(views, teachers, 3, 21, at::kDouble);
    const at::Tensor expected = textbook(a, 0.1, 0.05);
    expected.backward();
    const DinoLossResult result = dino_loss(b.student, b.teacher, b.centre, 0.1, 0.05);
    result.loss.backward();
    EXPECT_TRUE(near("loss", result.loss, expected, 1e-13));
    EXPECT_TRUE(near("gradient", b.student.grad(), a.student.grad(), 1e-12));
  }
}

TEST(DinoLoss, KernelEqualsFormula) {
  for (const int64_t dim : {1, 5, 16, 31, 64, 1000}) {
    for (const auto& [views, teachers] : {std::pair<int64_t, int64_t>{2, 2}, {5, 2}, {3, 1}}) {
      for (const double size : {1.0, 15.0}) {
        SCOPED_TRACE(fmt::format("K {} V {} G {} size {}", dim, views, teachers, size));
        const Problem exact = problem(views, teachers, 3, dim, at::kDouble, size),
                      single = problem(views, teachers, 3, dim, at::kFloat, size);
        const DinoLossResult e = dino_loss(exact.student, exact.teacher, exact.centre, 0.1, 0.04);
        const DinoLossResult f = dino_loss(single.student, single.teacher, single.centre, 0.1, 0.04);
        e.loss.backward();
        f.loss.backward();
        EXPECT_NEAR(f.loss.item<double>(), e.loss.item<double>(), 1e-5 * std::max(1.0, e.loss.item<double>()));
        EXPECT_EQ(f.value, f.loss.item<double>());
        EXPECT_EQ(e.value, e.loss.item<double>());
        const double scale =
            1.0 / (0.1 * 3 * static_cast<double>(teachers * (views - 1)));  // of a gradient's element; with one prototype all are zero
        EXPECT_LE((single.student.grad().to(at::kDouble) - exact.student.grad()).abs().max().item<double>(), 1e-5 * scale);
        EXPECT_NEAR(f.teacher_entropy, e.teacher_entropy, 1e-5);
        EXPECT_NEAR(f.kl, e.kl, 1e-5 * std::max(1.0, e.kl));
        EXPECT_TRUE(near("teacher sum", f.teacher_sum, e.teacher_sum, 1e-5));
      }
    }
  }
}

TEST(DinoLoss, KernelOnEveryInstructionSet) {
  using namespace loss_kernel;
  for (const int64_t dim : {48, 67}) {
    const ::dinoxx::Problem p = problem(4, 2, 2, dim, at::kFloat, 3.0);
    const ::dinoxx::Problem reference = problem(4, 2, 2, dim, at::kDouble, 3.0);
    const at::Tensor expected = textbook(reference, 0.1, 0.04);
    expected.backward();
    for (const CpuLevel level : {CpuLevel::kGeneric, CpuLevel::kAvx2, CpuLevel::kAvx512}) {
      if (level > best_cpu_level()) continue;
      SCOPED_TRACE(fmt::format("level {} K {}", level_name(level), dim));
      at::Tensor grad = at::full_like(p.student.detach(), std::numeric_limits<float>::quiet_NaN());
      DinoProblem k{p.student.const_data_ptr(), p.teacher.const_data_ptr(), p.centre.const_data_ptr<float>(), grad.mutable_data_ptr()};
      k.views = 4, k.teacher_views = 2, k.batch = 2, k.dim = dim;
      std::vector<float> scratch(static_cast<size_t>(dino_scratch_size(k)));
      std::vector<ImageSums> sums(2);
      dino_images({&k, 0, 2, scratch.data(), sums.data()}, level);
      EXPECT_NEAR((sums[0].loss + sums[1].loss) / 12.0, expected.item<double>(), 1e-5 * expected.item<double>());
      EXPECT_TRUE(near("gradient", grad, reference.student.grad(), 1e-5));
    }
  }
}

TEST(DinoLoss, Bfloat16Logits) {
  // the same rounded logits in double: the kernel computes in float32 and rounds its gradient once
  const Problem narrow = problem(4, 2, 3, 75, at::kBFloat16);
  Problem wide{narrow.student.detach().to(at::kDouble).set_requires_grad(true), narrow.teacher.to(at::kDouble),
               narrow.centre.to(at::kDouble)};
  const DinoLossResult a = dino_loss(narrow.student, narrow.teacher, narrow.centre, 0.1, 0.04);
  const DinoLossResult b = dino_loss(wide.student, wide.teacher, wide.centre, 0.1, 0.04);
  a.loss.backward();
  b.loss.backward();
  EXPECT_EQ(a.loss.scalar_type(), at::kFloat);
  EXPECT_TRUE(near("loss", a.loss, b.loss, 1e-5));
  EXPECT_EQ(narrow.student.grad().scalar_type(), at::kBFloat16);
  EXPECT_TRUE(near("gradient", narrow.student.grad(), wide.student.grad(), 1.0 / 256));
  EXPECT_TRUE(near("teacher sum", a.teacher_sum, b.teacher_sum, 1e-5));
}

TEST(DinoLoss, BackwardScalesWithTheWeight) {
  const Problem p = problem(3, 2, 2, 33, at::kFloat);
  const DinoLossResult r = dino_loss(p.student, p.teacher, p.centre, 0.1, 0.04);
  r.loss.backward({}, /*retain_graph=*/true);
  const at::Tensor once = p.student.grad().clone();
  p.student.mutable_grad() = at::Tensor();
  (r.loss * 2.5).backward({}, /*retain_graph=*/true);
  EXPECT_TRUE(near("weighted", p.student.grad(), once * 2.5, 1e-6));
  (r.loss * 1.0).backward();
  EXPECT_TRUE(near("accumulated", p.student.grad(), once * 3.5, 1e-6));
  // softmax and target both sum to one, so the gradient of a row sums to zero
  EXPECT_LE(once.sum(-1).abs().max().item<double>(), 1e-5 * once.abs().sum(-1).max().item<double>());
}

TEST(DinoLoss, WithoutGradient) {
  const Problem p = problem(3, 2, 2, 33, at::kFloat);
  const double with = dino_loss(p.student, p.teacher, p.centre, 0.1, 0.04).loss.item<double>();
  const DinoLossResult r = dino_loss(p.student.detach(), p.teacher, p.centre, 0.1, 0.04);
  EXPECT_FALSE(r.loss.requires_grad());
  EXPECT_EQ(r.loss.item<double>(), with);
}

TEST(DinoLoss, StridedLogits) {
  const Problem p = problem(4, 2, 3, 40, at::kFloat);
  const at::Tensor strided = p.student.detach().permute({2, 1, 0}).contiguous().permute({2, 1, 0}).set_requires_grad(true);
  const DinoLossResult a = dino_loss(p.student, p.teacher, p.centre, 0.1, 0.04), b = dino_loss(strided, p.teacher, p.centre, 0.1, 0.04);
  a.loss.backward();
  b.loss.backward();
  EXPECT_EQ(a.loss.item<float>(), b.loss.item<float>());
  EXPECT_TRUE(at::equal(p.student.grad(), strided.grad()));
}

TEST(DinoLoss, SameBitsForAnyThreads) {
  const Problem a = problem(4, 2, 7, 200, at::kFloat), b = problem(4, 2, 7, 200, at::kFloat);
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const DinoLossResult one = dino_loss(a.student, a.teacher, a.centre, 0.1, 0.04);
  at::set_num_threads(3);
  const DinoLossResult three = dino_loss(b.student, b.teacher, b.centre, 0.1, 0.04);
  at::set_num_threads(before);
  one.loss.backward();
  three.loss.backward();
  EXPECT_EQ(one.loss.item<float>(), three.loss.item<float>());
  EXPECT_EQ(one.teacher_entropy, three.teacher_entropy);
  EXPECT_TRUE(at::equal(a.student.grad(), b.student.grad()));
}

TEST(DinoLoss, EntropyAndKl) {
  // a uniform teacher: entropy ln K; a student that equals it: no divergence
  const DinoLossResult uniform_teacher = dino_loss(at::zeros({2, 3, 50}), at::ones({2, 3, 50}), at::zeros({50}), 0.1, 0.04);
  EXPECT_NEAR(uniform_teacher.teacher_entropy, std::log(50.0), 1e-5);
  EXPECT_NEAR(uniform_teacher.loss.item<double>(), std::log(50.0), 1e-5);
  EXPECT_NEAR(uniform_teacher.kl, 0.0, 1e-5);
  // a collapsed teacher: entropy 0
  at::Tensor peak = at::zeros({2, 3, 50});
  peak.select(2, 7).fill_(10.0);
  EXPECT_NEAR(dino_loss(at::zeros({2, 3, 50}), peak, at::zeros({50}), 0.1, 0.04).teacher_entropy, 0.0, 1e-6);
}

TEST(DinoLoss, NonFiniteLogitsShow) {
  for (const bool fused : {true, false}) {
    ops::set_fused(fused);
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                            std::bit_cast<float>(0x7fc00001u), std::bit_cast<float>(0xffffffffu)}) {
      for (const int64_t place : {0, 17, 39}) {
        Problem p = problem(3, 2, 2, 40, at::kFloat);
        p.student.detach()[1][1][place] = bad;
        EXPECT_FALSE(std::isfinite(dino_loss(p.student, p.teacher, p.centre, 0.1, 0.04).loss.item<float>()))
            << "student " << bad << " at " << place;
        Problem q = problem(3, 2, 2, 40, at::kFloat);
        q.teacher[1][0][place] = bad;
        EXPECT_FALSE(std::isfinite(dino_loss(q.student, q.teacher, q.centre, 0.1, 0.04).loss.item<float>()))
            << "teacher " << bad << " at " << place;
      }
    }
  }
  ops::set_fused(true);
}

TEST(DinoLoss, Refusals) {
  const at::Tensor centre = at::zeros({8});
  EXPECT_THROW(dino_loss(at::zeros({1, 2, 8}), at::zeros({1, 2, 8}), centre, 0.1, 0.04), Error);
  EXPECT_THROW(dino_loss(at::zeros({2, 2, 8}), at::zeros({3, 2, 8}), centre, 0.1, 0.04), Error);
  EXPECT_THROW(dino_loss(at::zeros({2, 2, 8}), at::zeros({2, 3, 8}), centre, 0.1, 0.04), Error);
  EXPECT_THROW(dino_loss(at::zeros({2, 2, 8}), at::zeros({2, 2, 7}), centre, 0.1, 0.04), Error);
  EXPECT_THROW(dino_loss(at::zeros({4, 8}), at::zeros({4, 8}), centre, 0.1, 0.04), Error);
  EXPECT_THROW(dino_loss(at::zeros({2, 2, 8}), at::zeros({2, 2, 8}), centre, 0.1, 0.0), Error);
}

TEST(Centre, MovesByTheBatchMean) {
  Centre centre(2, 0.9, at::kDouble);
  centre.update(at::tensor({6.0, -3.0}, at::kDouble), 3);
  EXPECT_TRUE(near("first", centre.value(), at::tensor({0.2, -0.1}, at::kDouble), 1e-15));
  const at::Tensor handle = centre.value();  // a checkpoint's handle keeps seeing the value
  centre.update(at::tensor({0.0, 0.0}, at::kDouble), 1);
  EXPECT_TRUE(near("second", handle, at::tensor({0.18, -0.09}, at::kDouble), 1e-15));
  EXPECT_THROW(centre.update(at::zeros({3}, at::kDouble), 1), Error);
  EXPECT_THROW(centre.update(at::zeros({2}, at::kDouble), 0), Error);
  EXPECT_THROW(Centre(2, 1.5), UsageError);
}

}  // namespace
}  // namespace dinoxx
