// The losses over prototypes on a GPU, behind raw pointers: the .cu file includes no LibTorch header.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/loss/loss_level.hpp"
#include "prototype_limits.hpp"

/// Logits are row-major rows of K, aligned to 16 bytes with K a multiple of 16 bytes and at most kMostPrototypes; at least one row. All
/// sums are float32 in a fixed order, those over rows float64. Results do not depend on the GPU's number of processors.
namespace dinoxx::loss_cuda {

using loss_kernel::Storage;

/// student [V, B, K], teacher [G, B, K] of one type.
struct DinoPass {
  Storage type = Storage::kFloat;
  const void* student = nullptr;
  const void* teacher = nullptr;
  const float* centre = nullptr;  ///< [K]
  void* student_grad = nullptr;   ///< like student, or null; d loss / d student
  int64_t views = 0, teacher_views = 0, batch = 0, dim = 0;
  double student_temp = 0.1, teacher_temp = 0.04, local_weight = 1;
  float* scratch = nullptr;   ///< [dino_scratch()]
  double* figures = nullptr;  ///< [kFigures], of `loss` as float32, nats: means over rows and pairs
  float* loss = nullptr;      ///< [1]
};
int64_t dino_scratch(const DinoPass& pass);
cudaError_t launch_dino(const DinoPass& pass, cudaStream_t stream);

/// student and teacher [M, K] of one type.
struct PatchPass {
  Storage type = Storage::kFloat;
  const void* student = nullptr;
  const void* teacher = nullptr;
  const float* centre = nullptr;      ///< [K]
  const float* row_weight = nullptr;  ///< [M]
  void* student_grad = nullptr;       ///< like student, or null
  int64_t rows = 0, dim = 0;
  double student_temp = 0.1, teacher_temp = 0.04, divisor = 1;
  float* scratch = nullptr;   ///< [patch_scratch()]
  double* figures = nullptr;  ///< [kFigures], as above
  float* loss = nullptr;      ///< [1]
};
int64_t patch_scratch(const PatchPass& pass);
cudaError_t launch_patch(const PatchPass& pass, cudaStream_t stream);

/// x *= *weight over `count` elements, rounded to their type; a weight of 1 costs a launch alone.
cudaError_t launch_scale(Storage type, void* x, int64_t count, const float* weight, cudaStream_t stream);

}  // namespace dinoxx::loss_cuda
