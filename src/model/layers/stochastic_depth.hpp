#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "config/vit_config.hpp"
#include "ops/packed.hpp"
#include "row_origin.hpp"

namespace dinoxx {

/// What becomes of a residual branch for each row of a batch: "mask": a gain of 0 or 1 / keep for each row; "subset": the branch runs on
/// some rows only, with a common gain. Neither: the branch runs as it is.
struct BranchDraw {
  at::Tensor scale;  ///< mask: [rows], 0 or 1 / keep
  at::Tensor kept;   ///< subset: row numbers, int64, ascending
  double gain = 1;   ///< subset
};

/// The draws of all blocks and branches of one forward pass for `rows` rows [view][slot], a function of (seed, position, view, block,
/// branch) alone. Made on the host and brought to the device of `like` by one copy, which the host does not wait for.
///
/// "subset" keeps, of each group of g consecutive slots of a view (drop_path_group, by default the local batch), the max(floor(g (1 -
/// rate)), 1) samples with the smallest draws, at gain g / kept (facebookresearch/dinov2 layers/block.py chooses a random subset per rank;
/// with groups the choice does not depend on the number of ranks). Error when the group does not divide the slots.
class BranchDraws {
 public:
  BranchDraws() = default;
  /// `branches` of each block: 2 of a transformer's (0: attention, 1: feed-forward), 1 of a convolutional one's. No origin or rate 0: no
  /// draws.
  BranchDraws(const VitConfig& config, const RowOrigin* origin, int64_t rows, int branches, const at::TensorOptions& like);
  /// Nothing where the rate of the block is 0.
  BranchDraw of(size_t block, int branch) const;

 private:
  struct Place {
    int64_t begin = 0, count = 0;  // in values_
    double gain = 1;
  };
  bool subset_ = false;
  int branches_ = 2;
  at::Tensor values_;          // of all, one after the other: scales or kept rows
  std::vector<Place> places_;  // [block * branches + branch]
};

/// The same draws for groups of rows that run as one matrix (ops/packed.hpp): for each block and branch a gain of every row, and with
/// "subset" its place among the rows that run.
class PackedDraws {
 public:
  struct Group {
    const RowOrigin* origin = nullptr;  ///< none: all rows run at gain 1
    int64_t rows = 0;
  };
  PackedDraws() = default;
  PackedDraws(const VitConfig& config, const std::vector<Group>& groups, at::Device device);
  ops::PackedBranch of(size_t block, int branch) const;

 private:
  struct Place {
    int64_t gain = -1, slot = -1;  // in values_
    std::vector<int64_t> kept;     // of each group
  };
  int64_t rows_ = 0;
  at::Tensor values_;          // int32; gains are the bits of float32
  std::vector<Place> places_;  // [block * 2 + branch]
};

}  // namespace dinoxx
