#include "checkpoint_config.hpp"

#include "config/config.hpp"
#include "config/field_kinds.hpp"

namespace dinoxx {

using namespace field_kinds;

std::vector<Field> checkpoint_fields() {
  constexpr auto ckpt = &Config::checkpoint;
  constexpr Range positive{1, 1e9};
  return {
      not_training(
          field<ckpt, &CheckpointConfig::every>("checkpoint.every", "1ep", "between two checkpoints; 0: at the end and on request only")),
      not_training(field<ckpt, &CheckpointConfig::keep>("checkpoint.keep", "3", "newest checkpoints that stay", positive)),
      not_training(field<ckpt, &CheckpointConfig::keep_every>("checkpoint.keep_every", "0it",
                                                              "between two more checkpoints that stay for ever; 0: none")),
      not_training(field<ckpt, &CheckpointConfig::part_size>(
          "checkpoint.part_size", "10",
          "GB of a file of the teacher's weights; more are written as several, with an index, as Hugging Face does", {0.000001, 1e6})),
  };
}

}  // namespace dinoxx
