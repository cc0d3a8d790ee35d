#include "retrieval.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <vector>

namespace dinoxx::eval {
namespace {

// An integer that rises as the similarity falls, with the row below it: sorting these sorts by similarity, then by row.
uint64_t rank_key(float similarity, uint32_t row) {
  const uint32_t bits = std::bit_cast<uint32_t>(similarity + 0.0f);  // -0 is 0
  const uint32_t rising = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return static_cast<uint64_t>(~rising) << 32 | row;
}

}  // namespace

at::Tensor average_precisions(const at::Tensor& queries, std::span<const int32_t> query_labels, const at::Tensor& memory,
                              std::span<const int32_t> memory_labels) {
  const int64_t images = memory.size(0);
  const at::Tensor similarity = at::mm(queries, memory.t()).contiguous();
  at::Tensor result = at::empty({queries.size(0)}, at::kDouble);
  double* out = result.data_ptr<double>();
  std::vector<uint64_t> keys(images);
  for (int64_t q = 0; q < queries.size(0); ++q) {
    const float* row = similarity.data_ptr<float>() + q * images;
    for (int64_t i = 0; i < images; ++i) keys[i] = rank_key(row[i], static_cast<uint32_t>(i));
    std::sort(keys.begin(), keys.end());
    int64_t hits = 0;
    double precisions = 0;
    for (int64_t place = 0; place < images; ++place) {
      if (memory_labels[static_cast<uint32_t>(keys[place])] != query_labels[q]) continue;
      ++hits;
      precisions += static_cast<double>(hits) / static_cast<double>(place + 1);
    }
    out[q] = hits == 0 ? std::numeric_limits<double>::quiet_NaN() : precisions / static_cast<double>(hits);
  }
  return result;
}

}  // namespace dinoxx::eval
