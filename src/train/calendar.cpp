#include "calendar.hpp"

#include <algorithm>
#include <cmath>

#include "checkpoint/checkpoint_config.hpp"
#include "config/model_keys.hpp"
#include "eval/run/eval_config.hpp"
#include "optim/optim_config.hpp"
#include "training_config.hpp"

namespace dinoxx {

Calendar::Calendar(const Config& config, uint64_t images, int64_t total_steps, int64_t step, uint64_t position)
    : evaluation_(config.eval->every),
      checkpoint_(config.checkpoint->every),
      keep_(config.checkpoint->keep_every),
      other_weights_(!model_init_from(config).empty()),
      log_every_(config.train->log_every),
      check_every_(config.train->check_every),
      batch_(config.train->batch_size),
      warmup_(config.optim->warmup->steps(images, config.train->batch_size)),
      total_(total_steps),
      first_step_(step),
      first_position_(static_cast<int64_t>(position)),
      images_(images) {}

bool Calendar::period_ends(const Duration& every, int64_t step) const {
  if (every.unit == Duration::Unit::kSteps) return every.ends_with(step, images_, batch_);
  if (step <= 0 || every.value <= 0) return false;
  const double period = every.value * (every.unit == Duration::Unit::kEpochs ? static_cast<double>(images_) : 1);
  const auto periods = [&](int64_t images) { return std::floor(static_cast<double>(images) / period + 1e-9); };
  return periods(images_after(step)) > periods(images_after(step) - batch_);
}

int64_t Calendar::images_after(int64_t step) const {
  return first_position_ + (step - first_step_) * batch_;
}

bool Calendar::logs_after(int64_t step) const {
  return step % log_every_ == 0 || step == total_;
}

bool Calendar::compares_ranks_after(int64_t step) const {
  return check_every_ > 0 && step % check_every_ == 0;
}

bool Calendar::evaluates_after(int64_t step) const {
  if (evaluation_.value <= 0) return false;
  return step == 0 ? other_weights_ : ends_with(step) || period_ends(evaluation_, step);
}

bool Calendar::saves_after(int64_t step) const {
  return ends_with(step) || period_ends(checkpoint_, step) || period_ends(keep_, step);
}

bool Calendar::keeps(int64_t step) const {
  return period_ends(keep_, step);
}

int64_t Calendar::saves_until_end(int64_t step, int64_t most) const {
  int64_t saves = 0;
  if (checkpoint_.value <= 0) return !ends_with(step) && !keeps(total_) ? 1 : 0;
  while (saves < most && !ends_with(step))
    if (saves_after(++step) && !keeps(step)) ++saves;
  return saves;
}

int64_t Calendar::kept_until_end(int64_t step) const {
  return keep_.value > 0 ? std::max<int64_t>(total_ - step, 0) / std::max<int64_t>(keep_.steps(images_, batch_), 1) : 0;
}

bool Calendar::warms_up(int64_t step) const {
  return (images_after(step) + batch_ - 1) / batch_ <= warmup_;
}

}  // namespace dinoxx
