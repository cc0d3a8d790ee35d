#include "dinoxx/loss/patch_loss.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/ranges.h>
#include <torch/csrc/autograd/custom_function.h>

#include "column_sums.hpp"
#include "dinoxx/base/error.hpp"
#include "kernels/loss/dino_loss_kernel.hpp"
#include "loss/gpu/prototype_cuda.hpp"
#include "loss_common.hpp"

namespace dinoxx {
namespace {

using loss_common::entropy_sum, loss_common::LossAndFigures, loss_common::means, loss_common::PrototypeCounts, loss_common::PrototypeSums,
    loss_common::runs_in_kernel, loss_cuda::scaled, loss_common::storage_of, loss_common::wide_type;

struct Settings {
  double student_temp, teacher_temp, divisor;
};

PrototypeCounts counts_of(const at::Tensor& student, const Settings& settings) {
  const auto rows = static_cast<double>(std::max<int64_t>(student.size(0), 1));
  return {settings.divisor, rows, rows, rows};
}

void check(const at::Tensor& student, const at::Tensor& teacher, const at::Tensor& centre, const at::Tensor& row_weight,
           const Settings& settings) {
  if (student.dim() != 2 || student.sizes() != teacher.sizes() || centre.dim() != 1 || centre.size(0) != student.size(1) ||
      row_weight.dim() != 1 || row_weight.size(0) != student.size(0) || student.size(1) < 1)
    fail("patch loss", "student and teacher [M, K], centre [K] and a weight for each row [M]",
         fmt::format("[{}], [{}], [{}] and [{}]", fmt::join(student.sizes(), ", "), fmt::join(teacher.sizes(), ", "),
                     fmt::join(centre.sizes(), ", "), fmt::join(row_weight.sizes(), ", ")),
         "Student and teacher give one row for each masked patch, with heads of equal width");
  if (!(settings.student_temp > 0) || !(settings.teacher_temp > 0) || !(settings.divisor > 0))
    fail("patch loss", "positive temperatures and divisor",
         fmt::format("{}, {} and {}", settings.student_temp, settings.teacher_temp, settings.divisor), "Correct the temperatures");
}

/// Rows are added in their order, so that the sums do not depend on the number of threads.
LossAndFigures run_kernel(const at::Tensor& student, const at::Tensor& teacher, const at::Tensor& centre, const at::Tensor& row_weight,
                          const Settings& settings, const at::Tensor& grad) {
  loss_kernel::PatchProblem problem;
  problem.student = student.const_data_ptr();
  problem.teacher = teacher.const_data_ptr();
  problem.centre = centre.const_data_ptr<float>();
  problem.row_weight = row_weight.const_data_ptr<float>();
  problem.student_grad = grad.defined() ? grad.mutable_data_ptr() : nullptr;
  problem.student_type = storage_of(student);
  problem.teacher_type = storage_of(teacher);
  problem.dim = student.size(1);
  problem.student_temp = settings.student_temp;
  problem.teacher_temp = settings.teacher_temp;
  problem.divisor = settings.divisor;

  std::vector<loss_kernel::PatchSums> per_row(static_cast<size_t>(student.size(0)));
  const CpuLevel level = loss_kernel::level();
  at::parallel_for(0, student.size(0), 1, [&](int64_t begin, int64_t end) {
    const auto scratch = std::make_unique_for_overwrite<float[]>(static_cast<size_t>(loss_kernel::patch_scratch_size(problem)));
    loss_kernel::patch_rows({&problem, begin, end, scratch.get(), per_row.data()}, level);
  });
  PrototypeSums sums;
  for (size_t i = 0; i < per_row.size(); ++i) {
    sums.loss += static_cast<double>(problem.row_weight[i]) * per_row[i].cross_entropy;
    sums.cross_entropy += per_row[i].cross_entropy;
    sums.entropy += per_row[i].entropy;
    sums.student_entropy += per_row[i].student_entropy;
  }
  return means(sums, counts_of(student, settings), at::kFloat);
}

LossAndFigures run_cuda(const at::Tensor& student, const at::Tensor& teacher, const at::Tensor& centre, const at::Tensor& row_weight,
                        const Settings& settings, const at::Tensor& grad) {
  auto [loss, figures] =
      loss_cuda::patch(student, teacher, centre, row_weight, {settings.student_temp, settings.teacher_temp}, settings.divisor, grad);
  return {loss, figures};
}

/// The same with ATen's operators on blocks of rows: float64, what no kernel takes, and what the tests compare kernels with.
LossAndFigures run_formula(const at::Tensor& student, const at::Tensor& teacher, const at::Tensor& centre, const at::Tensor& row_weight,
                           const Settings& settings, const at::Tensor& grad) {
  const at::ScalarType wide = wide_type(student);
  at::Tensor sums = at::zeros({4}, student.options().dtype(at::kDouble));  // in the order of PrototypeSums
  const int64_t block = loss_columns::block_rows(student.size(1));
  for (int64_t i = 0; i < student.size(0); i += block) {
    const int64_t count = std::min(block, student.size(0) - i);
    const auto rows = [&](const at::Tensor& t) { return t.narrow(0, i, count).to(wide); };
    const at::Tensor log_p = at::log_softmax((rows(teacher) - centre.to(wide)) / settings.teacher_temp, -1), p = log_p.exp();
    const at::Tensor log_q = at::log_softmax(rows(student) / settings.student_temp, -1), weight = rows(row_weight);
    const at::Tensor cross_entropy = -(p * log_q).sum(-1);  // [count]
    at::Tensor q = log_q.exp();
    sums[0] += (cross_entropy * weight).sum(at::kDouble);
    sums[1] += cross_entropy.sum(at::kDouble);
    sums[2] += entropy_sum(p, log_p);
    sums[3] += entropy_sum(q, log_q);
    if (grad.defined()) {
      const at::Tensor coefficient = weight / (settings.divisor * settings.student_temp);
      grad.narrow(0, i, count).copy_(q.sub_(p).mul_(coefficient.unsqueeze(1)));
    }
  }
  return means(sums, counts_of(student, settings), wide);
}

/// Forward computes the gradient as well, while the row is in the cache; backward scales it.
class PatchLoss : public torch::autograd::Function<PatchLoss> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& student, const at::Tensor& teacher,
                            const at::Tensor& centre, const at::Tensor& row_weight, const Settings& settings, at::Tensor* figures) {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    at::Tensor grad;
    if (student.requires_grad()) {
      grad = at::empty_like(student, at::MemoryFormat::Contiguous);
      ctx->save_for_backward({grad});
    }
    const at::Tensor s = student.contiguous(), t = teacher.contiguous(), c = centre.contiguous();
    const auto run = loss_cuda::takes({s, t}, c) ? run_cuda : runs_in_kernel({s, t}, c) ? run_kernel : run_formula;
    auto [loss, numbers] = run(s, t, c, row_weight.contiguous(), settings, grad);
    *figures = numbers;
    return loss;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, torch::autograd::variable_list grads) {
    return {scaled(ctx->get_saved_variables()[0], grads[0]), {}, {}, {}, {}, {}};
  }
};

}  // namespace

PatchLossResult patch_loss(const at::Tensor& student, const at::Tensor& teacher, const at::Tensor& centre, const at::Tensor& row_weight,
                           double student_temp, double teacher_temp, double divisor) {
  const Settings settings{student_temp, teacher_temp, divisor};
  check(student, teacher, centre, row_weight, settings);
  const at::Tensor target = teacher.detach(), middle = centre.detach();
  const at::Tensor weight = row_weight.detach().to(student.device(), wide_type(student));
  at::Tensor figures;
  PatchLossResult result;
  result.loss = PatchLoss::apply(student, target, middle, weight, settings, &figures);
  result.set(figures);
  return result;
}

}  // namespace dinoxx
