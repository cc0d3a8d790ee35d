#pragma once
#include <cstdint>

#include "loss_level.hpp"

/// The DINO and patch losses row by row on the CPU: the teacher's probabilities of one image stay in the cache while each student row is
/// read once from memory and its gradient written once.
namespace dinoxx::loss_kernel {

/// Row-major [V, B, K] and [G, B, K].
struct DinoProblem {
  const void* student = nullptr;
  const void* teacher = nullptr;
  const float* centre = nullptr;  ///< [K]
  void* student_grad = nullptr;   ///< like student, or null when no gradient is wanted; d loss / d student
  Storage student_type = Storage::kFloat, teacher_type = Storage::kFloat;
  int64_t views = 0, teacher_views = 0, batch = 0, dim = 0;
  double student_temp = 0.1, teacher_temp = 0.04;
  double local_weight = 1.0;  ///< of pairs whose student view has no teacher
};

/// Sums in nats: over the pairs of image b (loss with, cross_entropy without local_weight; divide by pairs * batch), over its teacher rows
/// (entropy; by teacher_views * batch) and student rows (student_entropy; by views * batch).
struct ImageSums {
  double loss = 0, cross_entropy = 0, entropy = 0, student_entropy = 0;
};

/// Images [begin, end), sums[b] for each. Not finite when a logit is not.
struct DinoImages {
  const DinoProblem* problem = nullptr;
  int64_t begin = 0, end = 0;
  float* scratch = nullptr;  ///< dino_scratch_size() floats
  ImageSums* sums = nullptr;
};
int64_t dino_scratch_size(const DinoProblem& problem);
void dino_images(const DinoImages& images, CpuLevel level);

/// Row-major [M, K].
struct PatchProblem {
  const void* student = nullptr;
  const void* teacher = nullptr;
  const float* centre = nullptr;      ///< [K]
  const float* row_weight = nullptr;  ///< [M]
  void* student_grad = nullptr;       ///< like student, or null
  Storage student_type = Storage::kFloat, teacher_type = Storage::kFloat;
  int64_t dim = 0;
  double student_temp = 0.1, teacher_temp = 0.04, divisor = 1.0;
};

/// Of one row, in nats; the loss without weight and divisor.
struct PatchSums {
  double cross_entropy = 0, entropy = 0, student_entropy = 0;
};

/// Rows [begin, end), sums[i] for each.
struct PatchRows {
  const PatchProblem* problem = nullptr;
  int64_t begin = 0, end = 0;
  float* scratch = nullptr;  ///< patch_scratch_size() floats
  PatchSums* sums = nullptr;
};
int64_t patch_scratch_size(const PatchProblem& problem);
void patch_rows(const PatchRows& rows, CpuLevel level);

}  // namespace dinoxx::loss_kernel
