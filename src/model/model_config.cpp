#include "model_config.hpp"

#include "config/architectures.hpp"
#include "config/config.hpp"
#include "config/config_conditions.hpp"
#include "config/field_kinds.hpp"
#include "config/vit_config.hpp"

namespace dinoxx {

using namespace field_kinds;

std::vector<Field> model_fields() {
  constexpr auto model = &Config::model;
  constexpr Range positive{1, 1e9}, count{0, 1e9}, not_negative{0, kNoLimit}, size{1, 16384};
  return {
      shapes_network(choice<model, &ModelConfig::arch>("model.arch", "vit_small", architectures(), "network by name")),
      when({where::vision_transformer()},
           shapes_network(choice<model, &ModelConfig::style>(
               "model.style", "dino", vit_styles(),
               "generation of a vision transformer: positions, registers, LayerScale and feed-forward part as in that paper"))),
      when({where::vision_transformer()},
           shapes_network(field<model, &ModelConfig::dim>("model.dim", "auto", "width; auto: the architecture's", positive))),
      when({where::vision_transformer()}, shapes_network(field<model, &ModelConfig::depth>(
                                              "model.depth", "auto", "number of blocks; auto: the architecture's", positive))),
      when({where::vision_transformer()},
           other_function(field<model, &ModelConfig::heads>(
               "model.heads", "auto", "attention heads, a divisor of the width; auto: the architecture's", positive))),
      when({where::vision_transformer()},
           shapes_network(field<model, &ModelConfig::patch_size>("model.patch_size", "16", "patch, pixels", size))),
      when({where::learned_positions()},
           shapes_network(field<model, &ModelConfig::image_size>(
               "model.image_size", "auto", "size for which positions are learned, pixels; auto: views.global_size", size))),
      when({where::vision_transformer()},
           shapes_network(field<model, &ModelConfig::mlp_ratio>(
               "model.mlp_ratio", "auto", "hidden width of a block's MLP over its width; auto: the architecture's", {0.01, 64}))),
      when({where::no_resnet()}, field<model, &ModelConfig::drop_path>(
                                     "model.drop_path", "0.1",
                                     "stochastic depth: in style dino and ConvNeXt of the last block, linear from 0 in the first; "
                                     "in the others of every block; ResNets have none",
                                     {0, 0.99})),
      when({where::vision_transformer(), where::stochastic_depth()},
           choice<model, &ModelConfig::drop_path_form>(
               "model.drop_path_form", "auto", {"auto", "mask", "subset"},
               "mask: each image by a draw of its own; subset: a fixed share of the images runs; auto: the style's")),
      when({where::vision_transformer(), where::stochastic_depth(), where::subset_of_images()},
           field<model, &ModelConfig::drop_path_group>(
               "model.drop_path_group", "0",
               "subset: consecutive images of which the share runs, a divisor of a rank's batch; 0: a rank's batch, as released", count)),
      shapes_network(choice<model, &ModelConfig::stem>(
          "model.stem", "auto", {"auto", "patch", "conv", "small", "large"},
          "how an image becomes tokens: patch (one convolution) or conv (a stack of 3x3 ones); of a ResNet: "
          "small (3x3, no pooling) or large (7x7, pooling); auto: patch; small for crops up to 64 pixels")),
      when({where::vision_transformer()},
           choice<model, &ModelConfig::fit>("model.fit", "error", {"error", "crop", "pad"},
                                            "crops whose sides no patch divides: refuse them, crop or pad with zeros")),
      when({where::vision_transformer()},
           shapes_network(field<model, &ModelConfig::registers>("model.registers", "auto",
                                                                "tokens without position behind CLS; auto: the style's", {0, 64}))),
      when({where::rotary_positions()},
           field<model, &ModelConfig::rope_shift>("model.rope_shift", "0",
                                                  "rotary positions in training: shift of both axes, uniform in +- this (style dinov3)",
                                                  not_negative)),
      when({where::rotary_positions()},
           field<model, &ModelConfig::rope_jitter>(
               "model.rope_jitter", "0", "the same: factor of each axis, log-uniform between 1 / this and this; 0: off", not_negative)),
      when({where::rotary_positions()},
           field<model, &ModelConfig::rope_rescale>("model.rope_rescale", "0", "the same: one factor for both axes; 0: off", not_negative)),
      when({where::vision_transformer()},
           field<model, &ModelConfig::recompute>(
               "model.recompute", "no",
               "keep no activations inside a block, compute them again in the backward pass (less memory, slower)")),
      text<model, &ModelConfig::init_from>("model.init_from",
                                           "weights that student and teacher begin with (dinoxx weights inspect); empty: random"),
  };
}

}  // namespace dinoxx
