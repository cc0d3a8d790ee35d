#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "comm/named_tensor.hpp"

namespace dinoxx {

/// One parameter's place in the flat buffers.
struct Segment {
  std::string name;
  int64_t offset = 0;  ///< elements; aligned to 64
  int64_t numel = 0;
  std::vector<int64_t> shape;
  bool decay = true;        ///< false: biases and every 1-D parameter
  bool last_layer = false;  ///< frozen in the first epochs (v1), name contains "last_layer"
  bool trainable = true;    ///< false: never stepped (weight_g with norm_last_layer)
};
/// Range of the flat buffer that travels as one collective. Its length is a multiple of kBucketMultiple, so that the usual world sizes cut it into equal parts.
struct Bucket {
  int64_t begin = 0, end = 0;            ///< elements
  int first_segment = 0, last_segment = 0;  ///< [first, last)
};

/// 64 * 9 * 5 * 7: divisible by every world size up to 10 and by every product of its factors (12, 16, 24, 32, 48, 64 ...).
inline constexpr int64_t kBucketMultiple = 20160;
inline constexpr int64_t kSegmentAlignment = 64;  ///< elements

/// Where everything lies: computed once from the parameters in order of execution, laid out in reverse of it (the order in which gradients become ready).
/// Consumed by DDP, optimizer, EMA, clipping, divergence hash and checkpoint.
struct ParamLayout {
  std::vector<Segment> segments;
  std::vector<Bucket> buckets;
  int64_t numel = 0;  ///< with padding
  uint64_t hash = 0;  ///< of names, shapes and offsets; stored in the checkpoint's manifest

  /// Biases and 1-D parameters get decay = false, "last_layer" in the name last_layer = true; with freeze_weight_g a "last_layer.weight_g" is not trainable. A
  /// bucket is closed when it holds `bucket_bytes` of float32. UsageError for no parameter; Error for an empty or a repeated name.
  static ParamLayout build(const NamedTensors& in_execution_order, int64_t bucket_bytes = 4 << 20, bool freeze_weight_g = true);
};

/// The flat buffers of one network. Construction moves the parameters' values into `master` and makes the parameters views: of `master`, or of `compute` when
/// the network computes in bfloat16. Gradients (requires_grad networks) are views of `grad` in the master's type, whatever the network computes in. Never call
/// zero_grad() on a module or an optimizer, it drops the views: zero_grad() here. No change of device or type after construction. Padding is zero.
struct FlatState {
  /// `parameters` are matched to the layout by name. `compute_dtype` absent: the type that the parameters have. with_grad: trainable parameters get
  /// requires_grad and a view of `grad`; without, none requires a gradient. Error when names or shapes are not the layout's.
  FlatState(const ParamLayout& layout, const NamedTensors& parameters, bool with_grad, at::ScalarType master_dtype = at::kFloat,
            std::optional<at::ScalarType> compute_dtype = std::nullopt);
  void publish();    ///< compute <- master (a cast); nothing when they are the same storage
  void zero_grad();
  at::Tensor master;   ///< [layout.numel] float32 (float64 in tests)
  at::Tensor compute;  ///< same storage as master, or the bfloat16 copy
  at::Tensor grad;     ///< [layout.numel] in the master's type; undefined without gradient
};

}  // namespace dinoxx
