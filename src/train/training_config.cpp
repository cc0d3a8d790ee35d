#include "training_config.hpp"

#include "config/config.hpp"
#include "config/config_conditions.hpp"
#include "config/field_kinds.hpp"
#include "config/train_keys.hpp"

namespace dinoxx {

using namespace field_kinds;

std::vector<Field> train_fields() {
  constexpr auto train = &Config::train;
  constexpr Range positive{1, 1e9}, count{0, 1e9};
  return {
      shapes_network(name<train, &TrainingConfig::method>("train.method", "dino", "recipe")),
      field<train, &TrainingConfig::length>("train.length", "100ep", "length of the run"),
      field<train, &TrainingConfig::extend>("train.extend", "0it",
                                            "how long the run goes on behind train.length, for one that was finished: schedules keep the "
                                            "values of their end, unlike with a larger train.length, which stretches them"),
      when({where::extended()},
           field<train, &TrainingConfig::extend_warmup>(
               "train.extend_warmup", "0it",
               "in train.extend: the learning rate rises in this time to optim.lr again and falls to its end by half a cosine, and "
               "teacher.momentum runs its way again; 0: both keep the values of their end")),
      field<train, &TrainingConfig::batch_size>("train.batch_size", "256",
                                                "images of one step over all ranks; the number of ranks must divide it", positive),
      field<train, &TrainingConfig::accumulate>(
          "train.accumulate", "1",
          "parts in which a rank computes its images of a step, one after the other, for less memory; the gradient is that of the whole "
          "batch, and what a loss or a batch norm looks at together are the images of one part on all ranks",
          {1, 1e6}),
      field<train, &TrainingConfig::seed>("train.seed", "0", "of everything that is random", {0, 9e15}),
      choice<train, &TrainingConfig::precision>("train.precision", "fp32", {"fp32", "bf16"},
                                                "of the networks; masters, gradients and averages are fp32 under both"),
      choice<train, &TrainingConfig::gradients>(
          "train.gradients", "fp32", {"fp32", "bf16"},
          "as which gradients travel between ranks; bf16: half the bytes, for a network between GPUs that is the limit; each rank's are "
          "rounded to 8 bits of mantissa, and their sum at every hop"),
      of_machine(choice<train, &TrainingConfig::device>("train.device", "auto", {"auto", "cpu", "cuda"},
                                                        "where the networks compute; auto: a GPU for each rank where there are any")),
      field<train, &TrainingConfig::tf32>(
          "train.tf32", "yes",
          "on a GPU, precision fp32: products and convolutions round their inputs to TF32 (10 bits of mantissa), "
          "several times faster; no: to float32"),
      of_machine(choice<train, &TrainingConfig::attention>(
          "train.attention", "auto", {"auto", "cudnn", "flash", "efficient"},
          "on a GPU: the attention kernel; cudnn and flash are of bf16 alone; auto: the first of them that takes the network's heads")),
      field<train, &TrainingConfig::fused_kernels>("train.fused_kernels", "yes",
                                                   "own kernels, on CPU and GPU; no: LibTorch's operations one by one (slower)"),
      field<train, &TrainingConfig::bucket_mb>("train.bucket_mb", "4", "gradient bytes of one collective, MiB; GPUs send at least 25 MB",
                                               {0.001, 1024}),
      of_machine(field<train, &TrainingConfig::threads>(
          "train.threads", "auto", "compute threads of a rank; auto: OMP_NUM_THREADS, else the rank's share of the cores", positive)),
      not_training(field<train, &TrainingConfig::log_every>("train.log_every", "10", "steps between two lines of metrics.jsonl", positive)),
      not_training(field<train, &TrainingConfig::check_every>("train.check_every", "500",
                                                              "steps between two comparisons of all ranks' weights; 0: never", count)),
      not_training(field<train, &TrainingConfig::max_skipped>(
          "train.max_skipped", "5", "steps in a row with a loss that is not finite (NaN or infinity) after which the run stops", positive)),
      not_training(field<train, &TrainingConfig::stop_on_collapse>(
          "train.stop_on_collapse", "no",
          "end the run, exit code 1, at the first sign of collapse behind the warm-up, in place of a line that says so")),
  };
}

const std::string& train_method(const Config& config) {
  return config.train->method;
}
int64_t train_seed(const Config& config) {
  return config.train->seed;
}
int64_t train_batch_size(const Config& config) {
  return config.train->batch_size;
}
int64_t train_accumulate(const Config& config) {
  return config.train->accumulate;
}
int64_t train_images_at_once(const Config& config, int64_t ranks) {
  return config.train->batch_size / (ranks * config.train->accumulate);
}
const Duration& train_length(const Config& config) {
  return config.train->length;
}
const Duration& train_extend(const Config& config) {
  return config.train->extend;
}
int64_t train_threads(const Config& config) {
  return config.train->threads.value();
}

}  // namespace dinoxx
