#include "dinoxx/loss/dino_loss.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/ranges.h>

#include "dinoxx/base/error.hpp"
#include "dinoxx/loss/centre.hpp"
#include "kernels/loss/dino_loss_kernel.hpp"
#include "loss/gpu/prototype_cuda.hpp"
#include "prototype_loss.hpp"

// For student view v the teachers g != v enter only through their sum Q_v = sum_g p_g - [v < G] p_v:
//   loss = 1 / (pairs B) sum_{v,b} (n_v logsumexp(s_v) - Q_v . s_v),  s = student / student_temp,  n_v = number of teachers g != v,
//   d loss / d student_v = (n_v softmax(s_v) - Q_v) / (pairs B student_temp).
// So the [pairs, B, K] products of the textbook form never exist.
namespace dinoxx {
namespace {

using loss_common::entropy_sum, loss_common::log_softmax, loss_common::LossAndFigures, loss_common::means, loss_common::PrototypeCounts,
    loss_common::PrototypePart, loss_common::PrototypeSums, loss_common::runs_in_kernel, loss_common::storage_of, loss_common::wide_type;

struct Settings {
  double student_temp, teacher_temp, local_weight;
};

void check(const Scores& student, const Scores& teacher, const at::Tensor& centre, double student_temp, double teacher_temp) {
  if (student.dim() != 3 || teacher.dim() != 3 || centre.dim() != 1 || student.size(1) != teacher.size(1) ||
      student.size(2) != teacher.size(2) || student.size(2) != centre.size(0) || student.size(1) < 1 || student.size(2) < 1)
    fail("dino loss", "student [V, B, K], teacher [G, B, K] and centre [K]",
         fmt::format("[{}], [{}] and [{}]", fmt::join(student.sizes(), ", "), fmt::join(teacher.sizes(), ", "),
                     fmt::join(centre.sizes(), ", ")),
         "Student and teacher must see the same batch with heads of equal width");
  if (teacher.size(0) < 1 || student.size(0) < teacher.size(0) || student.size(0) < 2)
    fail("dino loss", "at least two student views, the first of which are the teacher's",
         fmt::format("{} student and {} teacher views", student.size(0), teacher.size(0)),
         "Add views: pairs of different views are compared");
  if (!(student_temp > 0) || !(teacher_temp > 0))
    fail("dino loss", "positive temperatures", fmt::format("{} and {}", student_temp, teacher_temp), "Correct the temperatures");
}

int64_t pair_count(const at::Tensor& student, const at::Tensor& teacher) {
  return teacher.size(0) * (student.size(0) - 1);
}

PrototypeCounts counts_of(const at::Tensor& student, const at::Tensor& teacher) {
  const int64_t batch = student.size(1), pairs = pair_count(student, teacher) * batch;
  return {static_cast<double>(pairs), static_cast<double>(pairs), static_cast<double>(teacher.size(0) * batch),
          static_cast<double>(student.size(0) * batch)};
}

/// Runs the kernel over all images; sums are added in the order of images, so that they do not depend on the number of threads.
LossAndFigures run_kernel(const PrototypePart& part, const at::Tensor& centre, const Settings& settings) {
  const auto& [student, teacher, grad] = std::tie(part.student, part.teacher, part.grad);
  loss_kernel::DinoProblem problem;
  problem.student = student.const_data_ptr();
  problem.teacher = teacher.const_data_ptr();
  problem.centre = centre.const_data_ptr<float>();
  problem.student_grad = grad.defined() ? grad.mutable_data_ptr() : nullptr;
  problem.student_type = storage_of(student);
  problem.teacher_type = storage_of(teacher);
  problem.views = student.size(0);
  problem.teacher_views = teacher.size(0);
  problem.batch = student.size(1);
  problem.dim = student.size(2);
  problem.student_temp = settings.student_temp;
  problem.teacher_temp = settings.teacher_temp;
  problem.local_weight = settings.local_weight;

  std::vector<loss_kernel::ImageSums> per_image(static_cast<size_t>(problem.batch));
  const CpuLevel level = loss_kernel::level();
  at::parallel_for(0, problem.batch, 1, [&](int64_t begin, int64_t end) {
    const auto scratch = std::make_unique_for_overwrite<float[]>(static_cast<size_t>(loss_kernel::dino_scratch_size(problem)));
    loss_kernel::dino_images({&problem, begin, end, scratch.get(), per_image.data()}, level);
  });
  PrototypeSums sums;
  for (const loss_kernel::ImageSums& image : per_image) {
    sums.loss += image.loss;
    sums.cross_entropy += image.cross_entropy;
    sums.entropy += image.entropy;
    sums.student_entropy += image.student_entropy;
  }
  return means(sums, counts_of(student, teacher), at::kFloat);
}

LossAndFigures run_cuda(const PrototypePart& part, const at::Tensor& centre, const Settings& settings) {
  auto [loss, figures] =
      loss_cuda::dino(part.student, part.teacher, centre, {settings.student_temp, settings.teacher_temp}, settings.local_weight, part.grad);
  return {loss, figures};
}

/// The same with ATen's operators, student view by student view: float64, what no kernel takes, and what the tests compare kernels with.
LossAndFigures run_formula(const PrototypePart& part, const at::Tensor& centre, const Settings& settings) {
  const auto& [student, teacher, grad] = std::tie(part.student, part.teacher, part.grad);
  const at::ScalarType wide = wide_type(student);
  at::Tensor log_p = log_softmax((teacher.to(wide) - centre.to(wide)) / settings.teacher_temp, part.shards);
  const at::Tensor p = log_p.exp(), all = p.sum(0);  // [G, B, K] and [B, K]
  const double coefficient = 1.0 / (static_cast<double>(pair_count(student, teacher) * student.size(1)) * settings.student_temp);
  at::Tensor sums = at::zeros({4}, student.options().dtype(at::kDouble));  // in the order of PrototypeSums
  sums[2] = entropy_sum(p, log_p);
  log_p.reset();
  for (int64_t v = 0; v < student.size(0); ++v) {
    const bool paired_with_itself = v < p.size(0);
    const double weight = paired_with_itself ? 1.0 : settings.local_weight;
    const auto mass = static_cast<double>(p.size(0) - (paired_with_itself ? 1 : 0));
    const at::Tensor target = paired_with_itself ? all - p[v] : all;  // Q_v
    const at::Tensor log_q = log_softmax(student[v].to(wide) / settings.student_temp, part.shards);
    const at::Tensor cross_entropy = -(target * log_q).sum(at::kDouble);
    at::Tensor q = log_q.exp();
    sums[0] += cross_entropy * weight;
    sums[1] += cross_entropy;
    sums[3] += entropy_sum(q, log_q);
    if (grad.defined()) grad[v].copy_(q.mul_(mass).sub_(target).mul_(coefficient * weight));
  }
  return means(sums, counts_of(student, teacher), wide);
}

}  // namespace

DinoLossResult dino_loss(const Scores& student, const Scores& teacher, const at::Tensor& centre, double student_temp, double teacher_temp,
                         double local_weight, bool want_teacher_sum) {
  check(student, teacher, centre, student_temp, teacher_temp);
  const Scores target = teacher.detach();
  const at::Tensor middle = centre.detach().contiguous();
  const Settings settings{student_temp, teacher_temp, local_weight};

  const auto [loss, figures] = loss_common::prototype_loss(student, target, /*dim=*/1, [&](const PrototypePart& part) {
    if (part.shards) return run_formula(part, middle, settings);
    const auto run = loss_cuda::takes({part.student, part.teacher}, middle) ? run_cuda
                     : runs_in_kernel({part.student, part.teacher}, middle) ? run_kernel
                                                                            : run_formula;
    return run(part, middle, settings);
  });
  DinoLossResult result;
  result.loss = loss;
  result.set(figures);
  if (want_teacher_sum) result.teacher_sum = centre_sum(target.flatten()).sum;
  result.teacher_rows = teacher.size(0) * teacher.size(1);
  return result;
}

}  // namespace dinoxx
