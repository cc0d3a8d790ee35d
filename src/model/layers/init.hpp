#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

/// Initial values as a function of (seed, parameter index, element): the same on every machine, rank and thread count.
namespace dinoxx::init {

/// Where a network's parameter indices begin, so that backbone and head draw different numbers from one seed.
inline constexpr uint64_t kBackbone = 0, kHead = 1u << 20;

/// Normal with mean 0, drawn again beyond +-2 (not +-2 std: torch's trunc_normal_ with its default bounds, as facebookresearch/dino calls
/// it).
void truncated_normal(const at::Tensor& parameter, double std, uint64_t seed, uint64_t index);
/// Uniform in +-1 / sqrt(fan_in): torch.nn.Linear's and torch.nn.Conv2d's default for weights and biases.
void fan_in_uniform(const at::Tensor& parameter, int64_t fan_in, uint64_t seed, uint64_t index);
void constant(const at::Tensor& parameter, double value);

/// A parameter before its initialisation: NaN, so that a forgotten one shows.
at::Tensor uninitialized(at::IntArrayRef shape, at::ScalarType dtype);

/// While one lives, this thread's uninitialized() gives shapes without memory (device "meta"): networks of any size, to be counted and not
/// to be run.
class ShapesOnly {
 public:
  ShapesOnly();
  ~ShapesOnly();
  ShapesOnly(const ShapesOnly&) = delete;
  ShapesOnly& operator=(const ShapesOnly&) = delete;

 private:
  bool before_;
};

}  // namespace dinoxx::init
