#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/rng.hpp"
#include "eval/classify/knn.hpp"
#include "eval/features/lanes.hpp"
#include "eval/statistics/statistics.hpp"
#include "match.hpp"

namespace dinoxx::eval {
namespace {

using nlohmann::json;

int64_t cell_of(const PatchMap& map, double x, double y) {
  const auto place = [](double at, double length, int64_t cells) {
    return std::clamp<int64_t>(static_cast<int64_t>(std::floor(at / length * static_cast<double>(cells))), 0, cells - 1);
  };
  return place(y, map.height, map.rows) * map.columns + place(x, map.width, map.columns);
}

double distance(const PatchMap& map, int64_t cell, double x, double y) {
  const double cx = (static_cast<double>(cell % map.columns) + 0.5) * map.width / static_cast<double>(map.columns);
  const double cy = (static_cast<double>(cell / map.columns) + 0.5) * map.height / static_cast<double>(map.rows);
  return std::hypot(cx - x, cy - y);
}

constexpr const char *kNoPoints = "no points", *kNoMutual = "no point is the nearest match of its own answer";

Stat share_of(double count, double all, const char* why_none) {
  return all > 0 ? Stat::of(count / all) : Stat::undefined(why_none);
}

json of_shares(const std::array<double, 3>& counts, double all, const char* why_none = kNoPoints) {
  json result;
  for (size_t i = 0; i < kPckShares.size(); ++i) put(result, fmt::format("{}", kPckShares[i]), share_of(counts[i], all, why_none));
  return result;
}

}  // namespace

void PointTally::write(double* row) const {
  *row++ = points;
  *row++ = mutual;
  for (const auto* part : {&right, &mutual_right, &best, &chance}) row = std::copy(part->begin(), part->end(), row);
}

void PointTally::add(const double* row, double times) {
  points += times * *row++;
  mutual += times * *row++;
  for (auto* part : {&right, &mutual_right, &best, &chance})
    for (double& value : *part) value += times * *row++;
}

json tally_json(const PointTally& t) {
  json mutual = {{"pck", of_shares(t.mutual_right, t.mutual, kNoMutual)}};
  put(mutual, "share", share_of(t.mutual, t.points, kNoPoints));
  return {{"points", t.points},
          {"pck", of_shares(t.right, t.points)},
          {"mutual", std::move(mutual)},
          {"best_of_grid", of_shares(t.best, t.points)},
          {"chance", of_shares(t.chance, t.points)}};
}

PointTally match_points(const PatchMap& first, const PatchMap& second, std::span<const KeyPoint> points, double reference) {
  PointTally tally;
  if (points.empty()) return tally;
  std::vector<int64_t> asked;
  for (const KeyPoint& point : points) asked.push_back(cell_of(first, point.x, point.y));
  const at::Tensor from = normalize_rows(first.features), to = normalize_rows(second.features);
  const at::Tensor found = at::mm(from.index_select(0, at::tensor(asked, at::kLong)), to.t()).argmax(1).contiguous();
  const at::Tensor back = at::mm(to.index_select(0, found), from.t()).argmax(1).contiguous();
  const int64_t cells = second.rows * second.columns;
  for (size_t i = 0; i < points.size(); ++i) {
    const int64_t cell = found.data_ptr<int64_t>()[i];
    const bool mutual = back.data_ptr<int64_t>()[i] == asked[i];
    const double off = distance(second, cell, points[i].to_x, points[i].to_y);
    const double least = distance(second, cell_of(second, points[i].to_x, points[i].to_y), points[i].to_x, points[i].to_y);
    ++tally.points;
    tally.mutual += mutual;
    for (size_t s = 0; s < kPckShares.size(); ++s) {
      const double within = kPckShares[s] * reference;
      tally.right[s] += off <= within;
      tally.mutual_right[s] += mutual && off <= within;
      tally.best[s] += least <= within;
    }
    for (int64_t c = 0; c < cells; ++c) {
      const double here = distance(second, c, points[i].to_x, points[i].to_y);
      for (size_t s = 0; s < kPckShares.size(); ++s) tally.chance[s] += here <= kPckShares[s] * reference;
    }
  }
  for (double& near : tally.chance) near /= static_cast<double>(cells);
  return tally;
}

Warp Warp::inverse() const {
  const double det = a * e - b * d;
  const Warp turned{e / det, -b / det, 0, -d / det, a / det, 0};
  const auto [x, y] = turned(c, f);
  return {turned.a, turned.b, -x, turned.d, turned.e, -y};
}

Warp draw_warp(uint64_t seed, uint64_t id, double size) {
  CounterRng rng(seed, id, lane(Lane::kWarps), Purpose::kEval);
  const double angle = rng.uniform(-30, 30) * std::numbers::pi / 180;
  const double scale = std::exp(rng.uniform(std::log(0.8), std::log(1.25))), stretch = std::exp(rng.uniform(-0.1, 0.1) / 2);
  const double c = scale * std::cos(angle), s = scale * std::sin(angle), middle = size / 2;
  Warp warp{c * stretch, -s / stretch, 0, s * stretch, c / stretch, 0};
  const auto [x, y] = warp(middle, middle);
  warp.c = middle - x + rng.uniform(-0.1, 0.1) * size;
  warp.f = middle - y + rng.uniform(-0.1, 0.1) * size;
  return warp;
}

at::Tensor warped_image(const at::Tensor& image, const Warp& warp) {
  const int64_t size = image.size(2);
  const Warp back = warp.inverse();
  const at::Tensor grid = at::empty({1, size, size, 2}, at::kFloat);
  float* to = grid.data_ptr<float>();
  for (int64_t y = 0; y < size; ++y) {
    for (int64_t x = 0; x < size; ++x) {
      const auto [u, v] = back(static_cast<double>(x) + 0.5, static_cast<double>(y) + 0.5);
      *to++ = static_cast<float>(2 * u / static_cast<double>(size) - 1);
      *to++ = static_cast<float>(2 * v / static_cast<double>(size) - 1);
    }
  }
  return at::grid_sampler_2d(image.unsqueeze(0), grid, /*bilinear*/ 0, /*zeros*/ 0, /*align_corners=*/false)[0];
}

std::vector<KeyPoint> warp_points(const Warp& warp, int64_t side, double size, std::span<const uint8_t> asked) {
  std::vector<KeyPoint> points;
  const double patch = size / static_cast<double>(side);
  for (int64_t cell = 0; cell < side * side; ++cell) {
    if (!asked.empty() && !asked[cell]) continue;
    const double x = (static_cast<double>(cell % side) + 0.5) * patch, y = (static_cast<double>(cell / side) + 0.5) * patch;
    const auto [to_x, to_y] = warp(x, y);
    if (std::min(to_x, to_y) >= patch / 2 && std::max(to_x, to_y) <= size - patch / 2) points.push_back({x, y, to_x, to_y});
  }
  return points;
}

}  // namespace dinoxx::eval
