#include "io.hpp"

#include <algorithm>
#include <cmath>

#include "config/config.hpp"
#include "optim/optim_config.hpp"

namespace dinoxx::plan {

double assumed_image_bytes(const Model& model) {
  const auto side = static_cast<double>(model.resolutions.front().student.front().size);
  return side < 128 ? 2500 * side * side / 1024 : 108e3;
}

double load_seconds(const Model& model, double image_bytes) {
  double pixels = 0, shares = 0;
  for (const Resolution& resolution : model.resolutions) {
    pixels += resolution.share * static_cast<double>(resolution.pixels());
    shares += resolution.share;
  }
  return 10.2e-9 * image_bytes + 4.3e-9 * pixels / shares;
}

double checkpoint_bytes(const Model& model) {
  constexpr double kHeader = 160;  // as checkpoint/train_state_io.cpp has it
  double whole = 0, backbone = 0;
  for (const Segment& segment : model.layout.segments) {
    const double bytes = 4 * static_cast<double>(segment.numel) + kHeader;
    whole += bytes;
    if (segment.name.starts_with("backbone.")) backbone += bytes;
  }
  const auto segments = static_cast<double>(model.layout.segments.size());
  const double tensors = (model.config.optim->name == "adamw" ? 2 : 1) + 2 + (model.own_gram_teacher() ? 1 : 0);
  const double buffers = model.buffer_bytes + kHeader * static_cast<double>(model.buffer_tensors);
  const auto text = static_cast<double>(print_config(default_config()).size());  // of the configuration, in two files
  double bytes = tensors * whole + segments * kHeader + 2 * buffers + whole + buffers + backbone + buffers + 2 * text;
  const auto centre = [&](bool kept, const ProjectionConfig& head) {
    if (kept) bytes += 4 * static_cast<double>(out_dim(head)) + kHeader;
  };
  centre(model.spec.centre, model.spec.network.head.config);
  centre(model.spec.patch_centre, model.spec.network.patch_head.value_or(model.spec.network.head).config);
  return bytes;
}

double checkpoint_interval(double save, double mtbf) {
  if (save <= 0) return 0;
  if (save >= 2 * mtbf) return mtbf;
  const double root = std::sqrt(save / (2 * mtbf));
  return std::sqrt(2 * save * mtbf) * (1 + root / 3 + root * root / 9) - save;
}

double lost_share(double save, double interval, double restart, double mtbf) {
  const double period = interval + save;
  return std::min(1.0, save / period + (period / 2 + restart) / mtbf);
}

}  // namespace dinoxx::plan
