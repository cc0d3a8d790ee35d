// Micro-benchmarks: fused operations against the ATen formula. Argument 0: rows = batch of samples, 1: tokens, 2: 0 fp32 / 1 bf16, 3: 0
// formula / 1 fused.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>

#include "ops/ops.hpp"

namespace {

using namespace dinoxx;

constexpr int64_t kDim = 192;

struct Case {
  explicit Case(const benchmark::State& state)
      : batch(state.range(0)), tokens(state.range(1)), type(state.range(2) ? at::kBFloat16 : at::kFloat) {
    at::set_num_threads(1);
    ops::set_fused(state.range(3) != 0);
  }
  at::Tensor tensor(at::IntArrayRef sizes, double scale = 1.0) const {
    return (at::randn(sizes, at::kFloat) * scale).to(type).requires_grad_(true);
  }
  int64_t batch, tokens;
  at::ScalarType type;
};

template <class F>
void forward_backward(benchmark::State& state, const F& f) {
  const at::Tensor grad = f().detach().clone();
  for (auto _ : state) f().backward(grad);
  ops::set_fused(true);
}

void block(benchmark::State& state) {
  const Case c(state);
  const at::Tensor x = c.tensor({c.batch, c.tokens, kDim});
  const auto ones = [&] { return at::ones({kDim}, c.type).requires_grad_(true); };
  const ops::BlockWeights w{
      ones(), c.tensor({kDim}), c.tensor({3 * kDim, kDim}, 0.05), c.tensor({3 * kDim}), c.tensor({kDim, kDim}, 0.05),     c.tensor({kDim}),
      ones(), c.tensor({kDim}), c.tensor({4 * kDim, kDim}, 0.05), c.tensor({4 * kDim}), c.tensor({kDim, 4 * kDim}, 0.05), c.tensor({kDim})};
  forward_backward(state, [&] { return ops::transformer_block(x, w, 3, 1e-6, {}, {}); });
}

void layer_norm(benchmark::State& state) {
  const Case c(state);
  const at::Tensor x = c.tensor({c.batch, c.tokens, kDim}), w = c.tensor({kDim}), b = c.tensor({kDim});
  forward_backward(state, [&] { return ops::layer_norm(x, w, b, 1e-6); });
}

void gelu(benchmark::State& state) {
  const Case c(state);
  const at::Tensor x = c.tensor({c.batch, c.tokens, 4 * kDim});
  forward_backward(state, [&] { return ops::gelu(x); });
}

void attention(benchmark::State& state) {
  const Case c(state);
  const at::Tensor x = c.tensor({c.batch, c.tokens, 3 * kDim});
  forward_backward(state, [&] { return ops::attention(x, 3); });
}

void sizes(benchmark::internal::Benchmark* b) {
  for (const auto& [batch, tokens] : {std::pair{128, 17}, {256, 5}, {32, 65}, {8, 197}})
    for (const int bf16 : {0, 1})
      for (const int fused : {0, 1}) b->Args({batch, tokens, bf16, fused});
  b->Unit(benchmark::kMillisecond)->MinTime(0.1);
}

BENCHMARK(block)->Apply(sizes);
BENCHMARK(layer_norm)->Apply(sizes);
BENCHMARK(gelu)->Apply(sizes);
BENCHMARK(attention)->Apply(sizes);

}  // namespace

BENCHMARK_MAIN();
