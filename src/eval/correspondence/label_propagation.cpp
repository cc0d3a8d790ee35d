#include "label_propagation.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "dinoxx/base/error.hpp"
#include "eval/classify/knn.hpp"

namespace dinoxx::eval {
namespace {

constexpr int64_t kTile = 8;  // patches a side that share a window

struct Span {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

Span around(const Span& tile, int64_t radius, int64_t all) {
  return {std::max<int64_t>(0, tile.begin - radius), std::min(all, tile.end + radius)};
}

at::Tensor rows_of(const at::Tensor& map, const Span& rows, const Span& columns) {
  return map.narrow(0, rows.begin, rows.size()).narrow(1, columns.begin, columns.size()).reshape({rows.size() * columns.size(), -1});
}

at::Tensor unit_rows(const at::Tensor& features) {
  return normalize_rows(features.flatten(0, 1)).view(features.sizes());
}

struct Candidate {
  double similarity;
  const double* labels;
};

// The largest so far, in falling order; equal ones in the order of their coming.
void keep(std::vector<Candidate>& best, const Candidate& candidate, size_t most) {
  if (best.size() == most) {
    if (candidate.similarity <= best.back().similarity) return;
    best.pop_back();
  }
  const auto place = std::upper_bound(best.begin(), best.end(), candidate,
                                      [](const Candidate& a, const Candidate& b) { return a.similarity > b.similarity; });
  best.insert(place, candidate);
}

}  // namespace

LabelPropagation::LabelPropagation(const PropagationConfig& config, const at::Tensor& features, const at::Tensor& labels)
    : config_(config), first_{unit_rows(features), labels.to(at::kDouble).contiguous()} {}

at::Tensor LabelPropagation::next(const at::Tensor& features) {
  const int64_t rows = features.size(0), columns = features.size(1), channels = first_.labels.size(2), radius = config_.radius;
  if (!features.sizes().equals(first_.features.sizes()))
    fail("label propagation", "frames of one size", fmt::format("{} x {} patches after others", rows, columns), "");
  std::vector<const Frame*> context{&first_};
  for (const Frame& frame : last_) context.push_back(&frame);
  Frame now{unit_rows(features), at::zeros({rows, columns, channels}, at::kDouble)};
  for (int64_t top = 0; top < rows; top += kTile) {
    for (int64_t left = 0; left < columns; left += kTile) {
      const Span tall{top, std::min(rows, top + kTile)}, wide{left, std::min(columns, left + kTile)};
      const Span near_rows = around(tall, radius, rows), near_columns = around(wide, radius, columns);
      const at::Tensor asked = rows_of(now.features, tall, wide);
      std::vector<std::vector<Candidate>> best(asked.size(0));
      for (const Frame* frame : context) {
        const at::Tensor all = at::mm(asked, rows_of(frame->features, near_rows, near_columns).t()).to(at::kDouble).contiguous();
        const double* similarity = all.data_ptr<double>();
        const double* labels = frame->labels.data_ptr<double>();
        for (int64_t i = 0; i < asked.size(0); ++i, similarity += all.size(1)) {
          const int64_t y = tall.begin + i / wide.size(), x = wide.begin + i % wide.size();
          const Span own_rows = around({y, y + 1}, radius, rows), own_columns = around({x, x + 1}, radius, columns);
          for (int64_t v = own_rows.begin; v < own_rows.end; ++v) {
            for (int64_t u = own_columns.begin; u < own_columns.end; ++u) {
              const int64_t place = (v - near_rows.begin) * near_columns.size() + u - near_columns.begin;
              keep(best[i], {similarity[place], labels + (v * columns + u) * channels}, config_.top_k);
            }
          }
        }
      }
      for (int64_t i = 0; i < asked.size(0); ++i) {
        double* to = now.labels[tall.begin + i / wide.size()][wide.begin + i % wide.size()].data_ptr<double>();
        double sum = 0;
        for (const Candidate& candidate : best[i]) {
          const double weight = std::exp((candidate.similarity - best[i].front().similarity) / config_.temperature);
          sum += weight;
          for (int64_t c = 0; c < channels; ++c) to[c] += weight * candidate.labels[c];
        }
        for (int64_t c = 0; c < channels; ++c) to[c] /= sum;
      }
    }
  }
  last_.push_back(now);
  if (static_cast<int>(last_.size()) > config_.last_frames) last_.pop_front();
  return now.labels.clone();
}

at::Tensor labels_of_patches(const std::vector<uint8_t>& mask, int64_t width, int64_t height, int64_t rows, int64_t columns,
                             const std::vector<uint8_t>& objects) {
  const at::Tensor labels = at::zeros({rows, columns, static_cast<int64_t>(objects.size()) + 1}, at::kDouble);
  for (int64_t y = 0; y < rows; ++y) {
    for (int64_t x = 0; x < columns; ++x) {
      const uint8_t number = mask[(2 * y + 1) * height / (2 * rows) * width + (2 * x + 1) * width / (2 * columns)];
      const auto found = std::find(objects.begin(), objects.end(), number);
      labels[y][x][found == objects.end() ? 0 : found - objects.begin() + 1] = 1;
    }
  }
  return labels;
}

std::vector<uint8_t> mask_of_labels(const at::Tensor& labels, int64_t scale, int64_t width, int64_t height,
                                    const std::vector<uint8_t>& objects) {
  const int64_t tall = labels.size(0) * scale, wide = labels.size(1) * scale;
  at::Tensor maps = at::upsample_bilinear2d(labels.permute({2, 0, 1}).unsqueeze(0), {tall, wide}, /*align_corners=*/false)[0];
  for (int64_t c = 0; c < maps.size(0); ++c) {
    const double low = maps[c].min().item<double>(), high = maps[c].max().item<double>();
    if (high > low) maps[c].sub_(low).div_(high - low);
  }
  const at::Tensor channel = maps.argmax(0).contiguous();
  const int64_t* channels = channel.data_ptr<int64_t>();
  std::vector<uint8_t> mask;
  mask.reserve(width * height);
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      const int64_t from = channels[(2 * y + 1) * tall / (2 * height) * wide + (2 * x + 1) * wide / (2 * width)];
      mask.push_back(from == 0 ? 0 : objects[from - 1]);
    }
  }
  return mask;
}

}  // namespace dinoxx::eval
