#include "device.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/machine.hpp"
#include "comm/gather.hpp"
#include "comm/gpu.hpp"
#include "comm/nccl_communicator.hpp"
#include "train/training.hpp"
#include "train/training_config.hpp"

namespace dinoxx {
namespace {

struct HostGpus {
  std::string host;
  bool some = false;
  std::string unusable;  ///< why not, though there are some
};

std::vector<HostGpus> gpus_of_all(Communicator& all) {
  const std::string unusable = unusable_gpus();
  std::vector<HostGpus> hosts;
  for (const std::string& text : gather_texts(all, fmt::format("{}\n{}\n{}", host_name(), visible_gpus() > 0 ? 1 : 0, unusable))) {
    const size_t first = text.find('\n'), second = text.find('\n', first + 1);
    hosts.push_back({text.substr(0, first), text[first + 1] == '1', text.substr(second + 1)});
  }
  return hosts;
}

// All ranks see the same list and come to the same end.
std::string device_of_all(const std::vector<HostGpus>& hosts) {
  for (const HostGpus& h : hosts)
    if (!h.unusable.empty())
      fail_usage(fmt::format("train.device = auto on {}", h.host), "GPUs that this program can use, or none", h.unusable,
                 "Mend that, or choose --train.device cpu");
  const auto with = std::find_if(hosts.begin(), hosts.end(), [](const HostGpus& h) { return h.some; });
  const auto without = std::find_if(hosts.begin(), hosts.end(), [](const HostGpus& h) { return !h.some; });
  if (with == hosts.end()) return "cpu";
  if (without != hosts.end())
    fail_usage("train.device = auto", fmt::format("GPUs for all ranks, as on {}", with->host),
               fmt::format("none for rank {} on {}", without - hosts.begin(), without->host),
               "Leave that host out, look at its driver (nvidia-smi) and at CUDA_VISIBLE_DEVICES, or choose --train.device cpu");
  return "cuda";
}

}  // namespace

void choose_device(TrainOptions& options, TrainComms& comms, int local_rank) {
  std::string& device = options.config.train->device;
  if (device == "auto") {
    const std::vector<HostGpus> hosts = gpus_of_all(everyone(comms));
    on_everyone(comms, [&] { device = device_of_all(hosts); });
  }
  if (device == "cpu") return;
  const int gpu = visible_gpus() == 1 ? 0 : local_rank;  // a launcher that binds GPUs to tasks shows each its own
  on_everyone(comms, [&] { use_gpu(gpu); });
  options.device = at::Device(at::kCUDA, static_cast<at::DeviceIndex>(gpu));
  comms.gradients = make_nccl_communicator(comms.control, gpu);
  comms.statistics = make_nccl_communicator(comms.control, gpu);
  if (comms.job) comms.job->teacher = make_nccl_communicator(comms.job->control, gpu);
}

std::string device_line(const TrainOptions& options) {
  if (!options.device.is_cuda()) return "cpu";
  const GpuMemory memory = gpu_memory(options.device.index());
  return fmt::format("{} ({}), {} of memory, {} free", options.device.str(), memory.name, human_bytes(static_cast<double>(memory.total)),
                     human_bytes(static_cast<double>(memory.free)));
}

}  // namespace dinoxx
