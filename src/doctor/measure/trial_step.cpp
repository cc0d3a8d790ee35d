#include "trial_step.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <chrono>
#include <cmath>
#include <numeric>

#include "comm/agree.hpp"
#include "config/config.hpp"
#include "config/train_keys.hpp"
#include "dinoxx/base/error.hpp"
#include "method/methods.hpp"
#include "method/settings/resolve.hpp"
#include "parallel/gradient_sync.hpp"
#include "step/build.hpp"
#include "step/train_step.hpp"

namespace dinoxx::doctor {
namespace {

constexpr int kImagesOfRank = 8;
constexpr uint64_t kImages = 100000;  // of a set that is not there

Config small_config(int ranks, int threads) {
  Config config = default_config();
  apply_settings(config, parse_settings("[model]\ndim = 192\ndepth = 4\nheads = 3\npatch_size = 16\n"
                                        "[head]\nout_dim = 1024\nhidden_dim = 256\nbottleneck_dim = 64\n"
                                        "[views]\nglobal_size = 96\nlocal_size = 48\nlocal_count = 2\n"
                                        "[train]\nmethod = dino\nlength = 100it\n",
                                        "the trial step"));
  apply_settings(config, {{"train.batch_size", std::to_string(kImagesOfRank * ranks), "the trial step"},
                          {"train.threads", std::to_string(threads), "the trial step"},
                          {"data.workers", "1", "the trial step"}});
  return resolve_config(config, kImages, threads, nullptr, ranks);
}

// Pixels of this rank's images, by the plan: a pattern that is another one in every image.
StepInput synthetic(const MethodSpec& spec, const TrainState& state, int rank, int ranks) {
  const ViewPlan plan = spec.plans().front();
  StepInput input;
  input.positions.resize(kImagesOfRank);
  std::iota(input.positions.begin(), input.positions.end(), state.position + static_cast<uint64_t>(rank) * kImagesOfRank);
  input.global_batch = int64_t{kImagesOfRank} * ranks;
  for (size_t first = 0; first < plan.views.size();) {
    size_t last = first;
    while (last < plan.views.size() && plan.views[last].size == plan.views[first].size) ++last;
    const int64_t size = plan.views[first].size, images = static_cast<int64_t>(last - first) * kImagesOfRank;
    const at::Tensor wave = at::arange(images * 3 * size * size, at::kFloat).mul_(0.37 + 0.01 * rank).sin_().view({images, 3, size, size});
    input.crops.push_back(wave.to(state.student_flat.compute.device(), state.student_flat.compute.scalar_type()));
    first = last;
  }
  for (size_t i = 0; i < spec.guides; ++i) input.guides.push_back(at::zeros({static_cast<int64_t>(input.positions.size())}, at::kLong));
  input.masked = draw_masks(spec, plan.views.front().size, input.positions, input.seed);
  return input;
}

void run(const TrialComms& comms, at::Device device, int threads, TrialStep& trial) {
  const int ranks = comms.control->size();
  const Config config = small_config(ranks, threads);
  at::set_num_threads(threads);
  const MethodSpec spec = make_method(config);
  const Schedules schedules(config, kImages);
  TrainState state(config, spec, compute_type(config), device);
  const std::shared_ptr<Communicator> batch = comms.statistics->split(0, comms.statistics->rank());
  GradientSync sync(comms.gradients, state.layout, state.student.parameters(), state.student_flat);
  for (int i = 0; i < 2; ++i) {
    const StepInput input = synthetic(spec, state, comms.control->rank(), ranks);
    comms.control->barrier();
    const auto start = std::chrono::steady_clock::now();
    const StepMetrics metrics = train_step(state, spec, input, schedules.at(state.step, state.position), sync, {*comms.statistics, *batch});
    trial.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    trial.loss = metrics.loss;
    if (!metrics.finite) fail("the loss", "a finite number", "NaN or infinity", "");
  }
  trial.batch = train_batch_size(config);
  check_ranks_agree(*comms.control, state.student_flat.master, "student weights", state.step);
}

}  // namespace

TrialStep trial_step(const TrialComms& comms, at::Device device, int threads) {
  TrialStep trial;
  try {
    on_all_ranks(*comms.control, [&] { run(comms, device, threads, trial); });
  } catch (const AgreedError& error) {
    trial.error = error.what();
    return trial;
  }
  at::Tensor slowest = at::tensor({trial.seconds}, at::kDouble);
  comms.control->all_reduce(slowest, ReduceOp::kMax)->wait();
  trial.seconds = slowest.item<double>();
  return trial;
}

std::vector<Finding> step_findings(const TrialStep& step) {
  if (step.error.empty()) return {};
  return {{Severity::kFault, "a training step on synthetic data", "a finite loss and equal weights on all ranks", step.error,
           "Training fails in the same way: mend what is named in front of this first"}};
}

}  // namespace dinoxx::doctor
