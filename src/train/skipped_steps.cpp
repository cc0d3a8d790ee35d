#include "skipped_steps.hpp"

#include <fmt/ranges.h>

#include "comm/gather.hpp"

namespace dinoxx {

// Every rank that met a NaN or an infinity names the term and its images; where only the gradient is not finite, every rank its images.
// Collective: all ranks have agreed that the step does not count.
std::string SkippedSteps::origin(const StepMetrics& metrics, const std::vector<uint64_t>& sample_ids) {
  std::string mine;
  const std::string images = fmt::format("rank {} (image ids {})", control_.rank(), fmt::join(sample_ids, " "));
  if (!metrics.bad_term.empty()) mine = fmt::format("term {} on {}", metrics.bad_term, images);
  const bool gradient = metrics.bad_ranks.empty();  // the mean over all ranks: whose images spoilt it cannot be told any more
  if (gradient) mine = images;
  std::string all;
  for (const std::string& text : gather_texts(control_, mine))
    if (!text.empty()) all += (all.empty() ? "" : "; ") + text;
  return gradient ? fmt::format("the gradient of {}, although every term is finite, of {}", metrics.bad_parameter, all) : all;
}

void SkippedSteps::account(const StepMetrics& metrics, int64_t step, const std::vector<uint64_t>& sample_ids) {
  if (metrics.finite) {
    in_a_row_ = 0;
    return;
  }
  ++in_a_row_;
  const std::string where = origin(metrics, sample_ids);
  log_.write({{"event", "skipped"}, {"step", step}, {"ranks", metrics.bad_ranks}, {"where", where}});
  log_.say(fmt::format("step {} skipped: NaN or infinity in {}", step, where));
  if (in_a_row_ >= max_)
    throw AgreedError(fmt::format("training at step {}: expected a finite loss, found {} steps in a row with NaN or infinity in {}. Lower "
                                  "optim.lr, lengthen optim.warmup, "
                                  "or resume from an earlier checkpoint.",
                                  step, in_a_row_, where),
                      ExitCode::kFailed);
}

}  // namespace dinoxx
