#include "dinoxx/loss/patch_loss.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/ranges.h>

#include "column_sums.hpp"
#include "dinoxx/base/error.hpp"
#include "kernels/loss/dino_loss_kernel.hpp"
#include "loss/gpu/prototype_cuda.hpp"
#include "prototype_loss.hpp"

namespace dinoxx {
namespace {

using loss_common::entropy_sum, loss_common::log_softmax, loss_common::LossAndFigures, loss_common::means, loss_common::PrototypeCounts,
    loss_common::PrototypePart, loss_common::PrototypeSums, loss_common::runs_in_kernel, loss_common::storage_of, loss_common::wide_type;

struct Settings {
  double student_temp, teacher_temp, divisor;
};

PrototypeCounts counts_of(const at::Tensor& student, const Settings& settings) {
  const auto rows = static_cast<double>(std::max<int64_t>(student.size(0), 1));
  return {settings.divisor, rows, rows, rows};
}

void check(const Scores& student, const Scores& teacher, const at::Tensor& centre, const at::Tensor& row_weight, const Settings& settings) {
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
LossAndFigures run_kernel(const PrototypePart& part, const at::Tensor& centre, const at::Tensor& row_weight, const Settings& settings) {
  const auto& [student, teacher, grad] = std::tie(part.student, part.teacher, part.grad);
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

LossAndFigures run_cuda(const PrototypePart& part, const at::Tensor& centre, const at::Tensor& row_weight, const Settings& settings) {
  auto [loss, figures] = loss_cuda::patch(part.student, part.teacher, centre, row_weight, {settings.student_temp, settings.teacher_temp},
                                          settings.divisor, part.grad);
  return {loss, figures};
}

/// The same with ATen's operators on blocks of rows: float64, what no kernel takes, and what the tests compare kernels with.
LossAndFigures run_formula(const PrototypePart& part, const at::Tensor& centre, const at::Tensor& row_weight, const Settings& settings) {
  const auto& [student, teacher, grad] = std::tie(part.student, part.teacher, part.grad);
  const at::ScalarType wide = wide_type(student);
  at::Tensor sums = at::zeros({4}, student.options().dtype(at::kDouble));  // in the order of PrototypeSums
  const int64_t block = loss_columns::block_rows(student.size(1));
  for (int64_t i = 0; i < student.size(0); i += block) {
    const int64_t count = std::min(block, student.size(0) - i);
    const auto rows = [&](const at::Tensor& t) { return t.narrow(0, i, count).to(wide); };
    const at::Tensor log_p = log_softmax((rows(teacher) - centre.to(wide)) / settings.teacher_temp, part.shards), p = log_p.exp();
    const at::Tensor log_q = log_softmax(rows(student) / settings.student_temp, part.shards), weight = rows(row_weight);
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

}  // namespace

PatchLossResult patch_loss(const Scores& student, const Scores& teacher, const at::Tensor& centre, const at::Tensor& row_weight,
                           double student_temp, double teacher_temp, double divisor) {
  const Settings settings{student_temp, teacher_temp, divisor};
  check(student, teacher, centre, row_weight, settings);
  const at::Tensor middle = centre.detach().contiguous();
  const at::Tensor weights = row_weight.detach().to(student.device(), wide_type(student.rows())).contiguous();
  const auto rows = static_cast<double>(std::max<int64_t>(student.size(0), 1));

  const auto [loss, figures] = loss_common::prototype_loss(student, teacher.detach(), /*dim=*/0, [&](const PrototypePart& part) {
    Settings of_part = settings;  // as if these rows were all: the divisor in proportion
    if (part.count < student.size(0)) of_part.divisor *= static_cast<double>(part.count) / rows;
    const at::Tensor weight = weights.narrow(0, part.begin, part.count);
    if (part.shards) return run_formula(part, middle, weight, of_part);
    const auto run = loss_cuda::takes({part.student, part.teacher}, middle) ? run_cuda
                     : runs_in_kernel({part.student, part.teacher}, middle) ? run_kernel
                                                                            : run_formula;
    return run(part, middle, weight, of_part);
  });
  PatchLossResult result;
  result.loss = loss;
  result.set(figures);
  return result;
}

}  // namespace dinoxx
