#include "masks.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/rng.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

constexpr uint32_t kShuffleLane = 1u << 31;  // lanes below are those of a group's strata
constexpr int kAttempts = 10;
const double kLogAspect = std::log(1.0 / 0.3);

struct Grid {
  int rows = 0, columns = 0;
  int patches() const { return rows * columns; }
};

bool has_strata(MaskKind kind) {
  return kind == MaskKind::kDinov2 || kind == MaskKind::kDinov3;
}

// A share of the patches, rounded down; a whole number stays one whatever the rounding of the share.
int whole_patches(Grid grid, double ratio) {
  return static_cast<int>(grid.patches() * ratio + 1e-9);
}

int masked_crops(const MaskSpec& spec, int global_views) {
  return static_cast<int>(spec.probability * global_views * spec.group_size);
}

// One rectangle of area U(smallest, largest) that adds at most `largest` patches to the mask. Returns what it added, 0 when no attempt
// fits.
int add_rectangle(uint8_t* mask, Grid grid, double smallest, double largest, CounterRng& rng) {
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const double area = rng.uniform(smallest, largest), aspect = std::exp(rng.uniform(-kLogAspect, kLogAspect));
    const int height = static_cast<int>(std::nearbyint(std::sqrt(area * aspect))),
              width = static_cast<int>(std::nearbyint(std::sqrt(area / aspect)));
    if (height >= grid.rows || width >= grid.columns) continue;
    const int top = static_cast<int>(rng.below(static_cast<uint64_t>(grid.rows - height) + 1)),
              left = static_cast<int>(rng.below(static_cast<uint64_t>(grid.columns - width) + 1));
    const auto for_each_patch = [&](const auto& work) {
      for (int y = top; y < top + height; ++y)
        for (int x = left; x < left + width; ++x) work(mask[y * grid.columns + x]);
    };
    int added = 0;
    for_each_patch([&](uint8_t patch) { added += patch == 0; });
    if (added == 0 || added > largest) continue;
    for_each_patch([](uint8_t& patch) { patch = 1; });
    return added;
  }
  return 0;
}

// Rectangles until `target` patches are masked or no further one fits. Returns the number masked.
int add_rectangles(uint8_t* mask, Grid grid, double target, double smallest, double largest, CounterRng& rng) {
  int masked = 0;
  while (masked < target) {
    const int added = add_rectangle(mask, grid, smallest, std::min(target - masked, largest), rng);
    if (added == 0) break;
    masked += added;
  }
  return masked;
}

// Masks `count` of the patches that are free, all choices equally likely.
void add_single_patches(uint8_t* mask, Grid grid, int count, CounterRng& rng) {
  std::vector<int> free;
  for (int i = 0; i < grid.patches(); ++i)
    if (mask[i] == 0) free.push_back(i);
  for (int i = 0; i < count; ++i) {
    const auto n = static_cast<uint64_t>(i);
    std::swap(free[n], free[n + rng.below(free.size() - n)]);
    mask[free[n]] = 1;
  }
}

void roll(uint8_t* mask, Grid grid, CounterRng& rng) {
  const int down = static_cast<int>(rng.below(static_cast<uint64_t>(grid.rows))),
            right = static_cast<int>(rng.below(static_cast<uint64_t>(grid.columns)));
  std::vector<uint8_t> moved(static_cast<size_t>(grid.patches()));
  for (int y = 0; y < grid.rows; ++y)
    for (int x = 0; x < grid.columns; ++x)
      moved[static_cast<size_t>((y + down) % grid.rows * grid.columns + (x + right) % grid.columns)] = mask[y * grid.columns + x];
  std::copy(moved.begin(), moved.end(), mask);
}

