#include "machine.hpp"

#include "config/train_keys.hpp"
#include "data_pipeline/loader/data_config.hpp"
#include "doctor/start_check.hpp"

namespace dinoxx {

void say_machine(const Training& training, const TrainOptions& options, RunLog& log) {
  Communicator& all = everyone(training.comms);  // students of one job share its hosts
  doctor::Process process;
  process.rank = all.rank();
  if (options.device.is_cuda()) process.gpu = options.device.index();
  doctor::RunNeeds needs;
  needs.threads = static_cast<int>(train_threads(training.config));
  needs.workers = static_cast<int>(training.config.data->workers.value());
  needs.own_workers = options.config.data->workers.has_value();
  needs.on_gpu = options.device.is_cuda();
  for (const std::string& line : doctor::start_lines(all, process, needs)) log.say("  " + line);
}

}  // namespace dinoxx
