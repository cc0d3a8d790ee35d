#include "resume.hpp"

#include <ATen/ATen.h>

#include "base/files.hpp"
#include "comm/agree.hpp"
#include "kernels/cpu_level.hpp"
#include "loss/gram_config.hpp"
#include "model/model_config.hpp"
#include "other_weights.hpp"
#include "parallel/gradient_sync.hpp"

namespace dinoxx {
namespace {

using nlohmann::json;

// The checkpoint that all ranks found; empty: the run begins.
std::string agreed_resume_point(const Training& training, const std::string& resume, const RunHistory& history) {
  std::string chosen;
  on_all_ranks(*training.comms.control, [&] {
    if (const auto path = history.resume_point(resume)) chosen = path->string();
  });
  ranks_must_agree(*training.comms.control, chosen, "checkpoint to resume from");
  return chosen;
}

// Random weights, or others where the configuration names some; rank 0's everywhere.
void begin_anew(Training& training, RunLog& log) {
  const Config& config = training.config;
  TrainState& state = training.state;
  on_all_ranks(*training.comms.control, [&] {
    if (!config.model->init_from.empty()) log.say(init_from(config.model->init_from, config, state));
    if (state.gram && !config.gram->teacher.empty()) log.say(load_gram_teacher(config.gram->teacher, config, state));
  });
  broadcast_parameters(*training.comms.gradients, state.student_flat);
  broadcast_parameters(*training.comms.gradients, state.teacher_flat);
  if (state.gram) broadcast_parameters(*training.comms.gradients, state.gram->flat);
}

json start_record(const Training& training, const TrainOptions& options, const std::string& resumed_from,
                  const std::vector<std::string>& lost) {
  const RunFacts& facts = training.facts;
  json start = {{"event", "start"},
                {"step", training.state.step},
                {"command", options.command_line},
                {"build", facts.build},
                {"cpu", facts.cpu},
                {"simd", level_name(cpu_level())},
                {"communicator", facts.communicator},
                {"world_size", training.comms.control->size()},
                {"threads", facts.threads},
                {"device", options.device.str()},
                {"data", options.data.string()},
                {"fingerprint", facts.fingerprint},
                {"images", facts.images},
                {"resumed_from", resumed_from},
                {"lost_claims", lost},
                {"auto", training.inputs.notes}};
  if (const auto& job = training.comms.job) start["job"] = {{"student", job->student}, {"ranks", job->ranks}};
  return start;
}

}  // namespace

void start_or_resume(Training& training, const TrainOptions& options, RunHistory& history, RunLog& log) {
  const TrainComms& comms = training.comms;
  on_everyone(comms, [&] {
    history.resume_point(options.resume);  // a wrong --resume must not make a folder
    log.lock(history);
  });
  const std::string chosen = agreed_resume_point(training, options.resume, history);
  std::vector<std::string> lost;
  if (chosen.empty())
    begin_anew(training, log);
  else
    lost = load_state(*comms.control, chosen, training.state, training.facts);
  const int64_t step = training.state.step;
  at::Tensor evaluated = at::full({1}, -1, at::kLong);
  on_all_ranks(*comms.control, [&] {
    if (!log.chief()) return;
    evaluated.fill_(history.set_back(step));
    log.open(history);
    write_file_atomically(history.config_file(), training.facts.config_text);
    log.write(start_record(training, options, chosen, lost));
    if (!chosen.empty()) log.say(fmt::format("resumed from {} at step {}", chosen, step));
    for (const std::string& claim : lost) log.say("  resume differs: " + claim);
  });
  ranks_must_agree(everyone(comms), std::to_string(step), "step to go on from");
  comms.control->broadcast(evaluated, 0)->wait();
  history.go_on(step, !chosen.empty(), evaluated.item<int64_t>());
}

}  // namespace dinoxx
