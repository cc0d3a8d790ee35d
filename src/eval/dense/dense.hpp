#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <vector>

/// What segmentations are worth. Classes: 0 is the background.
namespace dinoxx::eval {

/// How many pixels (or patches) truth and answer give to each class and where they agree: sums over any images add up.
struct Overlap {
  explicit Overlap(int classes) : truth(classes), answer(classes), both(classes) {}
  void add(int32_t true_class, int32_t answered) {
    ++truth[true_class];
    ++answer[answered];
    if (true_class == answered) ++both[true_class];
  }
  std::vector<double> truth, answer, both;  ///< whole numbers, exact to 2^53
};
/// Intersection over union of a class: NaN for one that neither truth nor answer has.
double overlap_iou(const Overlap& overlap, int c);
/// Mean of overlap_iou over the classes that the truth has (one class of the answer alone lowers those it was taken from); NaN without any.
double mean_iou(const Overlap& overlap);
/// Share of agreement; NaN for no pixels.
double overlap_accuracy(const Overlap& overlap);
/// What a single answer everywhere would get.
Overlap constant_answer(const Overlap& overlap, int c);

/// Truth of each cell of a side x side grid over `mask` [size, size] (1 = object): 1 where more than half of the cell's pixels are object.
/// Pixel p belongs to cell p * side / size.
std::vector<uint8_t> object_cells(std::span<const uint8_t> mask, int64_t size, int64_t side);

/// The fewest cells that together hold `share` of the attention, those of most attention first (equal: the earlier): 1 = kept. DINO's
/// visualize_attention.py, --threshold.
std::vector<uint8_t> keep_mass(std::span<const float> attention, double share);

/// Jaccard index of kept cells, each pixel taking the value of its cell, and a mask that is not empty.
double cells_jaccard(std::span<const uint8_t> cells, int64_t side, std::span<const uint8_t> mask, int64_t size);

}  // namespace dinoxx::eval
