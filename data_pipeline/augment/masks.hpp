#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace dinoxx {

enum class MaskKind {
  kDinov2,      ///< rectangles on a share of the crops, ratios stratified over a group; at most the target is masked
  kDinov3,      ///< the same with the strata's upper edges, completed by single patches: exactly the target is masked
  kIbotBlock,   ///< rectangles on every crop, a ratio for each from the list
  kIbotRandom,  ///< single patches, exactly the target
};
/// "dinov2", "dinov3", "ibot-block", "ibot-random"; UsageError with the nearest name for an unknown one.
MaskKind mask_kind(const std::string& name);
const std::vector<std::string>& mask_kind_names();

/// Which patches of global crops are hidden from the student (dinov2/data/masking.py and collate.py; ibot loader.py; BEiT, Bao et al. 2022,
/// for the rectangles: aspect log-uniform in [.3, 1/.3], ten attempts each).
struct MaskSpec {
  MaskKind kind = MaskKind::kDinov2;
  // dinov2, dinov3
  double probability = 0.5;                 ///< share of the crops of a group that get a mask, rounded down to whole crops
  double ratio_min = 0.1, ratio_max = 0.5;  ///< share of a masked crop's patches
  bool shift = false;                       ///< masks are moved along both axes, around the edges (dinov3's mask_random_circular_shift)
  int group_size =
      1;  ///< consecutive batch slots that are stratified and shuffled together: what the published code does for a rank's batch
  // ibot
  std::vector<double> ratios{0.3};     ///< one is chosen for each crop
  std::vector<double> variances{0.0};  ///< each ratio is drawn from ratio +- variance; one for all or one for each
};

/// UsageError, naming the field: a ratio or probability outside [0, 1], an empty or reversed range, a grid of one patch, a group size that
/// does not divide the `slots` of a rank, ratios that mask no patch of this grid, no crop of a group that gets a mask.
void check_masks(const MaskSpec& spec, int rows, int columns, int global_views, int64_t slots);

/// Patches that the scheme aims to mask, at least, in all global crops of `slots` images: each at the lower end of its range (iBOT's: of the
/// mean over its ratios). Rectangles that find no room may leave a few less. Arguments as check_masks wants them.
int64_t fewest_masked(const MaskSpec& spec, int rows, int columns, int global_views, int64_t slots);

/// Masks of all global crops of consecutive batch slots: out [global_views][slot][rows * columns], 1 = masked. `positions`: global position
/// of each slot; a group begins at every group_size-th. A mask is a function of (spec, grid, seed, first position of its group, place in
/// the group), for iBOT's kinds of (spec, grid, seed, its position, view): not of ranks or threads. Arguments as check_masks wants them.
void make_masks(const MaskSpec& spec, int rows, int columns, int global_views, std::span<const uint64_t> positions, uint64_t seed,
                std::vector<uint8_t>& out);

}  // namespace dinoxx
