#pragma once
#include <functional>
#include <vector>

#include "parallel/flat_state.hpp"
#include "rules.hpp"

namespace dinoxx::optim_detail {

/// Threads share a segment in pieces of this size; sums are taken piece by piece in order, whatever the number of threads.
inline constexpr int64_t kPiece = 1 << 16;

struct Piece {
  int64_t begin = 0, numel = 0;  ///< elements of the flat buffers
  size_t segment = 0;
};

inline bool moves(const Segment& segment, const SegmentRule& rule) {
  return segment.trainable && !rule.frozen;
}
/// Of all segments that move, in order.
std::vector<Piece> pieces_of(const ParamLayout& layout, const std::vector<SegmentRule>& rules);
void for_each_piece(const std::vector<Piece>& pieces, const std::function<void(const Piece&, size_t)>& work);

/// What `of` makes of each piece, added up for each segment, over the ranks that share the buffers too: 0 for segments that do not move. On
/// a CPU; same bits for any number of threads.
std::vector<double> segment_sums(const ParamLayout& layout, const FlatState& state, const std::vector<SegmentRule>& rules,
                                 const std::function<double(const Piece&)>& of);
/// Sums of squares of one of the state's buffers.
std::vector<double> segment_squares(const ParamLayout& layout, const FlatState& state, const at::Tensor& flat,
                                    const std::vector<SegmentRule>& rules);

/// Error unless one rule stands for each segment.
void require_rules(const ParamLayout& layout, const std::vector<SegmentRule>& rules, const char* what);
/// Error unless float32 or float64.
void require_type(const at::Tensor& flat, const char* what);
/// Error unless an optimizer's state tensor fits; moves it to the masters' device (the network has been built on a GPU, or a checkpoint was
/// read into host memory).
void require_state(const ParamLayout& layout, const FlatState& state, at::Tensor& tensor, const std::vector<int64_t>& steps,
                   const char* what);
/// Where a pass may write the bf16 copy as it goes; null when there is none or it has another type.
uint16_t* bf16_copy(const FlatState& state);

}  // namespace dinoxx::optim_detail
