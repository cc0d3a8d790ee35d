#include "check.hpp"

#include <ATen/ATen.h>

#include "base/files.hpp"
#include "base/machine.hpp"
#include "dinoxx/base/error.hpp"
#include "parallel/gradient_sync.hpp"
#include "stopwatch.hpp"
#include "training_config.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;

// The folder's writability is part of the check; what did not exist before does not exist after.
void probe_folder(const fs::path& out) {
  const fs::path absolute = fs::absolute(out);
  fs::path made = absolute;
  const bool existed = fs::exists(absolute);
  while (made.has_parent_path() && made != made.parent_path() && !fs::exists(made.parent_path())) made = made.parent_path();
  make_writable_directory(absolute);
  if (!existed) fs::remove_all(made);
}

// Seconds of a step with the crops of this plan.
double seconds_of_step(Training& training, size_t plan, Loader& loader, GradientSync& sync) {
  const std::vector<ViewPlan> plans = training.spec.plans();
  uint64_t position = 0;
  while (drawn_plan(plans, static_cast<uint64_t>(training.config.train->seed), position) != plan)
    position += static_cast<uint64_t>(training.config.train->batch_size);
  double second = 0;
  for (int i = 0; i < 2; ++i) {  // the first step also allocates: the second tells the time
    loader.start(position);
    const StepInput input = training.input_of(loader.next());
    const Stopwatch took;
    const StepMetrics metrics = training.step(input, training.schedules.at(training.state.step, training.state.position), sync);
    second = took.seconds();
    if (!metrics.finite) fail("--check", "a finite loss in the first steps", "NaN or infinity", "Lower optim.lr or look at the images");
  }
  return second;
}

}  // namespace

void start_check(Training& training, const TrainOptions& options) {
  const TrainComms& comms = training.comms;
  on_everyone(comms, [&] {
    if (everyone(comms).rank() == 0) probe_folder(comms.job ? options.out.parent_path() : options.out);
  });
  broadcast_parameters(*comms.gradients, training.state.student_flat);
  broadcast_parameters(*comms.gradients, training.state.teacher_flat);
}

ExitCode check_steps(Training& training, Loader& loader, GradientSync& sync, RunLog& log) {
  const std::vector<ViewPlan> plans = training.spec.plans();
  double seconds = 0, shares = 0;  // of a step, the mean over all resolutions
  for (size_t plan = 0; plan < plans.size(); ++plan) {
    seconds += plans[plan].share * seconds_of_step(training, plan, loader, sync);
    shares += plans[plan].share;
  }
  seconds /= shares;
  at::Tensor worst = at::zeros({2}, at::kDouble);
  worst[0] = static_cast<double>(peak_memory());
  worst[1] = seconds;
  training.comms.control->all_reduce(worst, ReduceOp::kMax)->wait();
  const int64_t total = training.schedules.total_steps();
  const double step = worst[1].item<double>(), whole = step * static_cast<double>(total);
  const double state_bytes = static_cast<double>(training.state.layout.numel) * 4 * 4;
  log.say(fmt::format(
      "check passed: {} a step ({:.1f} images/s), the run of {} steps takes about {}; {} of memory a rank, {} a checkpoint. Nothing was "
      "written.",
      step < 10 ? fmt::format("{:.3f}s", step) : human_time(step), static_cast<double>(training.config.train->batch_size) / step, total,
      human_time(whole), human_bytes(worst[0].item<double>()),
      human_bytes(state_bytes + static_cast<double>(training.state.layout.numel) * 8)));
  return ExitCode::kDone;
}

}  // namespace dinoxx
