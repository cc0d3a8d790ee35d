#include "recipes.hpp"

namespace dinoxx {

MethodSpec recipe_dino(const Config& config) {
  MethodSpec spec;
  const ViewsConfig& views = config.views;
  spec.views = dino_v1_views({static_cast<int>(views.global_size), static_cast<int>(views.local_size), static_cast<int>(views.local_count),
                              views.global_scale_min, views.global_scale_max, views.local_scale_min, views.local_scale_max, views.blur});
  spec.network.backbone = backbone_config(config);
  DinoHeadConfig head;
  head.in_dim = feature_dim(spec.network.backbone);
  head.hidden_dim = static_cast<int>(config.head.hidden_dim);
  head.bottleneck_dim = static_cast<int>(config.head.bottleneck_dim);
  head.out_dim = static_cast<int>(config.head.out_dim.value());
  head.layers = static_cast<int>(config.head.layers);
  spec.network.head = {"head", head};
  spec.norm_last_layer = config.head.norm_last_layer;
  spec.teacher = TeacherPolicy::kEma;
  spec.centre = true;
  spec.terms.push_back({"dino",
                        1.0,
                        [](const LossInputs& in) {
                          DinoLossResult r =
                              dino_loss(in.student.logits, in.teacher.logits, in.centre, in.student_temp, in.values.teacher_temp);
                          return LossOutputs{r.loss, r.teacher_sum, r.teacher_rows, {{"teacher_entropy", r.teacher_entropy}, {"kl", r.kl}}};
                        },
                        {Need::kTeacher, Need::kCentre, Need::kSeveralViews}});
  return spec;
}

}  // namespace dinoxx
