#include "collapse_watch.hpp"

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
  }
  collapsed_ = alarm.has_value();
}

}  // namespace dinoxx