// Stratum i of n. dinov2 draws a ratio between the stratum's edges, dinov3 takes the upper one.
void make_stratum(const MaskSpec& spec, Grid grid, int i, int n, uint8_t* mask, CounterRng& rng) {
  const auto edge = [&](int k) { return spec.ratio_min + (spec.ratio_max - spec.ratio_min) * k / n; };
  const bool exact = spec.kind == MaskKind::kDinov3;
  const int target = whole_patches(grid, exact ? edge(i + 1) : rng.uniform(edge(i), edge(i + 1)));
  const int masked = add_rectangles(mask, grid, target, 4.0, 0.5 * grid.patches(), rng);
  if (exact) add_single_patches(mask, grid, target - masked, rng);
  if (spec.shift) roll(mask, grid, rng);
}

void make_ibot(const MaskSpec& spec, Grid grid, uint8_t* mask, CounterRng& rng) {
  const size_t chosen = rng.below(spec.ratios.size());
  const double ratio = spec.ratios[chosen], variance = spec.variances[spec.variances.size() == 1 ? 0 : chosen];
  const double drawn = rng.uniform(ratio - variance, ratio + variance), target = grid.patches() * drawn;
  if (spec.kind == MaskKind::kIbotRandom) {
    add_single_patches(mask, grid, whole_patches(grid, drawn), rng);
  } else {
    const int edge = std::min(grid.rows, grid.columns) / 3;
    add_rectangles(mask, grid, target, edge * edge, grid.patches(), rng);
  }
  if (spec.shift) roll(mask, grid, rng);
}

void check_strata(const MaskSpec& spec, Grid grid, int global_views, int64_t slots) {
  if (!(spec.probability > 0 && spec.probability <= 1))
    fail_usage("mask probability", "a share above 0, at most 1", fmt::format("{}", spec.probability), "0.5 is the published one");
  if (!(spec.ratio_min >= 0 && spec.ratio_min <= spec.ratio_max && spec.ratio_max <= 1))
    fail_usage("mask ratio", "0 <= smallest <= largest <= 1", fmt::format("{} to {}", spec.ratio_min, spec.ratio_max),
               "0.1 to 0.5 is the published range");
  if (whole_patches(grid, spec.ratio_max) < 1)
    fail_usage("mask ratio", fmt::format("at least one of {} patches masked", grid.patches()), fmt::format("{}", spec.ratio_max),
               "Mask more, or use smaller patches or larger crops");
  if (spec.group_size < 1 || slots % spec.group_size != 0)
    fail_usage("mask group size", fmt::format("a divisor of the {} images that a rank has in a step", slots),
               fmt::format("{}", spec.group_size), "Choose one that divides the batch of every rank");
  if (masked_crops(spec, global_views) < 1)
    fail_usage("mask probability", fmt::format("at least one of the {} global crops of a group masked", global_views * spec.group_size),
               fmt::format("{}", spec.probability), "Enlarge the mask group size or the probability");
}

void check_ibot(const MaskSpec& spec, Grid grid) {
  if (spec.ratios.empty() || (spec.variances.size() != 1 && spec.variances.size() != spec.ratios.size()))
    fail_usage("mask ratios", "at least one, and one variance for all or one for each",
               fmt::format("{} ratios, {} variances", spec.ratios.size(), spec.variances.size()), "Correct the lists");
  double largest = 0;
  for (size_t i = 0; i < spec.ratios.size(); ++i) {
    const double ratio = spec.ratios[i], variance = spec.variances[spec.variances.size() == 1 ? 0 : i];
    if (!(variance >= 0 && variance <= ratio && ratio + variance <= 1))
      fail_usage("mask ratios", "0 <= ratio - variance and ratio + variance <= 1", fmt::format("{} +- {}", ratio, variance),
                 "Correct them");
    largest = std::max(largest, ratio + variance);
  }
  if (whole_patches(grid, largest) < 1)
    fail_usage("mask ratios", fmt::format("at least one of {} patches masked", grid.patches()), fmt::format("{}", largest),
               "Mask more, or use smaller patches or larger crops");
}

}  // namespace

const std::vector<std::string>& mask_kind_names() {
  static const std::vector<std::string> names = {"dinov2", "dinov3", "ibot-block", "ibot-random"};
  return names;
}

