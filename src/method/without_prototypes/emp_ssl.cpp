// EMP-SSL (Tong et al. 2023, arXiv 2304.03977): many small crops of an image agree with their mean, and the coding rate of each crop's
// batch keeps images apart. No teacher. Defaults of tsb0601/EMP-SSL, main.py, with a batch of 100.
#include "dinoxx/loss/coding_rate.hpp"
#include "loss/loss_common.hpp"
#include "loss/loss_config.hpp"
#include "method/shared/two_views.hpp"
#include "model/heads/head_config.hpp"

namespace dinoxx {
namespace {

// The released weight of the agreement beside a coding rate of weight 1. LARS does not feel it but where it clips its factor.
constexpr double kScale = 200;
// The coding rate of coding_rate.hpp is one per image and dimension: 1 / 200 of the released sum at its batch of 100 images and 1,024
// dimensions is this weight.
constexpr double kCodingWeight = 0.4555;

MethodSpec make(const Config& config) {
  MethodSpec spec = projector_spec(config, *config.head->layers);
  const auto agreement = [](const LossInputs& in) {
    const at::Tensor mean = agreement_with_mean(in.student.logits);
    return LossOutputs{.loss = 1.0 - mean};
  };
  const auto expansion = [eps = *config.loss->coding_eps](const LossInputs& in) {
    LossOutputs out;
    out.loss = -coding_rate(loss_common::normalized(in.student.logits), eps, *in.comm);
    out.metrics = {{"coding_rate", -out.loss.detach()}};
    return out;
  };
  spec.terms.push_back({"agreement", constant_weight(kScale), agreement, {Need::kSeveralViews}});
  spec.terms.push_back({"coding_rate", constant_weight(kScale * *config.loss->coding_weight), expansion, {}, check_two_images});
  return spec;
}

}  // namespace

Method emp_ssl_method() {
  return {
      .name = "emp_ssl",
      .summary = "EMP-SSL: many small crops agree with their mean, the coding rate keeps images apart; no teacher",
      .defaults =
          {
              .profile = "emp-ssl",
              .global_scale_min = 0.25,
              .global_scale_max = 0.25,
              .local_scale_min = 0.25,
              .local_scale_max = 0.25,
              .local_count = 18,
              .optimizer = "lars",
              .lr = 0.3,
              .weight_decay = 1e-4,
              .weight_decay_end = 1e-4,
              .coding_weight = kCodingWeight,
              .coding_eps = 0.2,
              .loss_size = kScale,
              .hidden_dim = 4096,
              .out_dim = 1024,
          },
      .reads = {"head.out_dim", "head.hidden_dim", "head.layers", "loss.coding_*"},
      .teacher = TeacherPolicy::kNone,
      .make = make,
  };
}

}  // namespace dinoxx
