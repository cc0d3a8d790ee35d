// The terms of DINOv2 with many prototypes, forward and backward: DINO over all views with Sinkhorn-Knopp targets, and iBOT at masked
// patches with targets of its own. Time, and peak memory beyond the logits, counted at the allocators: every tensor and every operator new.
//
// kernels   this project's losses
// formula   the same in ATen's operators, where there is no kernel: float64, GPUs
// autograd  Sinkhorn-Knopp by matrix-vector products on one exponential, cross-entropies as log-sum-exp minus a batched product, so that
//           no product of pairs is stored; differentiated by autograd
// by_hand   the same with the gradient written by hand, in place wherever ATen can
// by_rows   by_hand with the patches' rows in blocks of 64 or 16 from end to end: no targets of all rows, an exponential for each pass
#include <ATen/ATen.h>
#include <benchmark/benchmark.h>
#include <c10/core/CPUAllocator.h>
#include <fmt/format.h>
#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "dinoxx/base/error.hpp"
#include "dinoxx/comm/self_communicator.hpp"
#include "dinoxx/loss/dino_loss.hpp"
#include "dinoxx/loss/patch_loss.hpp"
#include "dinoxx/loss/sinkhorn.hpp"
#include "ops/ops.hpp"

namespace dinoxx {
namespace {

std::atomic<int64_t> live_bytes{0}, peak_bytes{0};

void count(int64_t bytes) {
  const int64_t now = live_bytes += bytes;
  if (bytes <= 0) return;
  int64_t peak = peak_bytes.load();
  while (now > peak && !peak_bytes.compare_exchange_weak(peak, now)) {
  }
}

/// ATen's allocator of main memory, with a count.
class CountingAllocator final : public at::Allocator {
 public:
  explicit CountingAllocator(at::Allocator* inner) : inner_(inner) {}
  at::DataPtr allocate(size_t bytes) override {
    auto* block = new Block{inner_->allocate(bytes), static_cast<int64_t>(bytes)};
    count(block->bytes);
    void* data = block->memory.get();
    return {data, block, &release, at::Device(at::kCPU)};
  }
  void copy_data(void* to, const void* from, size_t bytes) const override { inner_->copy_data(to, from, bytes); }

