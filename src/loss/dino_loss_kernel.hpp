#pragma once
#include <cstdint>

/// The DINO loss row by row on the CPU: for one image, the teacher's probabilities of its G views stay in the cache while each student row
/// is read once from memory and its gradient written once.
namespace dinoxx::dino_kernel {

/// Instruction sets that the kernel is compiled for; best_level() is what this processor runs.
enum class Level { kGeneric, kAvx2, kAvx512 };
Level best_level();

enum class Storage { kFloat, kBFloat16 };

/// Row-major [V, B, K] and [G, B, K].
struct Problem {
  const void* student = nullptr;
  const void* teacher = nullptr;
  const float* centre = nullptr;  ///< [K]
  void* student_grad = nullptr;   ///< like student, or null when no gradient is wanted; d loss / d student
  Storage student_type = Storage::kFloat, teacher_type = Storage::kFloat;
  int64_t views = 0, teacher_views = 0, batch = 0, dim = 0;
  double student_temp = 0.1, teacher_temp = 0.04;
};

/// Sums over the pairs of image b (loss; divide by pairs * batch) and over its teacher rows (entropy; divide by teacher_views * batch), in
/// nats.
struct ImageSums {
  double loss = 0, entropy = 0;
};

/// Floats of scratch that images() needs.
int64_t scratch_size(const Problem& problem);
/// Images [begin, end), sums[b] for each. Not finite when a logit is not.
void images(const Problem& problem, int64_t begin, int64_t end, float* scratch, ImageSums* sums, Level level);

}  // namespace dinoxx::dino_kernel
