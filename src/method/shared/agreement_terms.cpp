#include "agreement_terms.hpp"

#include "configure_views.hpp"
#include "dinoxx/loss/coding_rate.hpp"
#include "loss/loss_config.hpp"
#include "prototypes.hpp"
#include "two_views.hpp"

namespace dinoxx {

MethodSpec agreement_spec(const Config& config) {
  MethodSpec spec;
  configure_views(spec, config);
  spec.network.backbone = backbone_config(config);
  DinoHeadConfig head = prototype_head(config, feature_dim(spec.network.backbone));
  head.out_dim = 0;
  spec.network.head = {"head", head};
  const auto agreement = [](const LossInputs& in) {
    const at::Tensor mean = view_agreement(in.student.logits, in.teacher.logits);
    return LossOutputs{.loss = 1.0 - mean};
  };
  // of the plain mean of the two normalised features, as released: the teacher's have less noise
  const auto expansion = [eps = *config.loss->coding_eps](const LossInputs& in) {
    const at::Tensor globals = in.student.logits.narrow(0, 0, in.global_views);
    LossOutputs out;
    out.loss = -coding_rate((globals + in.teacher.logits.detach()) / 2, eps, *in.comm);
    out.metrics = {{"coding_rate", -out.loss.detach()}};
    return out;
  };
  spec.terms.push_back({"agreement", constant_weight(1), agreement, {Need::kTeacher, Need::kSeveralViews}});
  spec.terms.push_back({"coding_rate", constant_weight(*config.loss->coding_weight), expansion, {Need::kTeacher}, check_two_images});
  return spec;
}

std::vector<std::string> agreement_keys(std::vector<std::string> more) {
  std::vector<std::string> keys{"head.hidden_dim",  "head.bottleneck_dim",  "head.layers",           "head.batch_norm",
                                "teacher.momentum", "teacher.momentum_end", "teacher.hold_backbone", "loss.coding_*"};
  keys.insert(keys.end(), more.begin(), more.end());
  return keys;
}

}  // namespace dinoxx
