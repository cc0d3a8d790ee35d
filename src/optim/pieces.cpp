#include "pieces.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "dinoxx/base/error.hpp"
#include "kernels/optim/flat_kernels.hpp"

namespace dinoxx::optim_detail {

std::vector<Piece> pieces_of(const ParamLayout& layout, const std::vector<SegmentRule>& rules) {
  std::vector<Piece> pieces;
  for (size_t s = 0; s < layout.segments.size(); ++s) {
    const Segment& segment = layout.segments[s];
    if (!moves(segment, rules[s])) continue;
    for (int64_t done = 0; done < segment.numel; done += kPiece)
      pieces.push_back({segment.offset + done, std::min(kPiece, segment.numel - done), s});
  }
  return pieces;
}

void for_each_piece(const std::vector<Piece>& pieces, const std::function<void(const Piece&, size_t)>& work) {
  at::parallel_for(0, static_cast<int64_t>(pieces.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) work(pieces[static_cast<size_t>(i)], static_cast<size_t>(i));
  });
}

std::vector<double> segment_sums(const ParamLayout& layout, const FlatState& state, const std::vector<SegmentRule>& rules,
                                 const std::function<double(const Piece&)>& of) {
  const std::vector<Piece> pieces = pieces_of(layout, rules);
  std::vector<double> parts(pieces.size());
  for_each_piece(pieces, [&](const Piece& piece, size_t i) { parts[i] = of(piece); });
  std::vector<double> sums(layout.segments.size(), 0.0);
  for (size_t i = 0; i < pieces.size(); ++i) sums[pieces[i].segment] += parts[i];
  state.sum_over_shards(at::from_blob(sums.data(), {static_cast<int64_t>(sums.size())}, at::kDouble));
  return sums;
}

std::vector<double> segment_squares(const ParamLayout& layout, const FlatState& state, const at::Tensor& flat,
                                    const std::vector<SegmentRule>& rules) {
  return segment_sums(layout, state, rules, [&](const Piece& piece) {
    return flat.scalar_type() == at::kFloat ? flat_kernels().squares_f32(flat.data_ptr<float>() + piece.begin, piece.numel)
                                            : flat_kernels().squares_f64(flat.data_ptr<double>() + piece.begin, piece.numel);
  });
}

void require_rules(const ParamLayout& layout, const std::vector<SegmentRule>& rules, const char* what) {
  if (rules.size() != layout.segments.size())
    fail(what, fmt::format("one rule for each of {} segments", layout.segments.size()), fmt::format("{}", rules.size()),
         "Make them with segment_rules");
}

void require_type(const at::Tensor& flat, const char* what) {
  if (flat.scalar_type() != at::kFloat && flat.scalar_type() != at::kDouble)
    fail(what, "float32 or float64 masters", c10::toString(flat.scalar_type()), "");
}

void require_state(const ParamLayout& layout, const FlatState& state, at::Tensor& tensor, const std::vector<int64_t>& steps,
                   const char* what) {
  if (tensor.scalar_type() != state.master.scalar_type() || tensor.numel() != state.master.numel() ||
      steps.size() != layout.segments.size()) {
    fail(what, fmt::format("buffers of {} {} elements", tensor.numel(), c10::toString(tensor.scalar_type())),
         fmt::format("{} {}", state.master.numel(), c10::toString(state.master.scalar_type())), "The optimizer belongs to another network");
  }
  if (tensor.device() != state.master.device()) tensor = tensor.to(state.master.device());
}

uint16_t* bf16_copy(const FlatState& state) {
  return state.compute.scalar_type() == at::kBFloat16 ? static_cast<uint16_t*>(state.compute.data_ptr()) : nullptr;
}

}  // namespace dinoxx::optim_detail
