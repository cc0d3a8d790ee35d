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
  };
}

}  // namespace dinoxx
