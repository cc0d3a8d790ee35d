#pragma once
#include <algorithm>
#include <cstddef>
#include <numeric>
#include <vector>

namespace dinoxx {

/// Sets of the numbers 0 .. size-1 that grow together (union-find with path halving). The smallest number stands for its set.
class DisjointSets {
 public:
  explicit DisjointSets(size_t size) : parent_(size) { std::iota(parent_.begin(), parent_.end(), size_t{0}); }
  size_t find(size_t i) {
    while (parent_[i] != i) i = parent_[i] = parent_[parent_[i]];
    return i;
  }
  void join(size_t a, size_t b) {
    a = find(a);
    b = find(b);
    parent_[std::max(a, b)] = std::min(a, b);
  }

 private:
  std::vector<size_t> parent_;
};

}  // namespace dinoxx