MaskKind mask_kind(const std::string& name) {
  const auto& names = mask_kind_names();
  const auto found = std::find(names.begin(), names.end(), name);
  if (found != names.end()) return static_cast<MaskKind>(found - names.begin());
  const std::string near = nearest_name(name, names);
  fail_usage("masks", fmt::format("one of {}", fmt::join(names, ", ")), fmt::format("\"{}\"", name),
             near.empty() ? std::string("Choose one of them") : fmt::format("Did you mean {}?", near));
}

void check_masks(const MaskSpec& spec, int rows, int columns, int global_views, int64_t slots) {
  const bool rectangles = spec.kind != MaskKind::kIbotRandom;
  if (rows < 1 || columns < 1 || rows * columns < 2 || (rectangles && std::min(rows, columns) < 2))
    fail_usage("masks", rectangles ? "a grid of at least 2 x 2 patches" : "a grid of at least 2 patches",
               fmt::format("{} x {}", rows, columns), "Use smaller patches or larger crops, or a method without masks");
  if (global_views < 1 || slots < 1)
    fail_usage("masks", "at least one global crop and one image", fmt::format("{} crops of {} images", global_views, slots), "");
  if (has_strata(spec.kind)) {
    check_strata(spec, {rows, columns}, global_views, slots);
  } else {
    check_ibot(spec, {rows, columns});
  }
}

int64_t fewest_masked(const MaskSpec& spec, int rows, int columns, int global_views, int64_t slots) {
  const Grid grid{rows, columns};
  int64_t sum = 0;
  if (!has_strata(spec.kind)) {
    for (size_t i = 0; i < spec.ratios.size(); ++i)
      sum += whole_patches(grid, spec.ratios[i] - spec.variances[spec.variances.size() == 1 ? 0 : i]);
    return sum * global_views * slots / static_cast<int64_t>(spec.ratios.size());
  }
  const int masked = masked_crops(spec, global_views), upper = spec.kind == MaskKind::kDinov3 ? 1 : 0;
  for (int i = 0; i < masked; ++i) sum += whole_patches(grid, spec.ratio_min + (spec.ratio_max - spec.ratio_min) * (i + upper) / masked);
  return sum * (slots / spec.group_size);
}

void make_masks(const MaskSpec& spec, int rows, int columns, int global_views, std::span<const uint64_t> positions, uint64_t seed,
                std::vector<uint8_t>& out) {
  check_masks(spec, rows, columns, global_views, static_cast<int64_t>(positions.size()));
  const Grid grid{rows, columns};
  const auto patches = static_cast<size_t>(grid.patches());
  out.assign(static_cast<size_t>(global_views) * positions.size() * patches, 0);
  const auto mask_of = [&](size_t view, size_t slot) { return out.data() + (view * positions.size() + slot) * patches; };

  if (!has_strata(spec.kind)) {
    for (size_t slot = 0; slot < positions.size(); ++slot) {
      for (size_t view = 0; view < static_cast<size_t>(global_views); ++view) {
        CounterRng rng(seed, positions[slot], static_cast<uint32_t>(view), Purpose::kMask);
        make_ibot(spec, grid, mask_of(view, slot), rng);
      }
    }
    return;
  }
  const auto group = static_cast<size_t>(spec.group_size);
  const int masked = masked_crops(spec, global_views);
  std::vector<size_t> crops(group * static_cast<size_t>(global_views));  // of a group, [view][slot]
  for (size_t first = 0; first < positions.size(); first += group) {
    // the first `masked` of a shuffled list get the strata in order
    std::iota(crops.begin(), crops.end(), size_t{0});
    CounterRng shuffle(seed, positions[first], kShuffleLane, Purpose::kMask);
    for (size_t i = crops.size() - 1; i > 0; --i) std::swap(crops[i], crops[shuffle.below(i + 1)]);
    for (int i = 0; i < masked; ++i) {
      const size_t crop = crops[static_cast<size_t>(i)];
      CounterRng rng(seed, positions[first], static_cast<uint32_t>(i), Purpose::kMask);
      make_stratum(spec, grid, i, masked, mask_of(crop / group, first + crop % group), rng);
    }
  }
}

}  // namespace dinoxx
