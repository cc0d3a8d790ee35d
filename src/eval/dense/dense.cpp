#include "dense.hpp"

#include <algorithm>
#include <limits>
#include <numeric>

namespace dinoxx::eval {
namespace {

constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();

double sum(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

}  // namespace

double overlap_iou(const Overlap& o, int c) {
  const double either = o.truth[c] + o.answer[c] - o.both[c];
  return either > 0 ? o.both[c] / either : kUndefined;
}

double mean_iou(const Overlap& o) {
  double total = 0;
  int there = 0;
  for (size_t c = 0; c < o.truth.size(); ++c) {
    if (o.truth[c] == 0) continue;
    total += overlap_iou(o, static_cast<int>(c));
    ++there;
  }
  return there > 0 ? total / there : kUndefined;
}

double overlap_accuracy(const Overlap& o) {
  const double all = sum(o.truth);
  return all > 0 ? sum(o.both) / all : kUndefined;
}

Overlap constant_answer(const Overlap& overlap, int c) {
  Overlap result(static_cast<int>(overlap.truth.size()));
  result.truth = overlap.truth;
  result.answer[c] = sum(overlap.truth);
  result.both[c] = overlap.truth[c];
  return result;
}

std::vector<uint8_t> object_cells(std::span<const uint8_t> mask, int64_t size, int64_t side) {
  std::vector<int64_t> pixels(side * side), object(side * side);
  for (int64_t y = 0; y < size; ++y) {
    for (int64_t x = 0; x < size; ++x) {
      const int64_t cell = y * side / size * side + x * side / size;
      ++pixels[cell];
      object[cell] += mask[y * size + x];
    }
  }
  std::vector<uint8_t> cells;
  for (size_t i = 0; i < pixels.size(); ++i) cells.push_back(2 * object[i] > pixels[i] ? 1 : 0);
  return cells;
}

std::vector<uint8_t> keep_mass(std::span<const float> attention, double share) {
  std::vector<size_t> order(attention.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return attention[a] > attention[b]; });
  const double all = std::accumulate(attention.begin(), attention.end(), 0.0);
  std::vector<uint8_t> kept(attention.size());
  double held = 0;
  for (const size_t i : order) {
    if (held >= share * all) break;
    kept[i] = 1;
    held += attention[i];
  }
  return kept;
}

double cells_jaccard(std::span<const uint8_t> cells, int64_t side, std::span<const uint8_t> mask, int64_t size) {
  int64_t both = 0, either = 0;
  for (int64_t y = 0; y < size; ++y) {
    for (int64_t x = 0; x < size; ++x) {
      const bool kept = cells[y * side / size * side + x * side / size] != 0, object = mask[y * size + x] != 0;
      both += kept && object;
      either += kept || object;
    }
  }
  return either > 0 ? static_cast<double>(both) / static_cast<double>(either) : kUndefined;
}

}  // namespace dinoxx::eval
