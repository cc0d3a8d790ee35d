#include "saver.hpp"

#include "checkpoint/checkpoint_config.hpp"

namespace dinoxx {

void Saver::save() {
  const int64_t step = training_.state.step;
  if (history_.is_saved(step)) return;
  watch_.pause();
  const Stopwatch took;
  const TrainComms& comms = training_.comms;
  on_all_ranks(*comms.control, [&] { log_.sync(); });  // a resume from this checkpoint counts on the lines before it
  training_.facts.stays = calendar_.keeps(step);
  save_state(*comms.control, history_.checkpoints_folder(), training_.state, training_.facts);
  if (comms.job) comms.job->control->barrier();  // an old one goes when all students have the new one: a resume needs a common step
  history_.note_saved(step);
  on_all_ranks(*comms.control, [&] {
    if (!log_.chief()) return;
    log_.write({{"event", "saved"}, {"step", step}, {"samples", training_.state.position}});
    history_.prune(training_.config.checkpoint->keep, [&](int64_t saved) { return calendar_.keeps(saved); });
  });
  seconds_ = took.seconds();
  watch_.resume();
}

}  // namespace dinoxx
