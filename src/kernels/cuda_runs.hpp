// Kernels over many runs of very different lengths in one launch: each run gets a block for every kRunChunk of its elements. The table of
// runs travels as the kernel's argument, so that nothing is copied to the device; longer tables take several launches.
#pragma once
#include "cuda_launch.hpp"

namespace dinoxx::cuda {

constexpr int kRunThreads = 256;
constexpr int64_t kRunChunk = 4096;  ///< elements of a block; a multiple of every vector's

template <class Run, int kMost>
struct RunTable {
  static constexpr int kRuns = kMost;
  Run run[kMost];
  int32_t first_block[kMost];
  int32_t count, blocks;
};

inline int64_t run_blocks(int64_t numel) {
  return (numel + kRunChunk - 1) / kRunChunk;
}

/// launch(table, first): first is the table's first run. Runs have a member `numel`, which may be 0.
template <class Table, class Run, class Launch>
cudaError_t for_each_table(const Run* runs, int count, Launch launch) {
  for (int first = 0; first < count; first += Table::kRuns) {
    Table table;
    table.count = count - first < Table::kRuns ? count - first : Table::kRuns;
    table.blocks = 0;
    for (int r = 0; r < table.count; ++r) {
      table.run[r] = runs[first + r];
      table.first_block[r] = table.blocks;
      table.blocks += static_cast<int32_t>(run_blocks(table.run[r].numel));
    }
    if (table.blocks == 0) continue;
    launch(table, first);
    if (const cudaError_t code = cudaGetLastError(); code != cudaSuccess) return code;
  }
  return cudaSuccess;
}

/// The last run that begins at this block or before: an empty run has the same first block as the one behind it.
template <class Table>
__device__ __forceinline__ int run_of_block(const Table& table) {
  int low = 0, high = table.count - 1;
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (table.first_block[middle] <= static_cast<int>(blockIdx.x))
      low = middle;
    else
      high = middle - 1;
  }
  return low;
}

/// Elements [begin, end) of the run that are this block's.
struct Chunk {
  int64_t begin, end;
};
template <class Table>
__device__ __forceinline__ Chunk chunk_of_block(const Table& table, int r) {
  const int64_t begin = (static_cast<int64_t>(blockIdx.x) - table.first_block[r]) * kRunChunk, numel = table.run[r].numel;
  return {begin, begin + kRunChunk < numel ? begin + kRunChunk : numel};
}

}  // namespace dinoxx::cuda
