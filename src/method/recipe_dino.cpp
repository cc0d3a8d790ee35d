#include "recipes.hpp"

namespace dinoxx {

MethodSpec recipe_dino(const MethodOptions& options) {
  MethodSpec spec;
  spec.name = "dino";
  spec.views = dino_v1_views(options.views);
  spec.head = options.head;
  spec.teacher = TeacherPolicy::kEma;
  spec.centre = true;
  spec.terms.push_back({"dino",
                        1.0,
                        [](const LossInputs& in) {
                          DinoLossResult r = dino_loss(in.student_logits, in.teacher_logits, in.centre, in.student_temp, in.teacher_temp);
                          return LossOutputs{r.loss, r.teacher_sum, r.teacher_rows, {{"teacher_entropy", r.teacher_entropy}, {"kl", r.kl}}};
                        },
                        {Need::kTeacher, Need::kCentre, Need::kSeveralViews}});
  return spec;
}

}  // namespace dinoxx
