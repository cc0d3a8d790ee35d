#include "stochastic_depth.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <bit>
#include <numeric>

#include "base/rng.hpp"
#include "dinoxx/base/error.hpp"
#include "ops/to_device.hpp"

namespace dinoxx {
namespace {

double rate_of(const VitConfig& config, size_t block) {
  if (config.drop_path_rule == "uniform") return config.drop_path;
  return config.depth > 1 ? config.drop_path * static_cast<double>(block) / (config.depth - 1) : 0.0;  // linspace(0, rate, depth)
}

std::vector<double> drawn(const RowOrigin& origin, int64_t rows, int64_t slots, size_t block, int branch) {
  std::vector<double> draws(static_cast<size_t>(rows));
  for (int64_t row = 0; row < rows; ++row) {
    const auto view = static_cast<uint32_t>(origin.first_view + row / slots);
    const uint32_t lane = view * 256 + 2 * static_cast<uint32_t>(block) + static_cast<uint32_t>(branch);
    draws[static_cast<size_t>(row)] =
        CounterRng(origin.seed, origin.positions[static_cast<size_t>(row % slots)], lane, Purpose::kDropPath).uniform();
  }
  return draws;
}

// Of each group the `keep` rows with the smallest draws, ascending.
void append_kept(const std::vector<double>& draws, int64_t group, int64_t keep, std::vector<int64_t>& kept) {
  std::vector<int64_t> order(static_cast<size_t>(group));
  for (int64_t first = 0; first < std::ssize(draws); first += group) {
    std::iota(order.begin(), order.end(), first);
    std::sort(order.begin(), order.end(),
              [&](int64_t a, int64_t b) { return draws[static_cast<size_t>(a)] < draws[static_cast<size_t>(b)]; });
    std::sort(order.begin(), order.begin() + keep);
    kept.insert(kept.end(), order.begin(), order.begin() + keep);
  }
}

// Rows that a draw concerns, checked: how many slots make a group, and of these how many run.
struct Share {
  int64_t group = 0, keep = 0;
  double gain() const { return static_cast<double>(group) / static_cast<double>(keep); }
};

int64_t checked_group(const VitConfig& config, const RowOrigin& origin, int64_t rows) {
  const auto slots = static_cast<int64_t>(origin.positions.size());
  if (slots == 0 || rows % slots != 0)
    fail("stochastic depth", fmt::format("a multiple of the batch size {}", slots), fmt::format("{} rows", rows), "Rows are [view][slot]");
  const int64_t group = config.drop_path_group == 0 ? slots : config.drop_path_group;
  if (config.drop_path_form != "mask" && slots % group != 0)
    fail_usage("model.drop_path_group", fmt::format("a divisor of the {} images of a rank", slots), std::to_string(group),
               "Change it, the batch size or the number of ranks");
  return group;
}

Share share_of(int64_t group, double rate) {
  return {group, std::max<int64_t>(static_cast<int64_t>(static_cast<double>(group) * (1 - rate)), 1)};
}

double gain_of(double draw, double rate) {
  return draw < rate ? 0.0 : 1.0 / (1.0 - rate);
}

}  // namespace

BranchDraws::BranchDraws(const VitConfig& config, const RowOrigin* origin, int64_t rows, int branches, const at::TensorOptions& like)
    : subset_(config.drop_path_form != "mask"), branches_(branches) {
  if (!origin || config.drop_path == 0.0) return;
  const auto slots = static_cast<int64_t>(origin->positions.size());
  const int64_t group = checked_group(config, *origin, rows);
  std::vector<double> scales;
  std::vector<int64_t> kept;
  for (size_t block = 0; block < static_cast<size_t>(config.depth); ++block) {
    const double rate = rate_of(config, block);
    for (int branch = 0; branch < branches; ++branch) {
      Place& place = places_.emplace_back();
      if (rate == 0.0) continue;
      const std::vector<double> draws = drawn(*origin, rows, slots, block, branch);
      if (subset_) {
        const Share share = share_of(group, rate);
        place = {std::ssize(kept), rows / group * share.keep, share.gain()};
        append_kept(draws, group, share.keep, kept);
      } else {
        place = {std::ssize(scales), rows, 1};
        for (const double draw : draws) scales.push_back(gain_of(draw, rate));
      }
    }
  }
  const at::Tensor values =
      subset_ ? at::tensor(kept, at::kLong) : at::tensor(scales, at::kDouble).to(like.dtype() == at::kDouble ? at::kDouble : at::kFloat);
  values_ = to_device(values, like.device());
}

BranchDraw BranchDraws::of(size_t block, int branch) const {
  if (places_.empty()) return {};
  const Place& place = places_.at(block * static_cast<size_t>(branches_) + static_cast<size_t>(branch));
  if (place.count == 0) return {};
  const at::Tensor values = values_.narrow(0, place.begin, place.count);
  return subset_ ? BranchDraw{{}, values, place.gain} : BranchDraw{values, {}, 1};
}

PackedDraws::PackedDraws(const VitConfig& config, const std::vector<Group>& groups, at::Device device) {
  bool any = false;
  for (const Group& g : groups) rows_ += g.rows, any |= g.origin != nullptr;
  if (!any || config.drop_path == 0.0) return;
  const bool subset = config.drop_path_form != "mask";
  std::vector<int32_t> values;
  for (size_t block = 0; block < static_cast<size_t>(config.depth); ++block) {
    const double rate = rate_of(config, block);
    for (int branch = 0; branch < 2; ++branch) {
      Place& place = places_.emplace_back();
      if (rate == 0.0) continue;
      std::vector<int32_t> slots(static_cast<size_t>(rows_), -1);
      std::vector<float> gains(static_cast<size_t>(rows_), 1.0F);
      int64_t first = 0;
      int32_t running = 0;
      for (const Group& g : groups) {
        std::vector<int64_t> kept(static_cast<size_t>(g.rows));
        std::iota(kept.begin(), kept.end(), 0);
        float* const gain = gains.data() + first;
        if (g.origin) {
          const int64_t group = checked_group(config, *g.origin, g.rows);
          const auto draws = drawn(*g.origin, g.rows, static_cast<int64_t>(g.origin->positions.size()), block, branch);
          if (subset) {
            const Share share = share_of(group, rate);
            kept.clear();
            append_kept(draws, group, share.keep, kept);
            std::fill(gain, gain + g.rows, static_cast<float>(share.gain()));
          } else {
            for (size_t row = 0; row < draws.size(); ++row) gain[row] = static_cast<float>(gain_of(draws[row], rate));
          }
        }
        for (const int64_t row : kept) slots[static_cast<size_t>(first + row)] = running++;
        place.kept.push_back(std::ssize(kept));
        first += g.rows;
      }
      place.gain = std::ssize(values);
      for (const float gain : gains) values.push_back(std::bit_cast<int32_t>(gain));
      if (!subset) {
        place.kept.clear();
        continue;
      }
      place.slot = std::ssize(values);
      values.insert(values.end(), slots.begin(), slots.end());
    }
  }
  values_ = to_device(at::tensor(values, at::kInt), device);
}

ops::PackedBranch PackedDraws::of(size_t block, int branch) const {
  if (places_.empty()) return {};
  const Place& place = places_.at(block * 2 + static_cast<size_t>(branch));
  ops::PackedBranch out;
  if (place.gain < 0) return out;
  out.gain = values_.narrow(0, place.gain, rows_).view(at::kFloat);
  if (place.slot < 0) return out;
  out.slot = values_.narrow(0, place.slot, rows_);
  out.samples = place.kept;
  return out;
}

}  // namespace dinoxx
