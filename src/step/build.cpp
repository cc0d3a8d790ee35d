#include "build.hpp"

#include <cmath>

#include "dinoxx/base/error.hpp"
#include "loss/gram_config.hpp"
#include "loss/loss_config.hpp"
#include "method/guides/guide_config.hpp"
#include "method/methods.hpp"
#include "method/teacher_config.hpp"
#include "optim/init_config.hpp"
#include "optim/optim_config.hpp"
#include "train/training_config.hpp"

namespace dinoxx {

OptimizerConfig optimizer_config(const Config& config) {
  const OptimConfig& optim = *config.optim;
  OptimizerConfig o;
  o.name = optim.name;
  o.adamw = {optim.beta1, optim.beta2, 1e-8};
  o.sgd.momentum = o.lars.momentum = optim.momentum;
  o.lars.trust = optim.trust;
  o.lars.clip_lr = optim.trust_clip;
  if (optim.trust_clip) o.lars.ratio = LarsConfig::Ratio::kSum;  // both are solo-learn's
  if (const InitConfig& init = *config.init; init.lora_rank > 0)
    o.lora = LoraConfig{init.lora_rank, init.lora_alpha.value_or(static_cast<double>(init.lora_rank)),
                        static_cast<uint64_t>(config.train->seed)};
  return o;
}

RuleOptions rule_options(const Config& config, bool freeze_last_layer) {
  const bool dinov2 = find_method(config.train->method).defaults.dinov2_groups;
  RuleOptions rules;
  rules.exclusion = dinov2 ? DecayExclusion::kName : DecayExclusion::kShape;
  rules.layer_decay = *config.optim->layer_decay;
  rules.patch_embed_lr = *config.optim->patch_embed_lr;
  if (freeze_last_layer) rules.last_layer = dinov2 ? LastLayerFreeze::kZeroRate : LastLayerFreeze::kSkip;
  return rules;
}

std::optional<Thaw> thaw_of(const Config& config) {
  const InitConfig& init = *config.init;
  if (init.heads_only.value <= 0 && init.unfreeze.value <= 0 && init.last_blocks == 0 && init.lora_rank == 0) return std::nullopt;
  return Thaw{1, static_cast<int>(init.last_blocks), init.lora_rank > 0};
}

at::ScalarType compute_type(const Config& config) {
  return config.train->precision == "bf16" ? at::kBFloat16 : at::kFloat;
}

Schedules::Schedules(const Config& config, uint64_t images) : images_(images) {
  const int64_t batch = config.train->batch_size;
  const auto steps = [&](const Duration& duration) { return duration.steps(images, batch); };
  total_ = steps(config.train->length);
  const OptimConfig& optim = *config.optim;
  const int64_t warmup = steps(optim.warmup.value());
  if (warmup > total_)
    fail_usage("optim.warmup", fmt::format("at most the run's {} steps", total_), fmt::format("{} steps", warmup),
               "Shorten the warm-up or train longer");
  const LrRule rule = lr_rule(optim.lr_rule);
  const double peak = scaled_lr(rule, *optim.lr, batch);
  if (optim.decay.value > 0)
    lr_ = PhaseSchedule{0.0, peak, scaled_lr(rule, *optim.min_lr, batch), warmup, steps(optim.decay)};
  else
    lr_ = CosineSchedule{peak, optim.schedule == "constant" ? peak : *optim.min_lr, 0.0, warmup, total_};
  weight_decay_ = {*optim.weight_decay, *optim.weight_decay_end, 0.0, 0, total_};
  const TeacherConfig& teacher = *config.teacher;
  momentum_ = {*teacher.momentum, teacher.momentum_end, 0.0, 0, total_};
  temperature_by_step_ = teacher.temp_changes == "step";
  const Duration& warm = *teacher.warmup_temp_epochs;
  const int64_t temp_warmup = temperature_by_step_ ? steps(warm) : std::llround(warm.value);
  temperature_ = {*teacher.warmup_temp, *teacher.temp, temp_warmup};
  patch_temperature_ = {*teacher.patch_warmup_temp, *teacher.patch_temp, temp_warmup};
  freeze_ = optim.freeze_last_layer.value();
  freeze_steps_ = steps(freeze_);
  const double last = rate(total_);
  const int64_t more = steps(config.train->extend), warm_again = steps(config.train->extend_warmup);
  if (warm_again > more)
    fail_usage("train.extend_warmup", fmt::format("at most the {} steps of train.extend", more), fmt::format("{} steps", warm_again),
               "Shorten it or extend the run further");
  extension_ = {
      total_, warm_again > 0, {last, peak, last, warm_again, more - warm_again}, {*teacher.momentum, teacher.momentum_end, 0.0, 0, more}};
  total_ += more;
  guide_ramp_ = config.guide->ramp ? steps(*config.guide->ramp) : 0;
  start_ = {steps(config.init->heads_only), steps(config.init->unfreeze), steps(teacher.hold_backbone)};
  const GramConfig& gram = *config.gram;
  gram_ = {gram.weight,          config.loss->local_weight, *config.loss->local_weight_end,
           steps(gram.start),    steps(gram.ramp),          steps(gram.first),
           steps(gram.every),    gram.max_updates,          gram.weight > 0 && gram.teacher != "ema",
           !gram.teacher.empty()};
  if (gram_.own_teacher && !gram_.from_file && gram_.first > gram_.start)
    fail_usage("gram.first", fmt::format("at most gram.start = {} steps: the Gram teacher must be there when the loss begins", gram_.start),
               fmt::format("{} steps", gram_.first), "Change one of them, or name a gram.teacher");
}

double Schedules::rate(int64_t step) const {
  return std::visit([&](const auto& schedule) { return schedule.at(step); }, lr_);
}

// Behind train.length the other schedules have come to their ends.
void Schedules::extend(int64_t step, StepValues& values) const {
  if (!extension_.again || step < extension_.begin) return;
  values.lr = extension_.lr.at(step - extension_.begin);
  values.momentum = extension_.momentum.at(step - extension_.begin);
}

double Schedules::gram_share(int64_t step) const {
  return PhaseSchedule{0, 0, 1, gram_.start, gram_.ramp}.at(step);
}

// A function of the step alone, so that a resumed run refreshes when the first one would have.
bool Schedules::refreshes_gram(int64_t step) const {
  if (!gram_.own_teacher || step < gram_.first || (gram_.from_file && gram_.first == 0)) return false;
  const int64_t since = step - gram_.first;
  if (since != 0 && (gram_.every == 0 || since % gram_.every != 0)) return false;
  // without a file the first one makes the teacher, and is no update of it
  const int64_t number = since == 0 ? 0 : since / gram_.every;
  return gram_.from_file ? number < gram_.updates : number <= gram_.updates;
}

StepValues Schedules::at(int64_t step, uint64_t position) const {
  StepValues values;
  values.epoch = static_cast<int64_t>(position / images_);
  values.lr = rate(step);
  values.weight_decay = weight_decay_.at(step);
  values.momentum = momentum_.at(step);
  extend(step, values);
  const int64_t moment = temperature_by_step_ ? step : values.epoch;
  values.teacher_temp = temperature_.at(moment);
  values.patch_teacher_temp = patch_temperature_.at(moment);
  values.gram_weight = gram_.weight * gram_share(step);
  values.local_weight = gram_.local_weight + (gram_.local_weight_end - gram_.local_weight) * gram_share(step);
  values.refresh_gram = refreshes_gram(step);
  if (step < start_.heads_only + start_.unfreeze)
    values.thawed =
        step < start_.heads_only ? 0.0 : static_cast<double>(step - start_.heads_only + 1) / static_cast<double>(start_.unfreeze);
  values.hold_backbone = step < start_.hold_backbone;
  // Ganin and Lempitsky 2015, section 4, equation 14
  if (guide_ramp_ > 0)
    values.guide = 2 / (1 + std::exp(-10 * std::min(1.0, static_cast<double>(step) / static_cast<double>(guide_ramp_)))) - 1;
  // in epochs: as published, whole epochs by their number
  values.freeze_last_layer =
      freeze_.unit == Duration::Unit::kEpochs ? static_cast<double>(values.epoch) < freeze_.value : step < freeze_steps_;
  return values;
}

}  // namespace dinoxx
