#include "check.hpp"

#include <ATen/ATen.h>

#include <optional>

#include "base/machine.hpp"
#include "comm/gpu.hpp"
#include "config/train_keys.hpp"
#include "dinoxx/base/error.hpp"
#include "parallel/gradient_sync.hpp"
#include "start/resume.hpp"
#include "stopwatch.hpp"

namespace dinoxx {
namespace {

// Where a batch of this plan begins; nothing for one whose turn is shorter than a batch.
std::optional<uint64_t> first_position(const Training& training, size_t plan) {
  const std::vector<ViewPlan> plans = training.spec.plans();
  const LoaderConfig loading = training.loading();
  for (uint64_t position = 0; loading.in_turn_until == 0 || position < loading.in_turn_until;
       position += static_cast<uint64_t>(loading.global_batch))
    if (plan_at(plans, loading, position) == plan) return position;
  return std::nullopt;
}

// Seconds of a step of this position's plan.
double seconds_of_step(Training& training, uint64_t position, Loader& loader, GradientSync& sync) {
  double second = 0;
  for (int i = 0; i < 2; ++i) {  // the first step also allocates: the second tells the time
    loader.start(position);
    const StepInput input = training.input_of(loader.next());
    const Stopwatch took;
    const StepMetrics metrics = training.step(input, training.schedules.at(training.schedule_step(), training.state.position), sync);
    second = took.seconds();
    if (!metrics.finite) fail("--check", "a finite loss in the first steps", "NaN or infinity", "Lower optim.lr or look at the images");
  }
  return second;
}

}  // namespace

void start_check(Training& training, RunLog& log) {
  const Origin& origin = training.origin;
  for (const std::string& damage : origin.told) log.say("DAMAGED: " + damage);
  const std::vector<std::string> lost = bring_to_beginning(training, log);
  if (origin.from) log.say(fmt::format("would resume from {} at step {}", origin.from->folder.string(), training.state.step));
  for (const std::string& claim : lost) log.say("  resume differs: " + claim);
}

ExitCode check_steps(Training& training, Loader& loader, GradientSync& sync, RunLog& log) {
  const int64_t total = training.total_steps(), left = std::max<int64_t>(total - training.state.step, 0);
  const std::vector<ViewPlan> plans = training.spec.plans();
  double seconds = 0, shares = 0;  // of a step, the mean over all resolutions
  for (size_t plan = 0; plan < plans.size(); ++plan) {
    const std::optional<uint64_t> position = first_position(training, plan);
    if (!position) continue;
    seconds += plans[plan].share * seconds_of_step(training, *position, loader, sync);
    shares += plans[plan].share;
  }
  seconds /= shares;
  const at::Device device = training.state.student_flat.master.device();
  at::Tensor worst = at::zeros({4}, at::kDouble);
  worst[0] = static_cast<double>(peak_memory());
  worst[1] = seconds;
  if (device.is_cuda()) {
    const GpuMemory gpu = gpu_memory(device.index());
    worst[2] = static_cast<double>(gpu.peak);
    worst[3] = static_cast<double>(gpu.total);
  }
  training.comms.control->all_reduce(worst, ReduceOp::kMax)->wait();
  const std::string on_gpu = device.is_cuda() ? fmt::format("{} of {} of its GPU's memory and ", human_bytes(worst[2].item<double>()),
                                                            human_bytes(worst[3].item<double>()))
                                              : "";
  const double step = worst[1].item<double>();
  log.say(fmt::format(
      "check passed: {} a step ({:.1f} images/s), {} of {} steps are left and take about {}; {}{} of {}memory a rank, {} a checkpoint. "
      "Nothing was written.",
      step < 10 ? fmt::format("{:.3f}s", step) : human_time(step), static_cast<double>(train_batch_size(training.config)) / step, left,
      total, human_time(step * static_cast<double>(left)), on_gpu, human_bytes(worst[0].item<double>()),
      device.is_cuda() ? "the host's " : "", human_bytes(static_cast<double>(checkpoint_bytes(training.state).all()))));
  return ExitCode::kDone;
}

}  // namespace dinoxx
