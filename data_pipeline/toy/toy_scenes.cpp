#include "toy_scenes.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "toy_pixels.hpp"
#include "toy_textures.hpp"

namespace dinoxx {
namespace {

constexpr double kTwoPi = 2.0 * std::numbers::pi;

constexpr double kSmallest = 0.17, kLargest = 0.43;  // the object's share of the image; pixels round it
constexpr double kStretch = 1.2;                     // texture coordinates per side of the image: several periods on a small object
constexpr double kObjectGrey = 0.5, kObjectContrast = 0.24, kBackgroundGrey = 0.5, kBackgroundContrast = 0.04;
constexpr double kGrain = 0.02;

enum Kind { kDisc, kSquare, kTriangle, kStar, kEllipse, kClover, kCross, kGear, kKinds };

/// Distance of the outline from the centre, at an angle, up to a factor.
double radius(int kind, double angle) {
  const auto polygon = [&](int corners) {
    const double side = kTwoPi / corners;
    return 1.0 / std::cos(angle - side * std::floor(angle / side) - side / 2);
  };
  switch (kind) {
    case kSquare:
      return polygon(4);
    case kTriangle:
      return polygon(3);
    case kStar:
      return 1.0 + 0.3 * std::cos(5 * angle);
    case kEllipse:
      return 1.0 / std::hypot(std::cos(angle), std::sin(angle) / 0.6);
    case kClover:
      return 1.0 + 0.35 * std::cos(3 * angle);
    case kCross:
      return 1.0 + 0.3 * std::cos(4 * angle);
    case kGear:
      return 1.0 + 0.15 * std::cos(9 * angle);
    default:
      return 1.0;
  }
}

/// A shape of random size, rotation and place, wholly inside the image. Lengths are in units of the image's side.
class Shape {
 public:
  Shape(int kind, CounterRng& rng) {
    double area = 0.0;
    for (int i = 0; i < kAngles; ++i) {
      const double r = radius(kind, kTwoPi * (i + 0.5) / kAngles);
      squares_[i] = r * r;
      area += 0.5 * squares_[i] * kTwoPi / kAngles;
    }
    const double furthest = *std::ranges::max_element(squares_);
    const double most = std::min(kLargest, 0.25 * area / furthest);  // the largest that fits
    const double scale = rng.uniform(kSmallest, most) / area;
    const double reach = std::sqrt(scale * furthest);
    x_ = rng.uniform(reach, 1.0 - reach);
    y_ = rng.uniform(reach, 1.0 - reach);
    turn_ = rng.uniform(0.0, kTwoPi);
    for (double& square : squares_) square *= scale;
    nearest_ = *std::ranges::min_element(squares_);
    furthest_ = reach * reach;
  }
  double x() const { return x_; }
  double y() const { return y_; }
  bool contains(double x, double y) const {
    const double dx = x - x_, dy = y - y_;
    const double square = dx * dx + dy * dy;
    if (square <= nearest_) return true;
    if (square > furthest_) return false;
    const double turns = (std::atan2(dy, dx) + turn_) / kTwoPi;
    return square <= squares_[std::min(kAngles - 1, static_cast<int>(kAngles * (turns - std::floor(turns))))];
  }

 private:
  static constexpr int kAngles = 360;
  double x_, y_, turn_, nearest_, furthest_;
  std::array<double, kAngles> squares_;  ///< of the outline's distance from the centre, by angle
};

/// A hue as factors of red, green and blue, and the opposite one. Each thing has both, in parts that are alike: its mean is grey. Crops
/// that show other parts of it are then not matched by colour, which would be learned in the class's place.
class Tint {
 public:
  explicit Tint(CounterRng& rng) {
    const double hue = rng.uniform(0.0, kTwoPi), chroma = rng.uniform(0.05, 0.2);
    for (int c = 0; c < 3; ++c) chroma_[c] = chroma * std::cos(hue - kTwoPi * c / 3);
  }
  /// At -1 the opposite hue, at 0 grey, at 1 the hue.
  double operator()(size_t channel, double side) const { return 1.0 + side * chroma_[channel]; }

