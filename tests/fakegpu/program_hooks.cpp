// What the program of the gate has beside dinoxx itself. The linker (--wrap) puts these functions in the place of three of dinoxx:
// - a step of training ends a record of the device's counters;
// - weights are not drawn, which takes most of the start of a large network, because no kernel reads them.
// And convolutions take LibTorch's own path, since the stand-in for cuDNN plans none.
#include <ATen/ATen.h>
#include <ATen/Context.h>

#include "step/train_step.hpp"

extern "C" void fakegpu_end_step();

namespace dinoxx {

StepMetrics real_train_step(TrainState&, const MethodSpec&, const StepInput&, const StepValues&, GradientSync&,
                            const StepComms&) asm("__real_" FAKEGPU_TRAIN_STEP);
StepMetrics marked_train_step(TrainState&, const MethodSpec&, const StepInput&, const StepValues&, GradientSync&,
                              const StepComms&) asm("__wrap_" FAKEGPU_TRAIN_STEP);
void normal_not_drawn(const at::Tensor&, double, uint64_t, uint64_t) asm("__wrap_" FAKEGPU_TRUNCATED_NORMAL);
void uniform_not_drawn(const at::Tensor&, int64_t, uint64_t, uint64_t) asm("__wrap_" FAKEGPU_FAN_IN_UNIFORM);

StepMetrics marked_train_step(TrainState& state, const MethodSpec& spec, const StepInput& input, const StepValues& values,
                              GradientSync& sync, const StepComms& comms) {
  StepMetrics metrics = real_train_step(state, spec, input, values, sync, comms);
  fakegpu_end_step();
  return metrics;
}

// Each parameter another value, so that one in the place of another shows.
void normal_not_drawn(const at::Tensor& parameter, double std, uint64_t, uint64_t index) {
  const at::NoGradGuard no_grad;
  parameter.fill_(std / static_cast<double>(index + 1));
}

void uniform_not_drawn(const at::Tensor& parameter, int64_t fan_in, uint64_t, uint64_t index) {
  const at::NoGradGuard no_grad;
  parameter.fill_(1 / static_cast<double>(fan_in + static_cast<int64_t>(index)));
}

}  // namespace dinoxx

bool at::Context::userEnabledCuDNN() const {
  return false;
}
