#include "optim_config.hpp"

#include "config/config.hpp"
#include "config/config_conditions.hpp"
#include "config/field_kinds.hpp"

namespace dinoxx {

using namespace field_kinds;

std::vector<Field> optim_fields() {
  constexpr auto optim = &Config::optim;
  constexpr Range not_negative{0, kNoLimit};
  return {
      choice<optim, &OptimConfig::name>("optim.name", "auto", {"auto", "adamw", "sgd", "lars"}, "optimizer"),
      field<optim, &OptimConfig::lr>("optim.lr", "auto", "peak learning rate at the batch of optim.lr_rule", not_negative),
      choice<optim, &OptimConfig::lr_rule>(
          "optim.lr_rule", "auto", {"auto", "linear_256", "sqrt_1024", "4sqrt_1024", "none"},
          "how it follows the batch size: times batch / 256, sqrt(batch / 1024), 4 sqrt(batch / 1024) or not"),
      when({where::moving_rate()},
           field<optim, &OptimConfig::min_lr>(
               "optim.min_lr", "auto", "learning rate at the end; scaled as optim.lr with optim.decay, as DINOv3's schedules are, else not",
               not_negative)),
      choice<optim, &OptimConfig::schedule>("optim.schedule", "cosine", {"cosine", "constant"}, "of the learning rate behind the warm-up"),
      field<optim, &OptimConfig::warmup>("optim.warmup", "auto",
                                         "linear warm-up of the learning rate; auto: 12500 steps, at most a tenth of the run"),
      when({where::moving_rate()}, field<optim, &OptimConfig::decay>(
                                       "optim.decay", "0it",
                                       "DINOv3's schedule: the rate moves from optim.lr to optim.min_lr in this time behind the warm-up "
                                       "and stays; 0: in the rest of the "
                                       "run, as in DINO and DINOv2")),
      field<optim, &OptimConfig::weight_decay>("optim.weight_decay", "auto", "weight decay at the start (none on biases and norms)",
                                               not_negative),
      field<optim, &OptimConfig::weight_decay_end>("optim.weight_decay_end", "auto", "weight decay at the end, reached by half a cosine",
                                                   not_negative),
      field<optim, &OptimConfig::clip>("optim.clip", "auto", "largest gradient norm; 0: no clipping", not_negative),
      when({where::clipping()}, choice<optim, &OptimConfig::clip_by>("optim.clip_by", "auto", {"auto", "parameter", "module"},
                                                                     "norm of each parameter, or of the backbone and each head")),
      of_method(field<optim, &OptimConfig::freeze_last_layer>(
          "optim.freeze_last_layer", "auto",
          "how long the prototypes stay fixed; auto: 1250 steps, at most a tenth of the run. In epochs: whole ones, as published")),
      field<optim, &OptimConfig::layer_decay>("optim.layer_decay", "auto", "factor of the learning rate from each block to the one before",
                                              {1e-3, 1}),
      when({where::vision_transformer()}, field<optim, &OptimConfig::patch_embed_lr>(
                                              "optim.patch_embed_lr", "auto", "factor of the patch embedding's learning rate", {0, 1})),
      when({where::adamw()}, field<optim, &OptimConfig::beta1>("optim.beta1", "0.9", "AdamW, decay of the mean", {0, 0.999999})),
      when({where::adamw()}, field<optim, &OptimConfig::beta2>("optim.beta2", "0.999", "AdamW, decay of the variance", {0, 0.9999999})),
      when({where::momentum()}, field<optim, &OptimConfig::momentum>("optim.momentum", "0.9", "SGD and LARS, momentum", {0, 0.999999})),
      when({where::lars()}, field<optim, &OptimConfig::trust>("optim.trust", "0.001", "LARS, trust coefficient", {1e-9, 1})),
      when({where::lars()},
           field<optim, &OptimConfig::trust_clip>(
               "optim.trust_clip", "no", "LARS as solo-learn has it: the local rate never above the learning rate, its norms added up")),
  };
}

}  // namespace dinoxx
