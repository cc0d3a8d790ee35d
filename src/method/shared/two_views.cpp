#include "two_views.hpp"

#include <ATen/ATen.h>

#include "configure_views.hpp"
#include "dinoxx/base/error.hpp"
#include "loss/loss_common.hpp"
#include "model/heads/head_config.hpp"

namespace dinoxx {

MethodSpec two_view_spec(const Config& config) {
  MethodSpec spec;
  configure_views(spec, config);
  spec.split_views = true;
  spec.network.backbone = backbone_config(config);
  spec.network.head = {"projector", MlpHeadConfig{feature_dim(spec.network.backbone), static_cast<int>(*config.head->hidden_dim),
                                                  static_cast<int>(*config.head->out_dim), config.head->norm_output}};
  return spec;
}

MethodSpec expander_spec(const Config& config) {
  MethodSpec spec = two_view_spec(config);
  auto& head = std::get<MlpHeadConfig>(spec.network.head.config);
  head.layers = static_cast<int>(*config.head->layers);
  head.output_bias = false;
  return spec;
}

MethodSpec projector_spec(const Config& config, int64_t layers) {
  MethodSpec spec = two_view_spec(config);
  spec.split_views = false;
  std::get<MlpHeadConfig>(spec.network.head.config).layers = static_cast<int>(layers);
  return spec;
}

LossOutputs prediction_of_globals(const LossInputs& in) {
  const at::Tensor z = in.student.logits.to(loss_common::wide_type(in.student.logits));
  return {.loss = (z - z.narrow(0, 0, in.global_views).mean(0, /*keepdim=*/true)).square().mean()};
}

void check_two_images(const MethodSpec& spec, int64_t batch, int world_size) {
  if (batch * world_size < 2)
    fail_usage("train.batch_size", fmt::format("at least two images for {}", spec.name), std::to_string(batch * world_size),
               "Choose a larger batch");
}

}  // namespace dinoxx
