#include "to_device.hpp"

namespace dinoxx {

at::Tensor to_device(const at::Tensor& host, at::Device device) {
  return host.device() == device ? host : host.pin_memory().to(device, /*non_blocking=*/true);
}

}  // namespace dinoxx
