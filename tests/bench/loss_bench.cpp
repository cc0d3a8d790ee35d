// The DINO loss with its gradient: kernel, ATen formula, and the limit: reading the logits and writing the gradient once, as a copy of as
// many bytes does.
#include <ATen/ATen.h>
#include <benchmark/benchmark.h>

#include "dinoxx/loss/dino_loss.hpp"
#include "ops/ops.hpp"

namespace dinoxx {
namespace {

struct Logits {
  explicit Logits(int64_t dim, at::ScalarType dtype)
      : student(at::rand({6, 64, dim}).to(dtype).set_requires_grad(true)),
        teacher(at::rand({2, 64, dim}).to(dtype)),
        centre(at::zeros({dim})) {}
  int64_t bytes_read() const { return static_cast<int64_t>(student.nbytes() + teacher.nbytes()); }
  at::Tensor student, teacher, centre;  // [V, B, K], [G, B, K], [K]
};

void loss(benchmark::State& state, bool fused, at::ScalarType dtype) {
  Logits logits(state.range(0), dtype);
  ops::set_fused(fused);
  for (auto _ : state) {
    dino_loss(logits.student, logits.teacher, logits.centre, 0.1, 0.04).loss.backward();
    logits.student.mutable_grad() = at::Tensor();
  }
  ops::set_fused(true);
  state.SetBytesProcessed(state.iterations() * (logits.bytes_read() + static_cast<int64_t>(logits.student.nbytes())));
}

void copy(benchmark::State& state, at::ScalarType dtype) {
  const Logits logits(state.range(0), dtype);
  at::NoGradGuard no_grad;
  at::Tensor target = at::empty_like(logits.student);
  for (auto _ : state) {
    target.copy_(logits.student);
    benchmark::DoNotOptimize(logits.teacher.sum());
  }
  state.SetBytesProcessed(state.iterations() * (logits.bytes_read() + static_cast<int64_t>(logits.student.nbytes())));
}

BENCHMARK_CAPTURE(loss, kernel_f32, true, at::kFloat)->Arg(4096)->Arg(65536)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(loss, kernel_bf16, true, at::kBFloat16)->Arg(4096)->Arg(65536)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(loss, formula_f32, false, at::kFloat)->Arg(4096)->Arg(65536)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(copy, f32, at::kFloat)->Arg(4096)->Arg(65536)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace dinoxx

BENCHMARK_MAIN();
