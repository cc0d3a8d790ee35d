#include "step_recorder.hpp"

#include <cmath>

#include "base/machine.hpp"
#include "comm/gpu.hpp"
#include "config/train_keys.hpp"
#include "data_pipeline/loader/data_config.hpp"

namespace dinoxx {

using nlohmann::json;

StepRecorder::StepRecorder(const Training& training, Loader& loader, RunLog& log, Stopwatch& watch)
    : training_(training), loader_(loader), log_(log), watch_(watch), recorded_step_(training.state.step) {}

void StepRecorder::record(const StepMetrics& metrics, const StepValues& values, const Batch& batch) {
  const int64_t step = training_.state.step, total = training_.total_steps();
  const double seconds = watch_.seconds();
  const auto steps = static_cast<double>(step - recorded_step_);
  const LoaderStats stats = loader_.stats();
  if (stats.bad_samples > bad_samples_)
    log_.say_here(
        fmt::format("rank {}: {} images could not be read so far and were replaced", training_.comms.control->rank(), stats.bad_samples));
  bad_samples_ = stats.bad_samples;
  watch_.restart();
  recorded_step_ = step;
  if (!log_.chief()) return;
  const double images_per_s = steps * static_cast<double>(train_batch_size(training_.config)) / seconds;
  const double wait = stats.wait_seconds / seconds;
  const double epoch = static_cast<double>(training_.state.position) / static_cast<double>(training_.inputs.ids.size());
  json line = {{"step", step},
               {"epoch", epoch},
               {"loss", metrics.loss},
               {"lr", values.lr},
               {"weight_decay", values.weight_decay},
               {"momentum", values.momentum},
               {"teacher_temp", values.teacher_temp},
               {"images_per_s", images_per_s},
               {"data_wait", wait},
               {"grad_norm", metrics.grad_norm},
               {"overlapped_share", metrics.overlapped_share},
               {"last_layer_frozen", values.freeze_last_layer}};
  if (const at::Device device = training_.state.student_flat.master.device(); device.is_cuda())
    line["gpu_memory"] = gpu_memory(device.index()).peak;
  if (values.gram_weight > 0) line["gram_weight"] = values.gram_weight;
  if (!training_.spec.other_views.empty()) {
    std::vector<int> sizes;
    for (const CropGroup& group : batch.groups) sizes.push_back(group.size);
    line["crop_sizes"] = sizes;
  }
  for (const auto& [name, value] : metrics.terms) line[name] = value;
  log_.write(line);
  if (const auto limit = data_wait_.look(wait, seconds, training_.config.data->workers.value())) {
    log_.write({{"event", "data_wait"}, {"step", step}, {"share", wait}});
    log_.say(fmt::format("step {}: {}", step, *limit));
  }
  std::vector<std::pair<std::string, double>> scalars;
  for (const auto& [name, value] : line.items())
    if (value.is_number_float() && std::isfinite(value.get<double>())) scalars.emplace_back("train/" + name, value.get<double>());
  log_.scalars(step, scalars);
  const double left = static_cast<double>(total - step) * seconds / steps;
  progress_ = fmt::format("step {}/{}  epoch {:.2f}  loss {:.4f}  lr {:.2e}  {:.1f} images/s  waiting for data {:.0f} %  ETA {}", step,
                          total, epoch, metrics.loss, values.lr, images_per_s, 100 * wait, human_time(left));
}

void StepRecorder::show() {
  log_.show(progress_, recorded_step_ == training_.total_steps());
}

}  // namespace dinoxx
