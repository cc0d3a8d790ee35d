#pragma once
#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include "base/rng.hpp"
#include "lanes.hpp"

namespace dinoxx::eval {

// Rows of at most `most` of the images, ascending, a function of (seed, ids, lane of the draws).
inline std::vector<int64_t> sample_rows(const std::vector<uint64_t>& ids, size_t most, uint64_t seed, uint32_t draws) {
  std::vector<int64_t> rows(ids.size());
  std::iota(rows.begin(), rows.end(), int64_t{0});
  if (rows.size() <= most) return rows;
  std::vector<uint64_t> drawn;
  drawn.reserve(ids.size());
  for (const uint64_t id : ids) drawn.push_back(CounterRng(seed, id, draws, Purpose::kEval).next_u64());
  std::nth_element(rows.begin(), rows.begin() + static_cast<int64_t>(most), rows.end(),
                   [&](int64_t a, int64_t b) { return drawn[a] != drawn[b] ? drawn[a] < drawn[b] : a < b; });
  rows.resize(most);
  std::sort(rows.begin(), rows.end());
  return rows;
}

}  // namespace dinoxx::eval
