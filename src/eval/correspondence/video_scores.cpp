#include "video_scores.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace dinoxx::eval {
namespace {

std::vector<uint8_t> boundary(std::span<const uint8_t> mask, int64_t width, int64_t height) {
  std::vector<uint8_t> result(mask.size());
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      const auto object = [&](int64_t row, int64_t column) {
        return mask[std::min(row, height - 1) * width + std::min(column, width - 1)] != 0;  // past the edge nothing differs
      };
      const bool here = object(y, x);
      const bool inside = y + 1 < height && x + 1 < width;
      result[y * width + x] = here != object(y, x + 1) || here != object(y + 1, x) || (inside && here != object(y + 1, x + 1));
    }
  }
  return result;
}

/// All pixels within `radius` of one that is set.
std::vector<uint8_t> dilated(const std::vector<uint8_t>& set, int64_t width, int64_t height, int64_t radius) {
  std::vector<uint8_t> result(set.size());
  std::vector<int64_t> reach;  // of the disc's rows from its middle on
  for (int64_t dy = 0; dy <= radius; ++dy) reach.push_back(static_cast<int64_t>(std::sqrt(static_cast<double>(radius * radius - dy * dy))));
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      if (!set[y * width + x]) continue;
      for (int64_t row = std::max<int64_t>(0, y - radius); row <= std::min(height - 1, y + radius); ++row) {
        const int64_t half = reach[std::abs(row - y)];
        const int64_t begin = std::max<int64_t>(0, x - half), end = std::min(width, x + half + 1);
        std::fill(result.begin() + row * width + begin, result.begin() + row * width + end, uint8_t{1});
      }
    }
  }
  return result;
}

int64_t count(const std::vector<uint8_t>& set) {
  return std::count(set.begin(), set.end(), 1);
}

double mean(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

}  // namespace

double region_similarity(std::span<const uint8_t> truth, std::span<const uint8_t> answer) {
  int64_t both = 0, either = 0;
  for (size_t i = 0; i < truth.size(); ++i) {
    both += truth[i] && answer[i];
    either += truth[i] || answer[i];
  }
  return either > 0 ? static_cast<double>(both) / static_cast<double>(either) : 1.0;
}

double boundary_measure(std::span<const uint8_t> truth, std::span<const uint8_t> answer, int64_t width, int64_t height, double tolerance) {
  const auto radius = static_cast<int64_t>(std::ceil(tolerance * std::hypot(width, height)));
  const std::vector<uint8_t> of_truth = boundary(truth, width, height), of_answer = boundary(answer, width, height);
  const int64_t truths = count(of_truth), answers = count(of_answer);
  if (truths == 0 || answers == 0) return truths == answers ? 1.0 : 0.0;
  const auto share = [&](const std::vector<uint8_t>& points, const std::vector<uint8_t>& others, int64_t all) {
    const std::vector<uint8_t> near = dilated(others, width, height, radius);
    int64_t hits = 0;
    for (size_t i = 0; i < points.size(); ++i) hits += points[i] && near[i];
    return static_cast<double>(hits) / static_cast<double>(all);
  };
  const double precision = share(of_answer, of_truth, answers), recall = share(of_truth, of_answer, truths);
  return precision + recall > 0 ? 2 * precision * recall / (precision + recall) : 0.0;
}

std::optional<SeriesScores> series_scores(std::span<const double> frames) {
  if (frames.empty()) return std::nullopt;
  const size_t n = frames.size();
  const auto good = std::count_if(frames.begin(), frames.end(), [](double value) { return value > 0.5; });
  SeriesScores scores{mean(frames), static_cast<double>(good) / static_cast<double>(n), std::nullopt};
  if (n >= 4) {
    const auto edge = [&](size_t quarter) { return ((n - 1) * quarter + 2) / 4; };  // the nearest frame, halves upwards
    scores.decay = mean(frames.subspan(0, edge(1) + 1)) - mean(frames.subspan(edge(3), n - edge(3)));
  }
  return scores;
}

}  // namespace dinoxx::eval
