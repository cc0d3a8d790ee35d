#include "collapse_watch.hpp"

#include "comm/agree.hpp"

namespace dinoxx {

void CollapseWatch::look(int64_t step, const std::vector<std::pair<std::string, double>>& terms, bool warms_up) {
  CollapseSigns signs;
  for (const auto& [name, value] : terms) {
    if (name == "teacher_entropy") signs.teacher_entropy = value;
    if (name == "kl") signs.kl = value;
    if (name == "prototype_perplexity") signs.perplexity = value;
    if (name == "feature_deviation") signs.deviation = value;
    if (name == "effective_rank") signs.effective_rank = value;
  }
  signs.prototypes = prototypes_;
  first_spread_.look(signs);
  if (warms_up) return;
  std::optional<std::string> alarm = collapse_alarm(signs);
  if (alarm && first_spread_.goes_on()) {
    if (!excused_)
      log_.say(
          fmt::format("step {}: features hardly differ between images yet (deviation {:.2g}), and differ more with each step: no alarm",
                      step, signs.deviation));
    excused_ = true;
    alarm.reset();
  }
  if (alarm && !collapsed_) {
    log_.write({{"event", "collapse"}, {"step", step}, {"signs", *alarm}});
    log_.say(fmt::format("step {}: {}", step, *alarm));
    if (stop_)
      throw AgreedError(
          fmt::format("training at step {}: expected features that tell images apart, found signs of collapse (train.stop_on_collapse). "
                      "Lower optim.lr, lengthen optim.warmup or enlarge train.batch_size; with prototypes try head.batch_norm = yes "
                      "with loss.centring = sinkhorn (docs/methods.md, Collapse). What the run saved is from before.",
                      step),
          ExitCode::kFailed);
  }
  collapsed_ = alarm.has_value();
}

}  // namespace dinoxx
