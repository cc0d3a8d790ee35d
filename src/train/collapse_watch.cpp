#include "collapse_watch.hpp"

#include "comm/agree.hpp"

#include "loss/monitors.hpp"

namespace dinoxx {

void CollapseWatch::look(int64_t step, const std::vector<std::pair<std::string, double>>& terms) {
  CollapseSigns signs;
  for (const auto& [name, value] : terms) {
    if (name == "teacher_entropy") signs.teacher_entropy = value;
    if (name == "kl") signs.kl = value;
    if (name == "prototype_perplexity") signs.perplexity = value;
    if (name == "feature_deviation") signs.deviation = value;
    if (name == "effective_rank") signs.effective_rank = value;
  }
  signs.prototypes = prototypes_;
  const std::optional<std::string> alarm = collapse_alarm(signs);
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
