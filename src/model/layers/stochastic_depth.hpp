#pragma once
#include <ATen/core/Tensor.h>

#include "config/vit_config.hpp"
#include "row_origin.hpp"

namespace dinoxx {

/// What becomes of a residual branch for each row of a batch: "mask": a gain of 0 or 1 / keep for each row; "subset": the branch runs on
/// some rows only, with a common gain. Neither: the branch runs as it is.
struct BranchDraw {
  at::Tensor scale;  ///< mask: [rows], 0 or 1 / keep
  at::Tensor kept;   ///< subset: row numbers, int64, ascending
  double gain = 1;   ///< subset
};

/// The draw of a block's branch (0: attention, 1: feed-forward) for `rows` rows [view][slot], a function of (seed, position, view, block,
/// branch) alone. No origin or rate 0: no draw.
///
/// "subset" keeps, of each group of g consecutive slots of a view (drop_path_group, by default the local batch), the max(floor(g (1 -
/// rate)), 1) samples with the smallest draws, at gain g / kept (facebookresearch/dinov2 layers/block.py chooses a random subset per rank;
/// with groups the choice does not depend on the number of ranks). Error when the group does not divide the slots.
BranchDraw draw_branch(const VitConfig& config, const RowOrigin* origin, int64_t rows, size_t block, int branch,
                       const at::TensorOptions& like);

}  // namespace dinoxx
