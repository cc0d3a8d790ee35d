#include "init.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <limits>
#include <utility>

#include "base/rng.hpp"

namespace dinoxx::init {
namespace {

// One counter lane per chunk: a lane holds 2^18 32-bit numbers, and an element takes 4 or more of them.
constexpr int64_t kChunk = 4096;

template <class Draw>
void fill(const at::Tensor& parameter, uint64_t seed, uint64_t index, const Draw& draw) {
  at::NoGradGuard no_grad;
  at::Tensor values = at::empty(parameter.sizes(), at::kDouble);
  double* out = values.data_ptr<double>();
  const int64_t n = values.numel();
  at::parallel_for(0, (n + kChunk - 1) / kChunk, 1, [&](int64_t begin, int64_t end) {
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      CounterRng rng(seed, index, static_cast<uint32_t>(chunk), Purpose::kInit);
      for (int64_t i = chunk * kChunk; i < std::min(n, (chunk + 1) * kChunk); ++i) out[i] = draw(rng);
    }
  });
  parameter.copy_(values);
}

}  // namespace

void truncated_normal(const at::Tensor& parameter, double std, uint64_t seed, uint64_t index) {
  fill(parameter, seed, index, [std](CounterRng& rng) {
    double value;
    do value = std * rng.normal();
    while (std::abs(value) > 2.0);
    return value;
  });
}

void fan_in_uniform(const at::Tensor& parameter, int64_t fan_in, uint64_t seed, uint64_t index) {
  const double bound = 1.0 / std::sqrt(static_cast<double>(fan_in));
  fill(parameter, seed, index, [bound](CounterRng& rng) { return rng.uniform(-bound, bound); });
}

void constant(const at::Tensor& parameter, double value) {
  at::NoGradGuard no_grad;
  parameter.fill_(value);
}

namespace {

thread_local bool shapes_only = false;

}  // namespace

ShapesOnly::ShapesOnly() : before_(std::exchange(shapes_only, true)) {}
ShapesOnly::~ShapesOnly() {
  shapes_only = before_;
}

at::Tensor uninitialized(at::IntArrayRef shape, at::ScalarType dtype) {
  if (shapes_only) return at::empty(shape, at::TensorOptions().dtype(dtype).device(at::kMeta));
  return at::full(shape, std::numeric_limits<double>::quiet_NaN(), at::TensorOptions().dtype(dtype));
}

}  // namespace dinoxx::init
