#include "stochastic_depth.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

#include "base/rng.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

double rate_of(const VitConfig& config, size_t block) {
  if (config.drop_path_rule == "uniform") return config.drop_path;
  return config.depth > 1 ? config.drop_path * static_cast<double>(block) / (config.depth - 1) : 0.0;  // linspace(0, rate, depth)
}

}  // namespace

BranchDraw draw_branch(const VitConfig& config, const RowOrigin* origin, int64_t rows, size_t block, int branch,
                       const at::TensorOptions& like) {
  const double rate = rate_of(config, block);
  if (!origin || rate == 0.0) return {};
  const auto slots = static_cast<int64_t>(origin->positions.size());
  if (slots == 0 || rows % slots != 0)
    fail("stochastic depth", fmt::format("a multiple of the batch size {}", slots), fmt::format("{} rows", rows), "Rows are [view][slot]");
  std::vector<double> draws(static_cast<size_t>(rows));
  for (int64_t row = 0; row < rows; ++row) {
    const auto view = static_cast<uint32_t>(origin->first_view + row / slots);
    const uint32_t lane = view * 256 + 2 * static_cast<uint32_t>(block) + static_cast<uint32_t>(branch);
    draws[static_cast<size_t>(row)] =
        CounterRng(origin->seed, origin->positions[static_cast<size_t>(row % slots)], lane, Purpose::kDropPath).uniform();
  }

  if (config.drop_path_form == "mask") {
    at::Tensor scale = at::empty({rows}, at::kDouble);
    double* out = scale.data_ptr<double>();
    for (size_t row = 0; row < draws.size(); ++row) out[row] = draws[row] < rate ? 0.0 : 1.0 / (1.0 - rate);
    return {scale.to(like.dtype(like.dtype() == at::kDouble ? at::kDouble : at::kFloat)), {}, 1};
  }

  const int64_t group = config.drop_path_group == 0 ? slots : config.drop_path_group;
  if (slots % group != 0)
    fail_usage("model.drop_path_group", fmt::format("a divisor of the {} images of a rank", slots), std::to_string(group),
               "Change it, the batch size or the number of ranks");
  const int64_t keep = std::max<int64_t>(static_cast<int64_t>(static_cast<double>(group) * (1 - rate)), 1);
  std::vector<int64_t> kept;
  std::vector<int64_t> order(static_cast<size_t>(group));
  for (int64_t first = 0; first < rows; first += group) {
    std::iota(order.begin(), order.end(), first);
    std::sort(order.begin(), order.end(),
              [&](int64_t a, int64_t b) { return draws[static_cast<size_t>(a)] < draws[static_cast<size_t>(b)]; });
    std::sort(order.begin(), order.begin() + keep);
    kept.insert(kept.end(), order.begin(), order.begin() + keep);
  }
  return {{}, at::tensor(kept, at::kLong).to(like.device()), static_cast<double>(group) / static_cast<double>(keep)};
}

}  // namespace dinoxx
