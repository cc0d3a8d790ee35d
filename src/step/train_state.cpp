#include "dinoxx/step/train_state.hpp"

#include <ATen/ATen.h>

namespace dinoxx {
namespace {

at::ScalarType master_type(at::ScalarType compute) {
  return compute == at::kDouble ? at::kDouble : at::kFloat;
}

// Weights are drawn on the CPU, so that they are equal on every kind of device, and moved before FlatState makes them views.
Network initialized(const Config& config, const MethodSpec& spec, at::ScalarType compute, at::Device device) {
  Network network(spec.network, compute);
  network.initialize(static_cast<uint64_t>(config.train.seed));
  if (!device.is_cpu()) network.to(device);
  return network;
}

}  // namespace

TrainState::TrainState(const Config& config, const MethodSpec& spec, at::ScalarType compute, at::Device device)
    : student(initialized(config, spec, compute, device)),
      teacher(initialized(config, spec, compute, device)),
      student_buffers(student.buffers()),
      teacher_buffers(teacher.buffers()),
      layout(ParamLayout::build(student.parameters(), static_cast<int64_t>(config.train.bucket_mb * 1048576.0), spec.norm_last_layer)),
      student_flat(layout, student.parameters(), /*with_grad=*/true, master_type(compute)),
      teacher_flat(layout, teacher.parameters(), /*with_grad=*/false, master_type(compute)),
      optimizer(layout, master_type(compute), adamw_config(config)),
      centre(out_dim(spec.network.head.config), config.loss.centre_momentum, master_type(compute)) {
  centre.value() = centre.value().to(device);
}

}  // namespace dinoxx
