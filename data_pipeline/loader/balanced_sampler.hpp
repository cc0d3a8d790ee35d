#pragma once
#include <span>
#include <vector>

#include "loader.hpp"

namespace dinoxx {

/// Of each id the label in the first column, -1 for none.
std::vector<int32_t> labels_of(const Dataset& dataset, std::span<const uint64_t> ids);

/// Sample order in which classes come about as often as one another. Of the n positions of an epoch class c has a share by n_c^(1 -
/// balance), in whole images by largest remainders, at least one: 0 is each image once, 1 each class as often as any other. Within a class
/// images come in turns: all of them once, in an order of its own, then all once more. A function of (labels, balance, seed, position)
/// alone, like Sampler; O(images) memory.
class BalancedSampler {
 public:
  /// labels: of each row, at least 0. UsageError without rows, for a row without a label and for a balance outside [0, 1].
  BalancedSampler(std::span<const int32_t> labels, double balance, uint64_t seed);
  uint64_t row(uint64_t position) const;

  struct Class {
    int32_t label = 0;
    uint64_t images = 0;  ///< n_c
    uint64_t share = 0;   ///< positions of an epoch
  };
  /// That have images, by their labels.
  const std::vector<Class>& classes() const { return classes_; }

 private:
  std::vector<Class> classes_;
  std::vector<uint64_t> first_;              // place of an epoch at which each class begins, before the places are mixed
  std::vector<std::vector<uint64_t>> rows_;  // of each class
  std::vector<Sampler> within_;              // of each class
  Sampler places_;                           // the classes of an epoch, mixed
};

}  // namespace dinoxx
