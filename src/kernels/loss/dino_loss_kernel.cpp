#include "dino_loss_kernel.hpp"

#include "row_lanes.hpp"

namespace dinoxx::loss_kernel {
namespace {

DINOXX_INLINE void dino_images_impl(const DinoImages& images) {
  const DinoProblem& p = *images.problem;
  const int64_t dim = p.dim, padded = padded_dim(dim);
  float* const centre = images.scratch;          // [padded]
  float* const row = centre + padded;            // a converted or padded row
  float* const work = row + padded;              // exponentials, then the gradient
  float* const total = work + padded;            // sum of the teacher rows
  float* const target = total + padded;          // sum without the student's own view
  float* const probabilities = target + padded;  // [G, padded]
  std::copy(p.centre, p.centre + dim, centre);
  std::fill(centre + dim, centre + padded, 0.0f);

  const auto pairs = static_cast<double>(p.teacher_views * (p.views - 1));
  const auto inv_student = static_cast<float>(1.0 / p.student_temp), inv_teacher = static_cast<float>(1.0 / p.teacher_temp);
  const double coefficient = 1.0 / (pairs * static_cast<double>(p.batch) * p.student_temp);

  for (int64_t b = images.begin; b < images.end; ++b) {
    ImageSums sums;
    std::fill(total, total + padded, 0.0f);
    for (int64_t g = 0; g < p.teacher_views; ++g) {
      float* const own = probabilities + g * padded;
      const float* logits = row_as_float(p.teacher, p.teacher_type, g * p.batch + b, dim, padded, kPadding, row);
      sums.entropy += teacher_row(logits, centre, padded, dim, inv_teacher, own);
      for (int64_t i = 0; i < padded; ++i) total[i] += own[i];
    }
    for (int64_t v = 0; v < p.views; ++v) {
      const bool paired_with_itself = v < p.teacher_views;
      const float* goal = total;
      if (paired_with_itself) {
        const float* own = probabilities + v * padded;
        for (int64_t i = 0; i < padded; ++i) target[i] = total[i] - own[i];
        goal = target;
      }
      const double weight = paired_with_itself ? 1.0 : p.local_weight;
      const auto mass = static_cast<float>(p.teacher_views - (paired_with_itself ? 1 : 0));
      const int64_t index = v * p.batch + b;
      const float* logits = row_as_float(p.student, p.student_type, index, dim, padded, kPadding, row);
      const bool in_place = p.student_grad && p.student_type == Storage::kFloat && dim == padded;
      float* out = in_place ? static_cast<float*>(p.student_grad) + index * dim : work;
      const StudentRow result =
          student_row(logits, goal, padded, mass, inv_student, static_cast<float>(coefficient * weight), out, p.student_grad != nullptr);
      sums.loss += weight * result.cross_entropy;
      sums.cross_entropy += result.cross_entropy;
      sums.student_entropy += result.entropy;
      if (p.student_grad) write_row(p.student_grad, p.student_type, index, dim, out);
    }
    images.sums[b] = sums;
  }
}

DINOXX_INLINE void patch_rows_impl(const PatchRows& rows) {
  const PatchProblem& p = *rows.problem;
  const int64_t dim = p.dim, padded = padded_dim(dim);
  float* const centre = rows.scratch;          // [padded]
  float* const row = centre + padded;          // a converted or padded row
  float* const work = row + padded;            // exponentials, then the gradient
  float* const probabilities = work + padded;  // of the teacher
  std::copy(p.centre, p.centre + dim, centre);
  std::fill(centre + dim, centre + padded, 0.0f);
  const auto inv_student = static_cast<float>(1.0 / p.student_temp), inv_teacher = static_cast<float>(1.0 / p.teacher_temp);

  for (int64_t i = rows.begin; i < rows.end; ++i) {
    const float* teacher = row_as_float(p.teacher, p.teacher_type, i, dim, padded, kPadding, row);
    const double entropy = teacher_row(teacher, centre, padded, dim, inv_teacher, probabilities);
    const float* student = row_as_float(p.student, p.student_type, i, dim, padded, kPadding, row);
    const bool in_place = p.student_grad && p.student_type == Storage::kFloat && dim == padded;
    float* out = in_place ? static_cast<float*>(p.student_grad) + i * dim : work;
    const auto coefficient = static_cast<float>(static_cast<double>(p.row_weight[i]) / (p.divisor * p.student_temp));
    const StudentRow result = student_row(student, probabilities, padded, 1.0f, inv_student, coefficient, out, p.student_grad != nullptr);
    if (p.student_grad) write_row(p.student_grad, p.student_type, i, dim, out);
    rows.sums[i] = {result.cross_entropy, entropy, result.entropy};
  }
}

}  // namespace

CpuLevel level() {
  return cpu_level() < CpuLevel::kAvx512 ? cpu_level() : CpuLevel::kAvx512;
}

int64_t dino_scratch_size(const DinoProblem& problem) {
  return padded_dim(problem.dim) * (5 + problem.teacher_views);
}
DINOXX_LOSS_LEVELS(dino_images, DinoImages)

int64_t patch_scratch_size(const PatchProblem& problem) {
  return padded_dim(problem.dim) * 4;
}
DINOXX_LOSS_LEVELS(patch_rows, PatchRows)

}  // namespace dinoxx::loss_kernel
