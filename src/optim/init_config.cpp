#include "init_config.hpp"

#include "config/config.hpp"
#include "config/config_conditions.hpp"
#include "config/field_kinds.hpp"

namespace dinoxx {

using namespace field_kinds;

std::vector<Field> init_fields() {
  constexpr auto init = &Config::init;
  constexpr Range not_negative{0, kNoLimit};
  return {
      when({where::other_weights()},
           field<init, &InitConfig::heads_only>("init.heads_only", "0it",
                                                "how long the backbone stays as it is in model.init_from, while the heads learn")),
      when({where::other_weights()},
           field<init, &InitConfig::unfreeze>(
               "init.unfreeze", "0it",
               "behind init.heads_only: the time in which the blocks begin to learn one after the other, from the "
               "last to the embedding, each with a rate that rises linearly from 0; 0: all at once")),
      when({where::other_weights()},
           field<init, &InitConfig::last_blocks>(
               "init.last_blocks", "0",
               "only so many last blocks (stages of a convolutional network) and the norm behind them learn; 0: all", {0, 1e4})),
      when({where::other_weights()},
           field<init, &InitConfig::anchor>(
               "init.anchor", "0",
               "weight of a term that holds the features of the global views to those that the weights of model.init_from give",
               not_negative)),
      when({where::anchor()}, choice<init, &InitConfig::anchor_form>("init.anchor_form", "features", {"features", "gram"},
                                                                     "features: squared distance of the normalised features, and of the "
                                                                     "patches that the student sees; gram: of the Gram matrices of the "
                                                                     "patches of an image, which leaves the features free to turn")),
      when({where::other_weights()}, field<init, &InitConfig::lora_rank>("init.lora_rank", "0",
                                                                         "the weight matrices of the backbone's blocks change by products "
                                                                         "of two matrices of this rank (LoRA), and nothing else of the "
                                                                         "backbone changes; checkpoints hold the sums. 0: off",
                                                                         {0, 4096})),
      when({where::lora()},
           field<init, &InitConfig::lora_alpha>("init.lora_alpha", "auto",
                                                "the product counts times this over init.lora_rank; auto: init.lora_rank", {0, 1e6})),
      not_training(when(
          {where::other_weights()},
          field<init, &InitConfig::alarm>(
              "init.alarm", "0.05",
              "the accuracy of k-NN may fall by this below that of the weights of model.init_from, as a share; more raises an alarm, and "
              "ends the run where train.stop_on_collapse is yes; 0: no alarm",
              {0, 1}))),
  };
}

}  // namespace dinoxx