 private:
  struct Block {
    at::DataPtr memory;
    int64_t bytes;
  };
  static void release(void* context) {
    auto* block = static_cast<Block*>(context);
    count(-block->bytes);
    delete block;
  }
  at::Allocator* inner_;
};

constexpr int64_t kViews = 10, kGlobals = 2, kBatch = 16, kPatches = 256;  // of 16 images: 2 + 8 crops; 16 masked patches an image
constexpr double kStudentTemp = 0.1, kTeacherTemp = 0.05, kDivisor = static_cast<double>(kGlobals * kBatch);

struct Logits {
  explicit Logits(int64_t dim, at::ScalarType type) {
    const auto make = [&](at::IntArrayRef shape) { return (at::rand(shape) * 2.0 - 1.0).to(type); };
    student = make({kViews, kBatch, dim}).set_requires_grad(true);
    teacher = make({kGlobals, kBatch, dim});
    patches = make({kPatches, dim}).set_requires_grad(true);
    patch_targets = make({kPatches, dim});
    weight = at::full({kPatches}, 1.0 / 8.0);
  }
  void clear() {
    student.mutable_grad() = at::Tensor();
    patches.mutable_grad() = at::Tensor();
  }
  int64_t dim() const { return student.size(2); }
  at::Tensor student, teacher, patches, patch_targets, weight;
};

at::Tensor kernels(const Logits& x) {
  static const auto self = make_self_communicator();
  const at::Tensor centre = sinkhorn_centre(x.teacher.view({-1, x.dim()}), kTeacherTemp, 3, *self);
  const at::Tensor dino = dino_loss(x.student, x.teacher, centre, kStudentTemp, kTeacherTemp, 1.0, /*want_teacher_sum=*/false).loss;
  const at::Tensor patch_centre = sinkhorn_centre(x.patch_targets, kTeacherTemp, 3, *self);
  return dino + patch_loss(x.patches, x.patch_targets, patch_centre, x.weight, kStudentTemp, kTeacherTemp, kDivisor).loss;
}

/// Assignment by factors of rows and columns on one exponential in place of rescaling the matrix six times.
at::Tensor assignment(const at::Tensor& logits) {
  at::NoGradGuard no_grad;
  at::Tensor q = logits.to(at::kFloat, false, /*copy=*/true).div_(kTeacherTemp);
  q.sub_(q.max()).exp_();
  at::Tensor samples = at::ones({q.size(0)}), prototypes;
  for (int i = 0; i < 3; ++i) {
    prototypes = at::mv(q.t(), samples).reciprocal_();
    samples = at::mv(q, prototypes).reciprocal_();
  }
  return q.mul_(samples.unsqueeze(1)).mul_(prototypes);
}

constexpr double kPairs = static_cast<double>(kGlobals * (kViews - 1));

at::Tensor autograd(const Logits& x) {
  const int64_t dim = x.dim();
  const at::Tensor q = assignment(x.teacher.view({-1, dim})).view({kGlobals, kBatch, dim});
  const at::Tensor s = x.student.to(at::kFloat) / kStudentTemp, lse = s.logsumexp({-1});  // [V, B]
  const at::Tensor products = at::matmul(q.transpose(0, 1), s.permute({1, 2, 0}));        // [B, G, V]
  const at::Tensor own = products.diagonal(0, 1, 2).sum();                                // pairs of a view with itself
  at::Tensor count = at::full({kViews, 1}, static_cast<double>(kGlobals));
  count.narrow(0, 0, kGlobals).sub_(1.0);
  const at::Tensor dino = ((lse * count).sum() - products.sum() + own) / (kPairs * kBatch);

  const at::Tensor target = assignment(x.patch_targets), p = x.patches.to(at::kFloat) / kStudentTemp;
  const at::Tensor dot = at::bmm(target.unsqueeze(1), p.unsqueeze(2)).view({-1});
  return dino + ((p.logsumexp({-1}) - dot) * x.weight).sum() / kDivisor;
}

/// rows = student / temp [N, K]: loss sum_i w_i (m_i lse_i - target_i . rows_i); rows become d loss / d student.
at::Tensor cross_entropy_in_place(at::Tensor rows, const at::Tensor& target, const at::Tensor& mass, const at::Tensor& weight) {
  const at::Tensor lse = rows.logsumexp({-1});
  const at::Tensor dot = at::bmm(target.unsqueeze(1), rows.unsqueeze(2)).view({-1});
  const at::Tensor loss = ((lse * mass - dot) * weight).sum();
  rows.sub_(lse.unsqueeze(1)).exp_().mul_(mass.unsqueeze(1)).sub_(target).mul_((weight / kStudentTemp).unsqueeze(1));
  return loss;
}

constexpr double kDinoWeight = 1.0 / (kPairs * kBatch);
double teachers_of(int64_t view) {
  return static_cast<double>(kGlobals - (view < kGlobals ? 1 : 0));  // of the other views
}

/// No autograd: the gradients are assigned, which costs nothing.
at::Tensor by_hand(Logits& x) {
  at::NoGradGuard no_grad;
  const int64_t dim = x.dim();
  const at::Tensor q = assignment(x.teacher.view({-1, dim})).view({kGlobals, kBatch, dim}), sum = q.sum(0);
  at::Tensor grad = x.student.to(at::kFloat, false, /*copy=*/true).div_(kStudentTemp), loss = at::zeros({});
  for (int64_t v = 0; v < kViews; ++v) {  // by view, so that the other views' sum needs no [V, B, K]
    const at::Tensor target = v < kGlobals ? sum - q[v] : sum;
    loss.add_(cross_entropy_in_place(grad[v], target, at::full({kBatch}, teachers_of(v)), at::full({kBatch}, kDinoWeight)));
  }
  x.student.mutable_grad() = grad.to(x.student.scalar_type());
  const at::Tensor target = assignment(x.patch_targets);
  grad = x.patches.to(at::kFloat, false, /*copy=*/true).div_(kStudentTemp);
  loss.add_(cross_entropy_in_place(grad, target, at::ones({kPatches}), x.weight / kDivisor));
  x.patches.mutable_grad() = grad.to(x.patches.scalar_type());
  return loss;
}

/// The gradient of these rows by `loss_of`, which turns logits / temp into it in float32; no second copy where `grad` is float32 itself.
template <class LossOf>
at::Tensor gradient_of(at::Tensor grad, const at::Tensor& logits, const LossOf& loss_of) {
  const bool wide = grad.scalar_type() == at::kFloat;
  at::Tensor rows = (wide ? grad.copy_(logits) : logits.to(at::kFloat)).div_(kStudentTemp);
  const at::Tensor loss = loss_of(rows);
  if (!wide) grad.copy_(rows);
  return loss;
}

at::Tensor by_rows(Logits& x, int64_t block) {
  at::NoGradGuard no_grad;
  const int64_t dim = x.dim();
  at::Tensor loss = at::zeros({}), grad = at::empty_like(x.student);
  {
    const at::Tensor q = assignment(x.teacher.view({-1, dim})).view({kGlobals, kBatch, dim}), sum = q.sum(0);
    for (int64_t v = 0; v < kViews; ++v) {
      const at::Tensor target = v < kGlobals ? sum - q[v] : sum;
      loss.add_(gradient_of(grad[v], x.student[v], [&](const at::Tensor& rows) {
        return cross_entropy_in_place(rows, target, at::full({kBatch}, teachers_of(v)), at::full({kBatch}, kDinoWeight));
      }));
    }
  }
  x.student.mutable_grad() = grad;

  const double top = x.patch_targets.max().item<double>() / kTeacherTemp;
  const auto exponentials = [&](int64_t first) {
    return x.patch_targets.narrow(0, first, block).to(at::kFloat, false, /*copy=*/true).div_(kTeacherTemp).sub_(top).exp_();
  };
  at::Tensor prototypes;
  for (int i = 0; i < 3; ++i) {
    at::Tensor sums = at::zeros({dim});
    for (int64_t first = 0; first < kPatches; first += block) {
      const at::Tensor q = exponentials(first);
      sums.addmv_(q.t(), i == 0 ? at::ones({block}) : at::mv(q, prototypes).reciprocal_());
    }
    prototypes = sums.reciprocal_();
  }
  grad = at::empty_like(x.patches);
  for (int64_t first = 0; first < kPatches; first += block) {
    const at::Tensor target = exponentials(first).mul_(prototypes);
    target.div_(target.sum(1, /*keepdim=*/true));
    loss.add_(gradient_of(grad.narrow(0, first, block), x.patches.narrow(0, first, block), [&](const at::Tensor& rows) {
      return cross_entropy_in_place(rows, target, at::ones({block}), x.weight.narrow(0, first, block) / kDivisor);
    }));
  }
  x.patches.mutable_grad() = grad;
  return loss;
}

double step(Logits& x, const std::string& way) {
  x.clear();
  if (way == "by_hand") return by_hand(x).item<double>();
  if (way == "by_64_rows") return by_rows(x, 64).item<double>();
  if (way == "by_16_rows") return by_rows(x, 16).item<double>();
  ops::set_fused(way == "kernels");
  const at::Tensor loss = way == "autograd" ? autograd(x) : kernels(x);
  loss.backward();
  return loss.item<double>();
}

void terms(benchmark::State& state, const std::string& way, at::ScalarType type) {
  Logits x(state.range(0), type);
  // all ways must compute the same before they are compared
  const double expected = step(x, "kernels");
  const at::Tensor student_grad = x.student.grad(), patch_grad = x.patches.grad();
  const double found = step(x, way), tolerance = type == at::kFloat ? 1e-4 : 1e-2;
  const auto differs = [&](const at::Tensor& a, const at::Tensor& b) {
    return (a.to(at::kFloat) - b.to(at::kFloat)).abs().max().item<double>() > tolerance * b.abs().max().item<double>();
  };
  if (std::abs(found - expected) > 1e-4 * expected || differs(x.student.grad(), student_grad) || differs(x.patches.grad(), patch_grad))
    fail("loss benchmark", fmt::format("the loss {} and its gradients", expected), fmt::format("{} by {}", found, way), "");
  x.clear();

  const int64_t before = live_bytes;
  peak_bytes = before;
  step(x, way);
  const double peak = static_cast<double>(peak_bytes - before);
  for (auto _ : state) step(x, way);
  state.counters["peak_MB"] = peak / 1e6;
  state.counters["beyond_gradients_MB"] = (peak - static_cast<double>(x.student.nbytes() + x.patches.nbytes())) / 1e6;
}

void register_all() {
  for (const auto& [name, type] : {std::pair{"f32", at::kFloat}, std::pair{"bf16", at::kBFloat16}})
    for (const std::string way : {"kernels", "formula", "autograd", "by_hand", "by_64_rows", "by_16_rows"})
      benchmark::RegisterBenchmark((way + "_" + name).c_str(), [way, type = type](benchmark::State& state) { terms(state, way, type); })
          ->Arg(65536)
          ->Arg(131072)
          ->Unit(benchmark::kMillisecond);
}

}  // namespace
}  // namespace dinoxx

void* operator new(size_t bytes) {
  void* memory = std::malloc(bytes);
  if (memory == nullptr) throw std::bad_alloc();
  dinoxx::count(static_cast<int64_t>(malloc_usable_size(memory)));
  return memory;
}
void operator delete(void* memory) noexcept {
  dinoxx::count(-static_cast<int64_t>(malloc_usable_size(memory)));
  std::free(memory);
}
void operator delete(void* memory, size_t) noexcept {
  operator delete(memory);
}

int main(int argc, char** argv) {
  dinoxx::CountingAllocator counting(at::GetAllocator(at::kCPU));
  c10::SetCPUAllocator(&counting, /*priority=*/100);
  dinoxx::register_all();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  std::_Exit(0);  // tensors of libraries outlive main, their allocator does not
}
