#include "gather_kernels.hpp"
#include "kernels/cuda_device.hpp"
#include "kernels/cuda_runs.hpp"

namespace dinoxx::parallel_detail {
namespace {

using namespace cuda;

using Runs = RunTable<GatherRun, 96>;
static_assert(sizeof(Runs) < 4000, "arguments of a kernel");

template <class T>
__device__ void gather_chunk(const T* __restrict__ from, float* __restrict__ to, Chunk chunk, bool add) {
  constexpr int kWidth = kVector<T>;
  int64_t begin = chunk.begin;
  if (is_aligned(from) && is_aligned(to)) {  // chunks begin at multiples of a vector
    const int64_t whole = begin + (chunk.end - begin) / kWidth * kWidth;
    for (int64_t i = begin + static_cast<int64_t>(threadIdx.x) * kWidth; i < whole; i += kRunThreads * kWidth) {
      float values[kWidth];
      load_vector(from + i, values);
#pragma unroll
      for (int part = 0; part < kWidth; part += 4) {
        float sum[4] = {0, 0, 0, 0};
        if (add) load_vector(to + i + part, sum);
#pragma unroll
        for (int k = 0; k < 4; ++k) sum[k] = add ? sum[k] + values[part + k] : values[part + k];
        store_vector(to + i + part, sum);
      }
    }
    begin = whole;
  }
  for (int64_t i = begin + threadIdx.x; i < chunk.end; i += kRunThreads) to[i] = add ? to[i] + to_float(from[i]) : to_float(from[i]);
}

__global__ void __launch_bounds__(kRunThreads) gather(const __grid_constant__ Runs runs, float* flat) {
  const int r = run_of_block(runs);
  const GatherRun& run = runs.run[r];
  const Chunk chunk = chunk_of_block(runs, r);
  if (run.bf16)
    gather_chunk(static_cast<const Bf16*>(run.from), flat + run.offset, chunk, run.add);
  else
    gather_chunk(static_cast<const float*>(run.from), flat + run.offset, chunk, run.add);
}

}  // namespace

cudaError_t launch_gather(const GatherRun* runs, int count, float* flat, cudaStream_t stream) {
  return for_each_table<Runs>(runs, count, [&](const Runs& table, int) {
    DINOXX_LAUNCH(gather, table.blocks, kRunThreads, stream)(table, flat);
  });
}

}  // namespace dinoxx::parallel_detail
