#include "device.hpp"

#include "comm/device_choice.hpp"
#include "comm/nccl_communicator.hpp"
#include "train/training.hpp"
#include "train/training_config.hpp"

namespace dinoxx {

void choose_train_device(TrainOptions& options, TrainComms& comms, int local_rank) {
  std::string& device = options.config.train->device;
  on_everyone(comms, [&] { options.device = choose_device(device, "train.device", everyone(comms), local_rank); });
  device = options.device.is_cuda() ? "cuda" : "cpu";
  if (!options.device.is_cuda()) return;
  const int gpu = options.device.index();
  comms.gradients = make_nccl_communicator(comms.control, gpu);
  comms.statistics = make_nccl_communicator(comms.control, gpu);
  if (comms.job) comms.job->teacher = make_nccl_communicator(comms.job->control, gpu);
}

}  // namespace dinoxx
