// Loss, gradient and centre over several steps against facebookresearch/dino's DINOLoss.
#include "dinoxx/loss/dino_loss.hpp"

#include <ATen/ATen.h>

#include "golden.hpp"
#include "ops/ops.hpp"

namespace dinoxx::golden {
namespace {

struct LossCase {
  const char* name;
  int64_t views, batch, dim;
  double size;  ///< of the logits
  friend void PrintTo(const LossCase& c, std::ostream* out) { *out << c.name; }
};

class GoldenDinoLoss : public testing::TestWithParam<LossCase> {};

TEST_P(GoldenDinoLoss, StepsWithCentre) {
  const LossCase& c = GetParam();
  const Fixture fixture("loss");
  const at::Tensor losses = fixture.tensor(fmt::format("{}/losses", c.name)),
                   temps = fixture.tensor(fmt::format("{}/teacher_temps", c.name));
  struct Precision {
    at::ScalarType dtype;
    bool fused;
    double tolerance;
  };
  for (const Precision& p : {Precision{at::kDouble, true, 1e-9}, Precision{at::kFloat, true, 1e-5}, Precision{at::kFloat, false, 1e-5}}) {
    SCOPED_TRACE(fmt::format("{} {}", c10::toString(p.dtype), p.fused ? "kernel" : "formula"));
    ops::set_fused(p.fused);
    Centre centre(c.dim, 0.9, p.dtype);
    for (int64_t step = 0; step < losses.numel(); ++step) {
      SCOPED_TRACE(fmt::format("step {}", step));
      const auto logits = [&](const std::string& which, int64_t views) {
        return uniform(fmt::format("{}/{}{}", c.name, which, step), {views, c.batch, c.dim}) * c.size;
      };
      const at::Tensor student = logits("student", c.views).to(p.dtype).set_requires_grad(true);
      const at::Tensor teacher = (logits("teacher", 2) + uniform(fmt::format("{}/shift", c.name), {c.dim}) * 0.3).to(p.dtype);

      const DinoLossResult result = dino_loss(student, teacher, centre.value(), 0.1, temps[step].item<double>());
      EXPECT_TRUE(near("loss", result.loss, losses[step], p.tolerance));
      result.loss.backward();
      EXPECT_TRUE(fixture.matches(fmt::format("{}/grad{}", c.name, step), student.grad(), p.tolerance));
      EXPECT_EQ(result.teacher_rows, 2 * c.batch);
      centre.update(result.teacher_sum, result.teacher_rows);
      EXPECT_TRUE(fixture.matches(fmt::format("{}/centre{}", c.name, step), centre.value(), p.tolerance));
    }
    ops::set_fused(true);
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, GoldenDinoLoss,
                         testing::Values(LossCase{"heads", 5, 3, 37, 1.0}, LossCase{"two_views", 2, 4, 64, 1.0},
                                         LossCase{"sharp", 4, 2, 48, 12.0}),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace dinoxx::golden
