#include "device_choice.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "agree.hpp"
#include "base/machine.hpp"
#include "gather.hpp"
#include "gpu.hpp"

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
bool all_have_gpus(const std::vector<HostGpus>& hosts, const std::string& key) {
  for (const HostGpus& h : hosts)
    if (!h.unusable.empty())
      fail_usage(fmt::format("{} = auto on {}", key, h.host), "GPUs that this program can use, or none", h.unusable,
                 fmt::format("Mend that, or choose --{} cpu", key));
  const auto with = std::find_if(hosts.begin(), hosts.end(), [](const HostGpus& h) { return h.some; });
  const auto without = std::find_if(hosts.begin(), hosts.end(), [](const HostGpus& h) { return !h.some; });
  if (with == hosts.end()) return false;
  if (without != hosts.end())
    fail_usage(fmt::format("{} = auto", key), fmt::format("GPUs for all ranks, as on {}", with->host),
               fmt::format("none for rank {} on {}", without - hosts.begin(), without->host),
               fmt::format("Leave that host out, look at its driver (nvidia-smi) and at CUDA_VISIBLE_DEVICES, or choose --{} cpu", key));
  return true;
}

}  // namespace

at::Device choose_device(const std::string& asked, const std::string& key, Communicator& all, int local_rank) {
  bool gpus = asked == "cuda";
  if (asked == "auto") {
    const std::vector<HostGpus> hosts = gpus_of_all(all);
    on_all_ranks(all, [&] { gpus = all_have_gpus(hosts, key); });
  }
  if (!gpus) return at::kCPU;
  const int gpu = visible_gpus() == 1 ? 0 : local_rank;  // a launcher that binds GPUs to tasks shows each its own
  on_all_ranks(all, [&] { use_gpu(gpu, key); });
  return {at::kCUDA, static_cast<at::DeviceIndex>(gpu)};
}

std::string device_line(at::Device device) {
  if (!device.is_cuda()) return "cpu";
  const GpuMemory memory = gpu_memory(device.index());
  return fmt::format("{} ({}), {} of memory, {} free", device.str(), memory.name, human_bytes(static_cast<double>(memory.total)),
                     human_bytes(static_cast<double>(memory.free)));
}

}  // namespace dinoxx
