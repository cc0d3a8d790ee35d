#include "head_config.hpp"

#include "config/config.hpp"
#include "config/config_conditions.hpp"
#include "config/field_kinds.hpp"

namespace dinoxx {

using namespace field_kinds;

std::vector<Field> head_fields() {
  constexpr auto head = &Config::head;
  constexpr Range positive{1, 1e9};
  return {
      shapes_network(field<head, &HeadConfig::out_dim>("head.out_dim", "auto",
                                                       "prototypes, or the width of the projection of a method without them", positive)),
      shapes_network(field<head, &HeadConfig::hidden_dim>("head.hidden_dim", "auto", "width of the MLP", positive)),
      shapes_network(field<head, &HeadConfig::bottleneck_dim>("head.bottleneck_dim", "auto", "width in front of the prototypes", positive)),
      shapes_network(field<head, &HeadConfig::layers>("head.layers", "auto",
                                                      "linear layers of the MLP, in front of the prototypes where there are", {1, 16})),
      shapes_network(field<head, &HeadConfig::batch_norm>(
          "head.batch_norm", "auto",
          "batch norm over all crops behind each hidden layer of the MLP (use_bn_in_head of the released DINO)")),
      when({where::weight_norm()},
           field<head, &HeadConfig::norm_last_layer>("head.norm_last_layer", "auto",
                                                     "keep the prototypes' gain at 1 (steadier; published long runs turn it off)")),
      shapes_network(field<head, &HeadConfig::weight_norm>(
          "head.weight_norm", "auto",
          "prototypes of a direction and a gain; no: a plain linear layer. A student of a frozen teacher has its teacher's")),
      when({where::patch_loss()},
           shapes_network(field<head, &HeadConfig::shared>("head.shared", "auto", "one head for CLS and masked patches"))),
      when({where::patch_loss(), where::own_patch_head()},
           shapes_network(field<head, &HeadConfig::patch_out_dim>("head.patch_out_dim", "auto",
                                                                  "patch head: prototypes; auto: head.out_dim", positive))),
      when({where::patch_loss(), where::own_patch_head()},
           shapes_network(field<head, &HeadConfig::patch_hidden_dim>("head.patch_hidden_dim", "auto",
                                                                     "patch head: width; auto: head.hidden_dim", positive))),
      when({where::patch_loss(), where::own_patch_head()},
           shapes_network(field<head, &HeadConfig::patch_bottleneck_dim>(
               "head.patch_bottleneck_dim", "auto", "patch head: width in front of the prototypes; auto: head.bottleneck_dim", positive))),
      not_training(when({where::shared_gradient()},
                        field<head, &HeadConfig::shard_prototypes>(
                            "head.shard_prototypes", "no",
                            "each of the ranks that share the state has a part of the prototypes, and makes their logits for the images of "
                            "all: for very many prototypes. Results agree up to rounding"))),
      shapes_network(field<head, &HeadConfig::predictor_hidden_dim>(
          "head.predictor_hidden_dim", "auto", "width of the predictor; auto: the method's, else head.hidden_dim", positive)),
      shapes_network(field<head, &HeadConfig::norm_output>(
          "head.norm_output", "no", "batch norm behind the projector's last layer, as SimCLR's released code has it")),
  };
}

}  // namespace dinoxx