 private:
  double chroma_[3];
};

class Background {
 public:
  explicit Background(CounterRng& rng) : tint_(rng) {
    const double angle = rng.uniform(0.0, kTwoPi);
    cosine_ = std::cos(angle);
    sine_ = std::sin(angle);
    slope_ = rng.uniform(0.0, 0.15);
    frequency_ = rng.uniform(5.0, 10.0);
    seed_ = rng.next_u64();
    const uint64_t blobs = rng.below(kMostBlobs + 1);
    for (uint64_t i = 0; i < blobs; ++i) blobs_.emplace_back(rng);
  }
  void colour(double x, double y, double pixel, double (&out)[3]) const {
    const double along = cosine_ * (x - 0.5) + sine_ * (y - 0.5);  // -0.7 to 0.7
    const double grey = kBackgroundGrey + slope_ * along + kBackgroundContrast * smooth_noise(frequency_ * x, frequency_ * y, seed_);
    for (size_t c = 0; c < 3; ++c) out[c] = grey * tint_(c, std::clamp(2.0 * along, -1.0, 1.0));
    for (const Blob& blob : blobs_) {
      const double edge = std::hypot(x - blob.x, y - blob.y) - blob.radius;
      const double cover = std::clamp(0.5 - edge / pixel, 0.0, 1.0);  // an edge one pixel wide
      for (size_t c = 0; c < 3; ++c) out[c] = std::lerp(out[c], blob.grey * blob.tint(c, 1.0), cover);
    }
  }

 private:
  static constexpr uint64_t kMostBlobs = 2;
  struct Blob {
    explicit Blob(CounterRng& rng)
        : x(rng.uniform()), y(rng.uniform()), radius(rng.uniform(0.04, 0.08)), grey(rng.uniform(0.35, 0.65)), tint(rng) {}
    double x, y, radius, grey;
    Tint tint;
  };
  Tint tint_;
  double cosine_, sine_, slope_, frequency_;
  uint64_t seed_;
  std::vector<Blob> blobs_;
};

}  // namespace

const std::vector<std::string>& scene_names() {
  static const std::vector<std::string> names = [] {
    constexpr std::array<const char*, kKinds> shapes = {"disc", "square", "triangle", "star", "ellipse", "clover", "cross", "gear"};
    std::vector<std::string> all = texture_names();
    for (size_t c = 0; c < all.size(); ++c) all[c] += std::string("_") + shapes.at(c);
    return all;
  }();
  return names;
}

ToyImage draw_scene(int kind, const ToyOptions& options, uint64_t index) {
  const int size = options.size;
  CounterRng rng(options.seed, index, 0, Purpose::kToy);
  const Shape shape(kind, rng);
  const Texture texture(kind, rng);
  const Tint tint(rng);
  const Background background(rng);
  const int fine = toy_samples(size);
  const double step = 1.0 / (static_cast<double>(size) * fine);
  const auto pixels = static_cast<size_t>(size) * static_cast<size_t>(size);
  std::vector<double> value(pixels), cover(pixels);
  double sum = 0.0, squares = 0.0, weight = 0.0;
  size_t at = 0;
  for (int y = 0; y < size; ++y) {
    for (int x = 0; x < size; ++x, ++at) {
      int inside = 0;
      double shade = 0.0;
      Texture::Shift bend{};
      for (int j = 0; j < fine; ++j) {
        for (int i = 0; i < fine; ++i) {
          const double px = (x * fine + i + 0.5) * step, py = (y * fine + j + 0.5) * step;
          if (!shape.contains(px, py)) continue;
          // the texture moves with the object, so that its rings have their middle there
          const double u = 0.5 + kStretch * (px - shape.x()), v = 0.5 + kStretch * (py - shape.y());
          if (inside == 0) bend = texture.bend(u, v);
          ++inside;
          shade += texture(u + bend.x, v + bend.y);
        }
      }
      if (inside == 0) continue;
      cover[at] = static_cast<double>(inside) / (fine * fine);
      value[at] = shade / inside;
      sum += cover[at] * value[at];
      squares += cover[at] * value[at] * value[at];
      weight += cover[at];
    }
  }
  // equal mean and contrast of every object before its colours
  const double mean = sum / weight;
  const double scale = 1.0 / std::sqrt(std::max(1e-6, squares / weight - mean * mean));

  ToyImage out;
  out.image.width = out.image.height = size;
  out.image.data.resize(pixels * 3);
  out.mask.resize(pixels);
  at = 0;
  for (int y = 0; y < size; ++y) {
    CounterRng grain(options.seed, index, 1 + static_cast<uint32_t>(y),
                     Purpose::kToy);  // a lane per row: one generator's numbers are limited
    for (int x = 0; x < size; ++x, ++at) {
      const double normal = scale * (value[at] - mean);
      const double object = kObjectGrey + kObjectContrast * normal;
      const double side = std::clamp(normal, -1.0, 1.0);  // dark parts have one hue, bright ones the other
      const double noise = kGrain * toy_grain(grain);
      double colour[3] = {};
      if (cover[at] < 1.0) background.colour((x + 0.5) / size, (y + 0.5) / size, 1.0 / size, colour);
      for (size_t c = 0; c < 3; ++c) {
        const double mixed = std::lerp(colour[c], object * tint(c, side), cover[at]);
        out.image.data[3 * at + c] = to_byte(mixed + noise);
      }
      out.mask[at] = cover[at] >= 0.5 ? 255 : 0;
    }
  }
  return out;
}

}  // namespace dinoxx
