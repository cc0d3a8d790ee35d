// What the program of the gate has beside dinoxx itself. The linker (--wrap) puts these functions in the place of some of dinoxx:
// - a step of training ends a record of the device's counters, and a record of what tensors held at most of its memory;
// - weights are not drawn, which takes most of the start of a large network, because no kernel reads them; those of many elements are not
// even written, so that
//   their host memory costs nothing.
// - weights that the ranks compare are hashed on the host.
// And convolutions take LibTorch's own path, since the stand-in for cuDNN plans none.
#include <ATen/ATen.h>
#include <ATen/Context.h>

#include <cstdlib>
#include <fstream>
#include <limits>

#include "comm/gpu.hpp"
#include "comm/word_hash.hpp"
#include "step/train_step.hpp"

extern "C" void fakegpu_end_step();

namespace dinoxx {

StepMetrics real_train_step(TrainState&, const MethodSpec&, const StepInput&, const StepValues&, GradientSync&,
                            const StepComms&) asm("__real_" FAKEGPU_TRAIN_STEP);
StepMetrics marked_train_step(TrainState&, const MethodSpec&, const StepInput&, const StepValues&, GradientSync&,
                              const StepComms&) asm("__wrap_" FAKEGPU_TRAIN_STEP);
void normal_not_drawn(const at::Tensor&, double, uint64_t, uint64_t) asm("__wrap_" FAKEGPU_TRUNCATED_NORMAL);
void uniform_not_drawn(const at::Tensor&, int64_t, uint64_t, uint64_t) asm("__wrap_" FAKEGPU_FAN_IN_UNIFORM);
at::Tensor not_written(at::IntArrayRef, at::ScalarType) asm("__wrap_" FAKEGPU_UNINITIALIZED);
int64_t real_word_hash(const at::Tensor&) asm("__real_" FAKEGPU_WORD_HASH);
int64_t hash_on_host(const at::Tensor&) asm("__wrap_" FAKEGPU_WORD_HASH);

// The stand-in for the runtime sees what LibTorch's allocator holds, not what of it is in use: a number for each step, in a file beside the
// records.
void note_memory_in_use(const TrainState& state, const Communicator& comm) {
  const char* log = std::getenv("FAKEGPU_LOG");
  if (!log || !state.student_flat.master.is_cuda()) return;
  const GpuMemory memory = gpu_memory(state.student_flat.master.device().index());
  std::ofstream file(comm.size() == 1 ? fmt::format("{}.in_use", log) : fmt::format("{}.{}.in_use", log, comm.rank()), std::ios::app);
  file << memory.peak_in_use << "\n";
}

StepMetrics marked_train_step(TrainState& state, const MethodSpec& spec, const StepInput& input, const StepValues& values,
                              GradientSync& sync, const StepComms& comms) {
  StepMetrics metrics = real_train_step(state, spec, input, values, sync, comms);
  fakegpu_end_step();
  note_memory_in_use(state, comms.statistics);
  return metrics;
}

constexpr int64_t kMany = int64_t{1} << 22;

// Each parameter another value, so that one in the place of another shows.
void fill(const at::Tensor& parameter, double value) {
  const at::NoGradGuard no_grad;
  if (parameter.numel() < kMany) parameter.fill_(value);
}

void normal_not_drawn(const at::Tensor& parameter, double std, uint64_t, uint64_t index) {
  fill(parameter, std / static_cast<double>(index + 1));
}

void uniform_not_drawn(const at::Tensor& parameter, int64_t fan_in, uint64_t, uint64_t index) {
  fill(parameter, 1 / static_cast<double>(fan_in + static_cast<int64_t>(index)));
}

at::Tensor not_written(at::IntArrayRef shape, at::ScalarType dtype) {
  const at::Tensor parameter = at::empty(shape, at::TensorOptions().dtype(dtype));
  fill(parameter, std::numeric_limits<double>::quiet_NaN());
  return parameter;
}

int64_t hash_on_host(const at::Tensor& flat) {
  return real_word_hash(flat.cpu());
}

}  // namespace dinoxx

bool at::Context::userEnabledCuDNN() const {
  return false;
}
