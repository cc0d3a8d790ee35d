#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "dinoxx/base/error.hpp"
#include "toy.hpp"
#include "toy_pixels.hpp"
#include "toy_scenes.hpp"
#include "toy_textures.hpp"

namespace dinoxx {
namespace {

/// A closed outline around a centre: the radius as a function of the angle is a short Fourier series.
class Outline {
 public:
  explicit Outline(CounterRng& rng) {
    x_ = rng.uniform(0.46, 0.54);
    y_ = rng.uniform(0.46, 0.54);
    radius_ = rng.uniform(0.54, 0.62);
    for (int k = 0; k < kHarmonics; ++k) {
      amplitude_[k] = rng.uniform(0.0, 0.12 / (k + 2));
      phase_[k] = rng.uniform(0.0, 2.0 * std::numbers::pi);
    }
  }
  bool contains(double x, double y) const {
    const double dx = x - x_, dy = y - y_;
    const double square = dx * dx + dy * dy;
    if (square <= kSurely * kSurely) return true;
    const double angle = std::atan2(dy, dx);
    double r = 1.0;
    for (int k = 0; k < kHarmonics; ++k) r += amplitude_[k] * std::cos((k + 2) * angle + phase_[k]);
    r *= radius_;
    return square <= r * r;
  }

 private:
  static constexpr int kHarmonics = 4;
  static constexpr double kSurely = 0.45;  ///< no outline is nearer to its centre than (1 - 0.12 (1/2 + 1/3 + 1/4 + 1/5)) of its radius
  double x_, y_, radius_;
  double amplitude_[kHarmonics], phase_[kHarmonics];
};

constexpr double kGrey = 0.5, kContrast = 0.28;  // mean and deviation inside every object
constexpr double kObjectNoise = 0.03, kBackgroundNoise = 0.03;

ToyImage draw_textured(int kind, const ToyOptions& options, uint64_t index) {
  const int size = options.size;
  CounterRng rng(options.seed, index, 0, Purpose::kToy);
  const Outline outline(rng);
  const Texture texture(kind, rng);
  const int fine = toy_samples(size);
  const double step = 1.0 / (static_cast<double>(size) * fine);
  const auto pixels = static_cast<size_t>(size) * static_cast<size_t>(size);
  std::vector<double> value(pixels), cover(pixels);
  double sum = 0.0, squares = 0.0, weight = 0.0;
  for (int y = 0; y < size; ++y) {
    for (int x = 0; x < size; ++x) {
      double inside = 0.0, shade = 0.0;
      const Texture::Shift bend = texture.bend((x + 0.5) / size, (y + 0.5) / size);
      for (int j = 0; j < fine; ++j) {
        for (int i = 0; i < fine; ++i) {
          const double px = (x * fine + i + 0.5) * step, py = (y * fine + j + 0.5) * step;
          if (outline.contains(px, py)) inside += 1.0;
          shade += texture(px + bend.x, py + bend.y);
        }
      }
      const size_t at = static_cast<size_t>(y) * static_cast<size_t>(size) + static_cast<size_t>(x);
      cover[at] = inside / (fine * fine);
      value[at] = shade / (fine * fine);
      sum += cover[at] * value[at];
      squares += cover[at] * value[at] * value[at];
      weight += cover[at];
    }
  }
  // equal mean and contrast of every object, whatever its phase and sign: no crop can tell its image by them
  const double mean = sum / weight;
  const double scale = 1.0 / std::sqrt(std::max(1e-6, squares / weight - mean * mean));

  ToyImage out;
  out.image.width = out.image.height = size;
  out.image.data.resize(pixels * 3);
  out.mask.resize(pixels);
  size_t at = 0;
  for (int y = 0; y < size; ++y) {
    CounterRng grain(options.seed, index, 1 + static_cast<uint32_t>(y),
                     Purpose::kToy);  // a lane per row: one generator's numbers are limited
    for (int x = 0; x < size; ++x, ++at) {
      const double object = kGrey + kContrast * scale * (value[at] - mean) + kObjectNoise * toy_grain(grain);
      const double background = kGrey + kBackgroundNoise * toy_grain(grain);
      const uint8_t shade = to_byte(cover[at] * object + (1.0 - cover[at]) * background);
      std::fill_n(out.image.data.begin() + static_cast<std::ptrdiff_t>(3 * at), 3, shade);
      out.mask[at] = cover[at] >= 0.5 ? 255 : 0;
    }
  }
  return out;
}

}  // namespace

ToySet::ToySet(ToyOptions options) : options_(std::move(options)) {
  if (options_.name == "textures") {
    class_names_ = texture_names();
  } else if (options_.name == "scenes") {
    class_names_ = scene_names();
  } else {
    fail_usage("--toy", "\"textures\" or \"scenes\"", '"' + options_.name + '"',
               "textures: an object that fills the image; scenes: an object on a background");
  }
  if (options_.size < 8 || options_.size > 4096)
    fail_usage("--size", "8 to 4096 pixels", std::to_string(options_.size), "32 suits the quick start");
  if (!(options_.imbalance >= 1.0 && options_.imbalance <= 1000.0)) {
    fail_usage("imbalance", "a factor from 1 to 1000", fmt::format("{}", options_.imbalance), "10 is the default");
  }
  const uint64_t classes = class_names_.size();
  if (options_.count < 10 * classes || options_.count > std::numeric_limits<uint32_t>::max()) {
    fail_usage("--count", fmt::format("{} images or more, and below 2^32", 10 * classes), std::to_string(options_.count),
               "6000 suits the quick start");
  }
  const uint64_t held = options_.count / (10 * classes);  // per class, in val and in test each
  const uint64_t train = options_.count - 2 * held * classes;
  std::vector<double> share(classes);
  double total = 0.0;
  for (uint64_t c = 0; c < classes; ++c)
    total += share[c] = std::pow(options_.imbalance, -static_cast<double>(c) / static_cast<double>(classes - 1));
  std::vector<uint64_t> number(classes);
  uint64_t given = 0;
  for (uint64_t c = 0; c < classes; ++c)
    given += number[c] = std::max<uint64_t>(1, static_cast<uint64_t>(static_cast<double>(train) * share[c] / total));
  number[0] += train - std::min(train, given);
  const auto add = [&](Split split, uint64_t c, uint64_t n) {
    for (uint64_t i = 0; i < n; ++i) entries_.push_back({static_cast<int16_t>(c), split, static_cast<uint32_t>(i)});
  };
  for (uint64_t c = 0; c < classes; ++c) add(Split::kTrain, c, number[c]);
  for (uint64_t c = 0; c < classes; ++c) add(Split::kVal, c, held);
  for (uint64_t c = 0; c < classes; ++c) add(Split::kTest, c, held);
}

std::string ToySet::key(uint64_t index) const {
  const Entry& entry = entries_.at(index);
  return fmt::format("{}/{}/{:06}.png", split_name(entry.split), class_names_[static_cast<size_t>(entry.label)], entry.number);
}

ToyImage ToySet::draw(uint64_t index) const {
  const int label = entries_.at(index).label;
  return options_.name == "scenes" ? draw_scene(label, options_, index) : draw_textured(label, options_, index);
}

}  // namespace dinoxx
