#include "koleo_kernels.hpp"

#include <cmath>

#include "kernels/cuda_device.hpp"

// x the normalised rows, n one of the neighbours of row i, d = || x_i - x_n + eps ||:
//   loss = - 1 / (N k) sum log(d + eps),   d loss / d x_i = - d loss / d x_n = - (x_i - x_n + eps) / (N k d (d + eps)).
namespace dinoxx::loss_cuda {
namespace {

using cuda::Bf16, cuda::kMaxWarps;

constexpr int kThreads = 128;
constexpr float kLowest = -3e38f;

// A block for each row.
template <class T>
__global__ void __launch_bounds__(kThreads) normalize(const T* features, KoleoRows rows, float eps) {
  __shared__ float shared[kMaxWarps];
  const int64_t row = blockIdx.x;
  const T* const x = features + row * rows.dim;
  float sum = 0;
  for (int64_t i = threadIdx.x; i < rows.dim; i += blockDim.x) {
    const float value = cuda::to_float(x[i]);
    sum += value * value;
  }
  const float norm = sqrtf(cuda::block_sum(sum, shared)), divisor = norm < eps ? eps : norm;  // NaN stays
  for (int64_t i = threadIdx.x; i < rows.dim; i += blockDim.x) rows.normalized[row * rows.dim + i] = cuda::to_float(x[i]) / divisor;
  if (threadIdx.x == 0) rows.norm[row] = divisor;
}

// The index within its group of the largest product that comes after (`value`, `index`) in descending order, the first of equals; for all
// threads. Where there is none: the first row other than `own`.
__device__ int next_nearest(const float* products, int group, int own, float& value, int index, float (*shared)[kMaxWarps]) {
  float most = kLowest;
  int place = -1;
  for (int j = static_cast<int>(threadIdx.x); j < group; j += static_cast<int>(blockDim.x)) {
    const float x = products[j];
    const bool after = x < value || (x == value && j > index);
    if (j != own && after && x > most) {
      most = x;
      place = j;
    }
  }
  const float all = cuda::block_max(most, shared[0]);
  const float first = cuda::block_max(place >= 0 && most == all ? static_cast<float>(-place) : kLowest, shared[1]);
  __syncthreads();
  value = all;
  return first > kLowest ? static_cast<int>(-first) : (own == 0 ? 1 : 0);
}

// A block for each row.
__global__ void __launch_bounds__(kThreads) nearest_rows(const float* dots, KoleoRows rows, float eps) {
  __shared__ float shared[3][kMaxWarps];
  const int64_t row = blockIdx.x, start = row / rows.group * rows.group;
  const int group = static_cast<int>(rows.group), own = static_cast<int>(row - start);
  const float* const x = rows.normalized + row * rows.dim;
  float value = -kLowest;
  int index = -1;
  for (int64_t k = 0; k < rows.neighbours; ++k) {
    index = next_nearest(dots + row * rows.group, group, own, value, index, shared);
    const float* const other = rows.normalized + (start + index) * rows.dim;
    float sum = 0;
    for (int64_t i = threadIdx.x; i < rows.dim; i += blockDim.x) {
      const float difference = x[i] - other[i] + eps;
      sum += difference * difference;
    }
    const float distance = sqrtf(cuda::block_sum(sum, shared[2]));
    if (threadIdx.x == 0) {
      rows.nearest[row * rows.neighbours + k] = static_cast<int32_t>(start + index);
      rows.distance[row * rows.neighbours + k] = distance;
    }
  }
}

// One block.
__global__ void __launch_bounds__(kThreads) mean_log(KoleoRows rows, float eps, float* loss) {
  __shared__ double shared[kThreads];
  const int64_t pairs = rows.count * rows.neighbours;
  double sum = 0;
  for (int64_t i = threadIdx.x; i < pairs; i += blockDim.x) sum += log(static_cast<double>(rows.distance[i] + eps));
  shared[threadIdx.x] = sum;
  for (unsigned half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
  }
  if (threadIdx.x == 0) *loss = static_cast<float>(-shared[0] / static_cast<double>(pairs));
}

// A block for each row i: what comes of its own neighbours, and of the rows whose neighbour it is, in their order.
template <class T>
__global__ void __launch_bounds__(kThreads) koleo_backward(T* grad, KoleoRows rows, float eps, const float* weight, float* scratch) {
  __shared__ float shared[kMaxWarps];
  const int64_t row = blockIdx.x, start = row / rows.group * rows.group, k = rows.neighbours;
  const float* const x = rows.normalized + row * rows.dim;
  float* const part = scratch + row * rows.dim;
  const float scale = -*weight / static_cast<float>(rows.count * k);
  float dot = 0;
  for (int64_t i = threadIdx.x; i < rows.dim; i += blockDim.x) {
    float sum = 0;
    for (int64_t n = row * k; n < (row + 1) * k; ++n) {
      const float d = rows.distance[n];
      sum += (x[i] - rows.normalized[rows.nearest[n] * rows.dim + i] + eps) / (d * (d + eps));
    }
    for (int64_t n = start * k; n < (start + rows.group) * k; ++n) {
      if (rows.nearest[n] != row) continue;
      const float d = rows.distance[n];
      sum -= (rows.normalized[n / k * rows.dim + i] - x[i] + eps) / (d * (d + eps));
    }
    sum *= scale;
    part[i] = sum;
    dot += sum * x[i];
  }
  // x = feature / norm; below eps the divisor is a constant
  dot = cuda::block_sum(dot, shared);
  const float norm = rows.norm[row];
  const float along = norm > eps ? dot : norm != norm ? norm : 0;
  for (int64_t i = threadIdx.x; i < rows.dim; i += blockDim.x) cuda::store(grad + row * rows.dim + i, (part[i] - along * x[i]) / norm);
}

unsigned blocks_of(const KoleoRows& rows) {
  return static_cast<unsigned>(rows.count);
}

}  // namespace

cudaError_t launch_normalize(Storage type, const void* features, const KoleoRows& rows, float eps, cudaStream_t stream) {
  if (type == Storage::kFloat)
    DINOXX_LAUNCH_TOGETHER(normalize<float>, blocks_of(rows), kThreads, stream)(static_cast<const float*>(features), rows, eps);
  else
    DINOXX_LAUNCH_TOGETHER(normalize<Bf16>, blocks_of(rows), kThreads, stream)(static_cast<const Bf16*>(features), rows, eps);
  return cudaGetLastError();
}

cudaError_t launch_nearest(const float* dots, const KoleoRows& rows, float eps, float* loss, cudaStream_t stream) {
  DINOXX_LAUNCH_TOGETHER(nearest_rows, blocks_of(rows), kThreads, stream)(dots, rows, eps);
  if (const cudaError_t code = cudaGetLastError(); code != cudaSuccess) return code;
  DINOXX_LAUNCH_TOGETHER(mean_log, 1, kThreads, stream)(rows, eps, loss);
  return cudaGetLastError();
}

cudaError_t launch_koleo_backward(Storage type, void* grad, const KoleoRows& rows, float eps, const float* weight, float* scratch,
                                  cudaStream_t stream) {
  if (type == Storage::kFloat)
    DINOXX_LAUNCH_TOGETHER(koleo_backward<float>, blocks_of(rows), kThreads, stream)(static_cast<float*>(grad), rows, eps, weight, scratch);
  else
    DINOXX_LAUNCH_TOGETHER(koleo_backward<Bf16>, blocks_of(rows), kThreads, stream)(static_cast<Bf16*>(grad), rows, eps, weight, scratch);
  return cudaGetLastError();
}

}  // namespace dinoxx::loss_cuda
