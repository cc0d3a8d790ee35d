#include "toy_textures.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace dinoxx {
namespace {

constexpr double kTwoPi = 2.0 * std::numbers::pi;

enum Kind { kStripes, kChecks, kDots, kRings, kZigzag, kBricks, kBlobs, kWeave };

double fraction(double x) {
  return x - std::floor(x);
}
/// Distance to the nearest whole number, 0 to 0.5.
double to_integer(double x) {
  return std::abs(x - std::round(x));
}

/// -1 or 1 for a whole number pair, a hash.
double lattice_value(int64_t i, int64_t j, uint64_t seed) {
  uint64_t h = seed ^ (static_cast<uint64_t>(i) * 0x9E3779B97F4A7C15ull) ^ (static_cast<uint64_t>(j) * 0xC2B2AE3D27D4EB4Full);
  h ^= h >> 33;
  h *= 0xFF51AFD7ED558CCDull;
  h ^= h >> 33;
  h *= 0xC4CEB9FE1A85EC53ull;
  h ^= h >> 33;
  return static_cast<double>(h >> 11) * 0x1.0p-52 - 1.0;
}

constexpr double kBendFrequency = 3.0, kBend = 0.06;

/// Periods per image side, chosen so that each kind shows several of its elements at 32 pixels.
double frequency(int kind) {
  switch (kind) {
    case kStripes:
      return 4.5;
    case kChecks:
      return 4.2;
    case kDots:
      return 4.8;
    case kRings:
      return 4.5;
    case kZigzag:
      return 4.2;
    case kBricks:
      return 4.4;
    case kBlobs:
      return 10.0;
    default:
      return 5.0;
  }
}

}  // namespace

double smooth_noise(double u, double v, uint64_t seed) {
  const double fu = std::floor(u), fv = std::floor(v);
  const auto i = static_cast<int64_t>(fu), j = static_cast<int64_t>(fv);
  const auto ease = [](double t) { return t * t * (3.0 - 2.0 * t); };
  const double a = ease(u - fu), b = ease(v - fv);
  const double top = std::lerp(lattice_value(i, j, seed), lattice_value(i + 1, j, seed), a);
  const double bottom = std::lerp(lattice_value(i, j + 1, seed), lattice_value(i + 1, j + 1, seed), a);
  return std::lerp(top, bottom, b);
}

const std::vector<std::string>& texture_names() {
  static const std::vector<std::string> names = {"stripes", "checks", "dots", "rings", "zigzag", "bricks", "blobs", "weave"};
  return names;
}

Texture::Texture(int kind, CounterRng& rng) : kind_(kind) {
  const double angle = rng.uniform(0.0, kTwoPi);
  const double scale = frequency(kind) * std::exp(rng.uniform(-0.15, 0.15));
  cosine_ = scale * std::cos(angle);
  sine_ = scale * std::sin(angle);
  phase_u_ = rng.uniform();
  phase_v_ = rng.uniform();
  sign_ = rng.bernoulli(0.5) ? 1.0 : -1.0;
  centre_x_ = rng.uniform(0.25, 0.75);
  centre_y_ = rng.uniform(0.25, 0.75);
  noise_seed_ = rng.next_u64();
}

Texture::Shift Texture::bend(double x, double y) const {
  const double u = kBendFrequency * x, v = kBendFrequency * y;
  return {kBend * smooth_noise(u, v, noise_seed_ + 1), kBend * smooth_noise(u, v, noise_seed_ + 2)};
}

double Texture::operator()(double x, double y) const {
  double u = cosine_ * x - sine_ * y + phase_u_;
  double v = sine_ * x + cosine_ * y + phase_v_;
  double value = 0.0;
  switch (kind_) {
    case kStripes:
      value = std::sin(kTwoPi * u);
      break;
    case kChecks:
      value = 1.6 * std::sin(kTwoPi * u) * std::sin(kTwoPi * v);
      break;
    case kDots: {
      v *= 1.1547;  // rows of a hexagonal lattice
      u += 0.5 * (static_cast<int64_t>(std::floor(v)) & 1);
      const double du = fraction(u) - 0.5, dv = (fraction(v) - 0.5) / 1.1547;
      value = std::clamp(8.0 * (0.3 - std::sqrt(du * du + dv * dv)), -1.0, 1.0);
      break;
    }
    case kRings: {
      const double dx = x - centre_x_, dy = y - centre_y_;
      value = std::sin(kTwoPi * (std::hypot(cosine_, sine_) * std::sqrt(dx * dx + dy * dy) + phase_u_));
      break;
    }
    case kZigzag:
      value = std::sin(kTwoPi * (u + 2.0 * to_integer(0.75 * v)));
      break;
    case kBricks: {
      u = 0.5 * u + 0.5 * (static_cast<int64_t>(std::floor(v)) & 1);
      const double edge = std::min(2.0 * to_integer(u), to_integer(v));
      value = std::clamp(8.0 * (edge - 0.15), -1.0, 1.0);
      break;
    }
    case kBlobs:
      value = std::clamp(3.0 * smooth_noise(u, v, noise_seed_), -1.0, 1.0);
      break;
    default: {  // weave: cells of stripes, in turn along and across
      const bool across = ((static_cast<int64_t>(std::floor(0.5 * u)) + static_cast<int64_t>(std::floor(0.5 * v))) & 1) != 0;
      value = std::sin(kTwoPi * (across ? u : v));
      break;
    }
  }
  return sign_ * value;
}

}  // namespace dinoxx
