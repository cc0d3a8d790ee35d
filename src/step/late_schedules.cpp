#include "late_schedules.hpp"

#include <fmt/format.h>

#include "build.hpp"
#include "config/config_fields.hpp"
#include "config/train_keys.hpp"
#include "loss/gram_config.hpp"
#include "method/settings/unread_keys.hpp"
#include "method/teacher_config.hpp"
#include "optim/optim_config.hpp"

namespace dinoxx {

std::vector<std::string> late_schedules(const Config& config, uint64_t images) {
  const int64_t batch = train_batch_size(config);
  const Schedules schedules(config, images);
  const int64_t total = schedules.total_steps();
  const StepValues last = schedules.at(total - 1, static_cast<uint64_t>((total - 1) * batch));
  std::vector<std::string> lines;
  // `key` is over behind `end` steps
  const auto add = [&](const char* key, int64_t end, const std::string& effect) {
    for (const Field& field : config_fields())
      if (field.key == key && !why_unread(field, config))
        lines.push_back(fmt::format("{} = {} reaches to step {}, the run to step {}: {}", key, field.get(config), end, total, effect));
  };

  const TeacherConfig& teacher = *config.teacher;
  const int64_t warm = teacher.warmup_temp_epochs->steps(images, batch);
  if (warm > total && *teacher.warmup_temp != *teacher.temp)
    add("teacher.warmup_temp_epochs", warm,
        fmt::format("the teacher's temperature goes from {:.4g} to {:.4g} and never gets to teacher.temp = {:.4g}", *teacher.warmup_temp,
                    last.teacher_temp, *teacher.temp));
  const int64_t frozen = config.optim->freeze_last_layer->steps(images, batch);
  if (last.freeze_last_layer) add("optim.freeze_last_layer", std::max(frozen, total), "the prototypes stay as they begin, at random");
  const GramConfig& gram = *config.gram;
  const int64_t start = gram.start.steps(images, batch), ramp = gram.ramp.steps(images, batch);
  if (gram.weight > 0 && start >= total)
    add("gram.start", start, "the Gram loss never begins");
  else if (gram.weight > 0 && start + ramp > total)
    add("gram.ramp", start + ramp,
        fmt::format("the weight of the Gram loss gets to {:.4g}, not to gram.weight = {:.4g}", last.gram_weight, gram.weight));
  return lines;
}

}  // namespace dinoxx
