// Processor time of the whole training step on random crops (no data pipeline), the rate of matrix products measured in the same run, and
// where the step's time goes.
//
//   dinoxx_bench_step CONFIG [--steps N] [--any.key value ...]
//
// One rank; CONFIG's train.batch_size is this rank's batch. Prints "name value" lines that step.sh reads.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <chrono>
#include <ctime>

#include "base/machine.hpp"
#include "config/config.hpp"
#include "data_pipeline/augment/views_config.hpp"
#include "dinoxx/base/error.hpp"
#include "dinoxx/comm/runtime.hpp"
#include "method/settings/resolve.hpp"
#include "model/heads/head_config.hpp"
#include "model/model_config.hpp"
#include "ops/gemm.hpp"
#include "ops/ops.hpp"
#include "ops/profile.hpp"
#include "parallel/parallel_config.hpp"
#include "parallel/sync_groups.hpp"
#include "step/train_step.hpp"
#include "train/training_config.hpp"

namespace dinoxx {
namespace {

double cpu_seconds() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

/// Median processor seconds of a call, over about 0.2 s.
template <class F>
double seconds_per_call(const F& f) {
  f();
  std::vector<double> times;
  const double start = cpu_seconds();
  while (times.size() < 5 || cpu_seconds() - start < 0.2) {
    const double before = cpu_seconds();
    f();
    times.push_back(cpu_seconds() - before);
  }
  std::nth_element(times.begin(), times.begin() + static_cast<int64_t>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

/// Operations per second of y = x W^T over the shapes of a block and the head, weighted by their cost: by at::mm (MKL or oneDNN) or by the
/// own kernels.
double gemm_rate(at::ScalarType type, bool own, int64_t rows, int64_t dim) {
  at::NoGradGuard no_grad;
  double seconds = 0, flops = 0;
  for (const auto& [m, n, k] : std::vector<std::array<int64_t, 3>>{
           {rows, 3 * dim, dim}, {rows, dim, dim}, {rows, 4 * dim, dim}, {rows, dim, 4 * dim}, {384, 2048, 2048}}) {
    const at::Tensor x = at::rand({m, k}, at::kFloat).to(type), w = at::rand({n, k}, at::kFloat).to(type);
    at::Tensor y = at::empty({m, n}, x.options());
    const at::Tensor wt = w.t();
    ops::Gemm g{m, n, k, x.const_data_ptr(), k, 1, w.const_data_ptr(), 1, k, {}};
    g.out.c = y.data_ptr();
    g.out.ldc = n;
    seconds += own ? seconds_per_call([&] { ops::gemm(type == at::kBFloat16, g); }) : seconds_per_call([&] { at::mm_out(y, x, wt); });
    flops += 2.0 * static_cast<double>(m * n * k);
  }
  return flops / seconds;
}

/// Matrix-product operations of one image in the textbook step (every token through every block and every product, backward = 2 x forward).
double textbook_flops(const Config& c) {
  const double dim = static_cast<double>(*c.model->dim), hidden = dim * c.model->mlp_ratio.value(),
               patch = static_cast<double>(c.model->patch_size * c.model->patch_size * 3);
  const auto forward = [&](double views, double size) {
    const double patches = size * size / static_cast<double>(c.model->patch_size * c.model->patch_size), tokens = patches + 1;
    const double block = tokens * 2 * (4 * dim * dim + 2 * dim * hidden) + 4 * tokens * tokens * dim;
    return views * (patches * 2 * patch * dim + static_cast<double>(*c.model->depth) * block);
  };
  const auto head = [&](double rows) {
    const double h = static_cast<double>(*c.head->hidden_dim), b = static_cast<double>(*c.head->bottleneck_dim);
    return rows * 2 * (dim * h + static_cast<double>(*c.head->layers - 2) * h * h + h * b + b * static_cast<double>(*c.head->out_dim));
  };
  const double global = forward(2, static_cast<double>(c.views->global_size)) + head(2);
  const double local = forward(static_cast<double>(*c.views->local_count), static_cast<double>(c.views->local_size)) +
                       head(static_cast<double>(*c.views->local_count));
  return global + 3 * (global + local);  // teacher forward, student forward and backward
}

struct Options {
  Config config;
  int steps = 12;
};

Options parse(int argc, char** argv) {
  if (argc < 2)
    fail_usage("dinoxx_bench_step", "CONFIG [--steps N] [--any.key value ...], perhaps under mpirun", "no configuration",
               "Try configs/dino_cifar10_parity.cfg");
  Options options;
  std::vector<Setting> settings = read_settings(argv[1]);
  for (int i = 2; i + 1 < argc; i += 2) {
    const std::string key = argv[i] + 2;
    if (key == "steps")
      options.steps = std::stoi(argv[i + 1]);
    else
      settings.push_back({key, argv[i + 1], "command line"});
  }
  Config config = default_config();
  apply_settings(config, settings);
  options.config = resolve_config(config, 50000, 1);
  return options;
}

void run(const Options& options, const MpiRuntime& mpi) {
  const Config& config = options.config;
  at::set_num_threads(static_cast<int>(config.train->threads.value_or(1)));
  ops::set_fused(config.train->fused_kernels);
  const MethodSpec spec = make_method(config);
  const Schedules schedules(config, 50000);
  const auto statistics = mpi.make_communicator(), of_losses = mpi.make_communicator();
  TrainState state(config, spec, compute_type(config), at::kCPU,
                   make_sync_groups(config.parallel->sync, "all", mpi.make_communicator(), *statistics, ""));
  GradientSync sync(state.groups.fellows, state.layout, state.student.parameters(), state.student_flat);

  const int64_t batch = config.train->batch_size / mpi.size();
  StepInput input;
  const auto generator = at::make_generator<at::CPUGeneratorImpl>(1);
  input.crops.push_back(at::randn({2 * batch, 3, config.views->global_size, config.views->global_size}, generator, at::kFloat));
  if (*config.views->local_count > 0)
    input.crops.push_back(
        at::randn({*config.views->local_count * batch, 3, config.views->local_size, config.views->local_size}, generator, at::kFloat));
  for (int64_t i = 0; i < batch; ++i) input.positions.push_back(static_cast<uint64_t>(i));
  input.global_batch = config.train->batch_size;
  const auto step = [&] {
    return train_step(state, spec, input, schedules.at(state.step, state.position), sync, {*statistics, *of_losses});
  };

  step();
  step();
  const ops::Profile before = ops::profile();
  std::vector<double> times, wall;
  double overlapped = 0;
  state.student_flat.share_in_time();
  for (int i = 0; i < options.steps; ++i) {
    const double start = cpu_seconds();
    const auto began = std::chrono::steady_clock::now();
    overlapped += step().overlapped_share / options.steps;
    wall.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count());
    times.push_back(cpu_seconds() - start);
  }
  if (mpi.rank() != 0) return;
  const ops::Profile after = ops::profile();
  double total = 0;
  for (const double t : times) total += t;
  std::sort(times.begin(), times.end());
  std::sort(wall.begin(), wall.end());
  const double median = times[times.size() / 2], images = static_cast<double>(batch);

  const auto type = compute_type(config);
  const int64_t tokens =
      (config.views->global_size / config.model->patch_size) * (config.views->global_size / config.model->patch_size) + 1;
  const double library = gemm_rate(type, false, 2 * batch * tokens, *config.model->dim),
               own = gemm_rate(type, true, 2 * batch * tokens, *config.model->dim);
  const double textbook = textbook_flops(config);
  fmt::print("kernels {}\n", ops::kernels_in_use());
  fmt::print("step_ms {:.2f}\nimages_per_core_second {:.2f}\n", 1e3 * median, images / median);
  fmt::print("ranks {}\nwall_ms {:.2f}\nimages_per_second {:.2f}\noverlapped_share {:.2f}\ngathers_in_time {:.2f}\npeak_mb {:.0f}\n",
             mpi.size(), 1e3 * wall[wall.size() / 2], static_cast<double>(config.train->batch_size) / wall[wall.size() / 2], overlapped,
             state.student_flat.share_in_time(), static_cast<double>(peak_memory()) / 1e6);
  fmt::print("gflop_per_image_textbook {:.4f}\n", 1e-9 * textbook);
  fmt::print("gemm_gflops_library {:.1f}\ngemm_gflops_own {:.1f}\n", 1e-9 * library, 1e-9 * own);
  fmt::print("limit_images_per_core_second_library {:.2f}\nlimit_images_per_core_second_own {:.2f}\n", library / textbook, own / textbook);

  const std::array<const char*, 4> names{"matrix_products", "layer_norm", "attention", "row_sums"};
  double known = 0;
  for (size_t i = 0; i < names.size(); ++i) {
    const double seconds = after[i].seconds - before[i].seconds;
    known += seconds;
    fmt::print("share_{} {:.3f}\n", names[i], seconds / total);
  }
  fmt::print("share_rest {:.3f}\n", 1.0 - known / total);
  const double gemm_seconds = after[0].seconds - before[0].seconds, gemm_flops = after[0].flops - before[0].flops;
  if (gemm_seconds > 0)
    fmt::print("gflop_per_image_executed {:.4f}\ngemm_gflops_in_step {:.1f}\n", 1e-9 * gemm_flops / (images * options.steps),
               1e-9 * gemm_flops / gemm_seconds);
}

}  // namespace
}  // namespace dinoxx

int main(int argc, char** argv) {
  try {
    const dinoxx::MpiRuntime mpi(&argc, &argv);
    dinoxx::run(dinoxx::parse(argc, argv), mpi);
  } catch (const std::exception& error) {
    fmt::print(stderr, "dinoxx_bench_step: {}\n", error.what());
    return 1;
  }
  return 0;
}
