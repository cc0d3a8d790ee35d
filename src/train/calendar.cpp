#include "calendar.hpp"

#include "checkpoint/checkpoint_config.hpp"
#include "eval/run/eval_config.hpp"
#include "optim/optim_config.hpp"
#include "training_config.hpp"

namespace dinoxx {

Calendar::Calendar(const Config& config, uint64_t images, int64_t total_steps)
    : evaluation_(config.eval->every),
      checkpoint_(config.checkpoint->every),
      keep_(config.checkpoint->keep_every),
      log_every_(config.train->log_every),
      check_every_(config.train->check_every),
      batch_(config.train->batch_size),
      warmup_(config.optim->warmup->steps(images, config.train->batch_size)),
      total_(total_steps),
      images_(images) {}

bool Calendar::period_ends(const Duration& every, int64_t step) const {
  return every.ends_with(step, images_, batch_);
}

bool Calendar::logs_after(int64_t step) const {
  return step % log_every_ == 0 || step == total_;
}

bool Calendar::compares_ranks_after(int64_t step) const {
  return check_every_ > 0 && step % check_every_ == 0;
}

bool Calendar::evaluates_after(int64_t step) const {
  return step > 0 && evaluation_.value > 0 && (ends_with(step) || period_ends(evaluation_, step));
}

bool Calendar::saves_after(int64_t step) const {
  return ends_with(step) || period_ends(checkpoint_, step) || period_ends(keep_, step);
}

bool Calendar::keeps(int64_t step) const {
  return period_ends(keep_, step);
}

bool Calendar::warms_up(int64_t step) const {
  return step <= warmup_;
}

}  // namespace dinoxx
