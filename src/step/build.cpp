#include "dinoxx/step/build.hpp"

#include <cmath>

#include "dinoxx/core/error.hpp"

namespace dinoxx {

AdamWConfig adamw_config(const Config& config) {
  return {config.optim.beta1, config.optim.beta2, 1e-8};
}

at::ScalarType compute_type(const Config& config) {
  return config.train.precision == "bf16" ? at::kBFloat16 : at::kFloat;
}

Schedules::Schedules(const Config& config, uint64_t images) : images_(images) {
  const int64_t batch = config.train.batch_size;
  const auto steps = [&](const Duration& duration) { return duration.steps(images, batch); };
  total_ = steps(config.train.length);
  const OptimConfig& optim = config.optim;
  const int64_t warmup = steps(optim.warmup.value());
  if (warmup > total_)
    fail_usage("optim.warmup", fmt::format("at most the run's {} steps", total_), fmt::format("{} steps", warmup),
               "Shorten the warm-up or train longer");
  lr_ = {optim.lr * static_cast<double>(batch) / 256.0, optim.min_lr, 0.0, warmup, total_};
  weight_decay_ = {optim.weight_decay, optim.weight_decay_end, 0.0, 0, total_};
  momentum_ = {config.teacher.momentum.value(), config.teacher.momentum_end, 0.0, 0, total_};
  temperature_ = {config.teacher.warmup_temp.value(), config.teacher.temp.value(), config.teacher.warmup_temp_epochs.value()};
  freeze_ = optim.freeze_last_layer.value();
}

StepValues Schedules::at(int64_t step, uint64_t position) const {
  StepValues values;
  values.epoch = static_cast<int64_t>(position / images_);
  values.lr = lr_.at(step);
  values.weight_decay = weight_decay_.at(step);
  values.momentum = momentum_.at(step);
  values.teacher_temp = temperature_.at(values.epoch);
  // in epochs: as published, whole epochs by their number
  values.freeze_last_layer = freeze_.unit == Duration::Unit::kEpochs ? static_cast<double>(values.epoch) < freeze_.value
                                                                     : step < static_cast<int64_t>(freeze_.value);
  return values;
}

}  // namespace dinoxx
