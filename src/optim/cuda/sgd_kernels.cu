#include "sgd_kernels.hpp"

#include "block_sums.hpp"
#include "kernels/cuda_device.hpp"

namespace dinoxx::optim_detail {
namespace {

using namespace cuda;

using Runs = RunTable<SgdRun, 96>;
struct Groups {
  LarsGroup group[128];
};
static_assert(sizeof(Runs) < 4000 && sizeof(Groups) < 4000, "arguments of a kernel");

__global__ void __launch_bounds__(kRunThreads)
    lars_rates(const __grid_constant__ Groups groups, const double* parts, int64_t all_parts, LarsRule rule, SgdRates* rates) {
  __shared__ double shared[kRunThreads];
  const LarsGroup& group = groups.group[blockIdx.x];
  const double weights = sum_of_parts(parts + group.parts.first_part, group.parts.parts, shared);
  __syncthreads();
  const double gradients = sum_of_parts(parts + all_parts + group.parts.first_part, group.parts.parts, shared);
  if (threadIdx.x > 0) return;
  const Update update = lars_update(rule, group.lr, group.weight_decay, weights, gradients);
  rates[blockIdx.x] = {static_cast<float>(update.q), static_cast<float>(update.weight_decay), static_cast<float>(update.lr)};
}

__device__ __forceinline__ void update(float& p, float g, float& v, const SgdRates& c, float momentum) {
  v = momentum * v + c.q * (g + c.decay * p);
  p -= c.rate * v;
}

__global__ void __launch_bounds__(kRunThreads) sgd(const __grid_constant__ Runs runs, const SgdRates* rates, float momentum, float* all_p,
                                                   const float* all_g, float* all_v, uint16_t* all_bf16) {
  const int r = run_of_block(runs);
  const SgdRun& run = runs.run[r];
  const SgdRates c = run.group < 0 ? run.rates : rates[run.group];
  const Chunk chunk = chunk_of_block(runs, r);
  float *const p = all_p + run.begin, *const v = all_v + run.begin;
  const float* const g = all_g + run.begin;
  Bf16* const bf16 = all_bf16 ? reinterpret_cast<Bf16*>(all_bf16) + run.begin : nullptr;
  constexpr int kWidth = 8;  // of a vector of bf16
  int64_t begin = chunk.begin;
  if (is_aligned(p) && is_aligned(g) && is_aligned(v) && is_aligned(bf16)) {
    const int64_t whole = begin + (chunk.end - begin) / kWidth * kWidth;
    for (int64_t i = begin + static_cast<int64_t>(threadIdx.x) * kWidth; i < whole; i += kRunThreads * kWidth) {
      float moved[kWidth];
#pragma unroll
      for (int part = 0; part < kWidth; part += 4) {
        float values[4], gradient[4], velocity[4];
        load_vector(p + i + part, values);
        load_vector(g + i + part, gradient);
        load_vector(v + i + part, velocity);
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          update(values[k], gradient[k], velocity[k], c, momentum);
          moved[part + k] = values[k];
        }
        store_vector(p + i + part, values);
        store_vector(v + i + part, velocity);
      }
      if (bf16) store_vector(bf16 + i, moved);
    }
    begin = whole;
  }
  for (int64_t i = begin + threadIdx.x; i < chunk.end; i += kRunThreads) {
    update(p[i], g[i], v[i], c, momentum);
    if (bf16) store(bf16 + i, p[i]);
  }
}

}  // namespace

cudaError_t launch_lars_rates(const LarsGroup* groups, int count, const double* parts, int64_t all_parts, const LarsRule& rule,
                              SgdRates* rates, cudaStream_t stream) {
  constexpr int kMost = 128;
  for (int first = 0; first < count; first += kMost) {
    const int now = count - first < kMost ? count - first : kMost;
    Groups table;
    for (int g = 0; g < now; ++g) table.group[g] = groups[first + g];
    DINOXX_LAUNCH_TOGETHER(lars_rates, now, kRunThreads, stream)(table, parts, all_parts, rule, rates + first);
    if (const cudaError_t code = cudaGetLastError(); code != cudaSuccess) return code;
  }
  return cudaSuccess;
}

cudaError_t launch_sgd(const SgdRun* runs, int count, const SgdRates* rates, float momentum, float* p, const float* g, float* v,
                       uint16_t* bf16, cudaStream_t stream) {
  return for_each_table<Runs>(runs, count, [&](const Runs& table, int) {
    DINOXX_LAUNCH(sgd, table.blocks, kRunThreads, stream)(table, rates, momentum, p, g, v, bf16);
  });
}

}  // namespace dinoxx::optim_detail
