#include "model_config.hpp"

#include "config/architectures.hpp"
#include "config/config.hpp"
#include "config/config_conditions.hpp"
#include "config/field_kinds.hpp"
#include "config/model_keys.hpp"
#include "config/vit_config.hpp"

namespace dinoxx {

using namespace field_kinds;

namespace {

/// Three numbers, one for all channels, or auto.
template <auto Member>
Field channels(std::string key, std::string help, bool positive) {
  Field f{std::move(key), "numbers|auto", "auto", std::move(help), true, {}, {}};
  f.set = [positive](Config& config, std::string_view text) {
    std::string& value = (*config.model).*Member;
    if (text == "auto") {
      value = "auto";
      return;
    }
    const std::array<float, 3> numbers = parse_channels(text);
    for (const float number : numbers)
      if (positive ? !(number > 0) : !(number >= 0 && number <= 1))
        throw std::invalid_argument(positive ? "numbers above 0, or auto" : "numbers from 0 to 1, or auto");
    value = channels_text(numbers);
  };
  f.get = [](const Config& config) { return (*config.model).*Member; };
  return f;
}

}  // namespace

std::vector<Field> model_fields() {
  constexpr auto model = &Config::model;
  constexpr Range positive{1, 1e9}, count{0, 1e9}, not_negative{0, kNoLimit}, size{1, 16384};
  return {
      shapes_network(choice<model, &ModelConfig::arch>("model.arch", "vit_small", architectures(), "network by name")),
      when({where::vision_transformer()},
           shapes_network(choice<model, &ModelConfig::style>(
               "model.style", "dino", vit_styles(),
               "generation of a vision transformer: positions, registers, LayerScale and feed-forward part as in that paper"))),
      when({where::no_convnext()},
           shapes_network(field<model, &ModelConfig::dim>(
               "model.dim", "auto",
               "width of the features. A ResNet's first stage and stem have an eighth of it, of resnet50 a 32nd; auto: the architecture's",
               positive))),
      when({where::no_convnext()},
           shapes_network(field<model, &ModelConfig::depth>(
               "model.depth", "auto", "number of blocks; of a ResNet as many in each of its four stages; auto: the architecture's",
               positive))),
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
      when({where::layer_scale()},
           field<model, &ModelConfig::layer_scale>("model.layer_scale", "auto",
                                                   "initial gain of the branches (LayerScale). The released 1e-5 is for networks of many "
                                                   "blocks and long runs: at first the output "
                                                   "hardly depends on the image; 0.1 is for few blocks and short runs; auto: the style's",
                                                   {0, 1})),
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
           shapes_network(choice<model, &ModelConfig::qkv_bias>(
               "model.qkv_bias", "auto", {"auto", "none", "masked", "live"},
               "bias of queries, keys and values; masked: the keys' part counts as 0, as in released DINOv3; auto: the style's"))),
      when({where::no_resnet()}, other_function(field<model, &ModelConfig::norm_eps>(
                                     "model.norm_eps", "auto", "epsilon of the LayerNorms; auto: the style's", {0, 1}))),
      when({where::learned_positions()},
           other_function(choice<model, &ModelConfig::position_resize>(
               "model.position_resize", "auto", {"auto", "scaled", "exact", "antialiased"},
               "how learned positions meet crops of another size: scaled (bicubic by factors of size + 0.1, official DINO and DINOv2), "
               "exact (by sizes, transformers) or antialiased (timm, official with registers); auto: the style's"))),
      when({where::rotary_positions()},
           other_function(field<model, &ModelConfig::rope_base>("model.rope_base", "auto",
                                                                "base of the rotary periods; auto: the style's, 100", {1.001, 1e9}))),
      when({where::rotary_positions()}, other_function(choice<model, &ModelConfig::rope_periods>(
                                            "model.rope_periods", "auto", {"auto", "exact", "bf16"},
                                            "rotary periods exact, or rounded to bfloat16 as in released DINOv3; auto: exact"))),
      when({where::small_stem()},
           other_function(field<model, &ModelConfig::stem_padding>(
               "model.stem_padding", "auto", "of a ResNet's 3x3 stem, pixels; auto: 1 (solo-learn's has 2)", {0, 8}))),
      choice<model, &ModelConfig::activation>(
          "model.activation", "auto", {"auto", "gelu", "silu", "relu"},
          "of the feed-forward parts; auto: the network's. There is one for each network: another is refused, here and of weights"),
      other_function(channels<&ModelConfig::mean>(
          "model.mean", "of the channels, on the scale from 0 to 1, by which the input is normalised; auto: views.profile's", false)),
      other_function(channels<&ModelConfig::std>("model.std", "standard deviation of the channels, likewise; auto: views.profile's", true)),
      when({where::vision_transformer()},
           once_yes_or_no("block", "none",
                          choice<model, &ModelConfig::recompute>(
                              "model.recompute", "none", {"none", "attention", "block"},
                              "activations that are computed again in the backward pass instead of being kept (less memory, slower): of a "
                              "block those between its first norm and the projection behind attention, or all"))),
      when({where::vision_transformer(), where::recomputed()},
           field<model, &ModelConfig::recompute_every>(
               "model.recompute_every", "1",
               "the first of so many consecutive blocks is computed again, the others keep their activations; 1: all", positive)),
      text<model, &ModelConfig::init_from>(
          "model.init_from",
          "weights that student and teacher begin with (dinoxx weights inspect), whose network the run has; "
          "empty: random"),
  };
}

const std::string& model_init_from(const Config& config) {
  return config.model->init_from;
}

FactValues model_facts(const Config& config) {
  const ModelConfig& model = *config.model;
  const auto word = [](const std::string& value) { return value == "auto" ? std::nullopt : std::optional(value); };
  const auto numbers = [](const std::string& value) { return value == "auto" ? std::nullopt : std::optional(parse_channels(value)); };
  FactValues facts;
  if (model.heads) facts.heads = static_cast<int>(*model.heads);
  if (model.norm_eps) facts.norm_eps = *model.norm_eps;
  facts.qkv_bias = word(model.qkv_bias);
  facts.position_resize = word(model.position_resize);
  if (model.rope_base) facts.rope_base = *model.rope_base;
  facts.rope_periods = word(model.rope_periods);
  if (model.stem_padding) facts.stem_padding = static_cast<int>(*model.stem_padding);
  facts.activation = word(model.activation);
  facts.mean = numbers(model.mean);
  facts.std = numbers(model.std);
  return facts;
}

}  // namespace dinoxx
