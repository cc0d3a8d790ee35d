#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/rng.hpp"

namespace dinoxx {

/// Kinds of texture, in the order of their share in a long-tailed set.
const std::vector<std::string>& texture_names();

/// Value noise with smooth interpolation, -1 to 1: a function of the plane whose cells are 1 wide.
double smooth_noise(double u, double v, uint64_t seed);

/// One texture with random phase, orientation, wavelength and sign: a function of the plane. Lengths are in units of the image's side.
class Texture {
 public:
  /// `kind` indexes texture_names().
  Texture(int kind, CounterRng& rng);
  /// A gentle bend of the plane, different in each texture: without it a straight grating has three parameters, and a thousand images cover
  /// them for raw pixels. It changes slowly: one value serves a pixel.
  struct Shift {
    double x, y;
  };
  Shift bend(double x, double y) const;
  /// Value at the bent point (x, y) + bend(x, y), about -1 to 1.
  double operator()(double x, double y) const;

 private:
  int kind_;
  double cosine_, sine_;  // rotation and scale: texture coordinates count periods
  double phase_u_, phase_v_;
  double sign_;
  double centre_x_, centre_y_;
  uint64_t noise_seed_;
};

}  // namespace dinoxx
