#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "comm/named_tensor.hpp"

namespace dinoxx {

/// One parameter's place in the flat buffers.
struct Segment {
  std::string name;
  int64_t offset = 0;  ///< elements; aligned to 64
  int64_t numel = 0;
  std::vector<int64_t> shape;  ///< of the whole parameter
  int64_t first = 0;           ///< which element of the parameter lies at `offset`: 0 but in the layout of a rank's shard
  bool decay = true;           ///< false: biases and every 1-D parameter
  bool last_layer = false;     ///< frozen in the first epochs (v1), name contains "last_layer"
  bool trainable = true;       ///< false: never stepped (weight_g with norm_last_layer)
};
/// Range of the flat buffer that travels as one collective. Its length is a multiple of kBucketMultiple, so that the usual world sizes cut
/// it into equal parts.
struct Bucket {
  int64_t begin = 0, end = 0;               ///< elements
  int first_segment = 0, last_segment = 0;  ///< [first, last)
  int block = -1;                           ///< of a layout by block: the block of the backbone whose parameters it holds; -1: others
  bool columns = false;                     ///< its one parameter is spread over ranks by prototypes (column_range)
};

/// 64 * 9 * 5 * 7: divisible by every world size up to 10 and by every product of its factors (12, 16, 24, 32, 48, 64 ...).
inline constexpr int64_t kBucketMultiple = 20160;
inline constexpr int64_t kSegmentAlignment = 64;  ///< elements
/// Of the length of a bucket that `ranks` ranks share: kBucketMultiple where each rank has all, else so that the ranks' equal parts are
/// aligned.
int64_t bucket_multiple(int ranks);

/// Which prototypes a rank has where they are spread over ranks: a multiple of 64 on each, so that parts of flat buffers are aligned, but
/// for the last that has any.
struct ColumnRange {
  int64_t first = 0, count = 0;
};
ColumnRange column_range(int64_t prototypes, int ranks, int rank);
/// UsageError where a rank would have none. `name`: of the parameter or its head.
void check_columns(int64_t prototypes, int ranks, const std::string& name);

/// The number behind the last "blocks." of a parameter's name, -1 without one.
int transformer_block(const std::string& name);

/// Where everything lies: computed once from the parameters in order of execution, laid out in reverse of it (the order in which gradients
/// become ready). Consumed by DDP, optimizer, EMA, clipping, divergence hash and checkpoint.
struct ParamLayout {
  std::vector<Segment> segments;
  std::vector<Bucket> buckets;
  int64_t numel = 0;  ///< with padding
  uint64_t hash = 0;  ///< of names, shapes and offsets; stored in the checkpoint's manifest

  /// Biases and 1-D parameters get decay = false, "last_layer" in the name last_layer = true; with freeze_weight_g a "last_layer.weight_g"
  /// is not trainable. A bucket is closed when it holds `bucket_bytes` of float32, and where `by_block` at the end of each block of the
  /// backbone; `ranks` share each (Shards). `by_columns`: the parameters of last layers are buckets of their own, whose equal parts are the
  /// ranks' prototypes. UsageError for no parameter, or fewer prototypes than ranks can share; Error for an empty or a repeated name.
  static ParamLayout build(const NamedTensors& in_execution_order, int64_t bucket_bytes = 4 << 20, bool freeze_weight_g = true,
                           int ranks = 1, bool by_block = false, bool by_columns = false);
};

}  // namespace dinoxx
