#include "recipes.hpp"

namespace dinoxx {
namespace {

MethodSpec two_views(const Config& config) {
  MethodSpec spec;
  configure_views(spec, config);
  spec.split_views = true;
  spec.network.backbone = backbone_config(config);
  spec.network.head = {"projector", MlpHeadConfig{feature_dim(spec.network.backbone), static_cast<int>(*config.head.hidden_dim),
                                                  static_cast<int>(*config.head.out_dim), config.head.norm_output}};
  return spec;
}

}  // namespace

MethodSpec recipe_byol(const Config& config) {
  MethodSpec spec = two_views(config);
  const int width = static_cast<int>(*config.head.out_dim);
  spec.network.predictor = {"predictor", MlpHeadConfig{width, static_cast<int>(*config.head.predictor_hidden_dim), width}};
  spec.terms.push_back(byol_term());
  return spec;
}

MethodSpec recipe_simclr(const Config& config) {
  MethodSpec spec = two_views(config);
  spec.teacher = TeacherPolicy::kNone;
  spec.terms.push_back(simclr_term(config));
  return spec;
}

}  // namespace dinoxx
