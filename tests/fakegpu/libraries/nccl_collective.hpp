// What a collective computes, over the places of a segment.
#pragma once
#include <nccl.h>

#include <atomic>

#include "nccl_segment.hpp"

namespace fakegpu {

enum class Kind { kAllReduce, kReduceScatter, kAllGather, kBroadcast };

struct Collective {
  Kind kind;
  const void* send;  ///< device addresses, or the host's
  void* receive;
  size_t count;  ///< NCCL's own: of the result's part for reduce-scatter, of the input's for all-gather
  ncclDataType_t type;
  ncclRedOp_t operation = ncclSum;
  int root = 0;
};

size_t bytes_of(ncclDataType_t type);
/// Of the larger side.
double payload(const Collective& what, int size);
/// Sums in the order of the ranks, so that all get the same bits. ncclInvalidUsage: the ranks called different collectives;
/// ncclRemoteError: one is gone.
ncclResult_t perform(const Collective& what, Segment& segment, int rank, int size, const std::atomic<bool>& closed);

}  // namespace fakegpu
