#include "device.hpp"

#include <ATen/Context.h>
#include <fmt/format.h>

#include "comm/device_choice.hpp"
#include "comm/nccl_communicator.hpp"
#include "dinoxx/base/error.hpp"
#include "doctor/start_check.hpp"
#include "train/training.hpp"
#include "train/training_config.hpp"

namespace dinoxx {
namespace {

void set_up_gpu(const TrainingConfig& train) {
  at::Context& context = at::globalContext();
  context.setAllowTF32CuBLAS(train.tf32);
  context.setAllowTF32CuDNN(train.tf32);
  if (train.attention == "auto") return;
  if (train.attention != "efficient" && train.precision != "bf16")
    fail_usage(fmt::format("train.attention = {}", train.attention), "train.precision = bf16", train.precision,
               "Choose --train.attention efficient or auto, or --train.precision bf16");
  context.setSDPUseCuDNN(train.attention == "cudnn");
  context.setSDPUseFlash(train.attention == "flash");
  context.setSDPUseMemEfficient(train.attention == "efficient");
  context.setSDPUseMath(false);  // else a network that the kernel does not take would run without it, unsaid
}

}  // namespace

void choose_train_device(TrainOptions& options, TrainComms& comms, int local_rank) {
  std::string& device = options.config.train->device;
  on_everyone(comms, [&] { options.device = choose_device(device, "train.device", everyone(comms), local_rank); });
  device = options.device.is_cuda() ? "cuda" : "cpu";
  if (!options.device.is_cuda()) return;
  on_everyone(comms, [&] { set_up_gpu(*options.config.train); });
  const int gpu = options.device.index();
  on_everyone(comms, [&] { doctor::refuse_shared_gpus(everyone(comms), {everyone(comms).rank(), local_rank, gpu, {}}); });
  comms.gradients = make_nccl_communicator(comms.control, gpu);
  comms.statistics = comms.gradients->split(0, comms.control->rank());
  if (comms.job) comms.job->teacher = make_nccl_communicator(comms.job->control, gpu);
}

}  // namespace dinoxx
