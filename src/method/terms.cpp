#include <ATen/ATen.h>

#include <cmath>

#include "dinoxx/loss/byol_loss.hpp"
#include "dinoxx/loss/dino_loss.hpp"
#include "dinoxx/loss/gram.hpp"
#include "dinoxx/loss/koleo.hpp"
#include "dinoxx/loss/nt_xent.hpp"
#include "dinoxx/loss/patch_loss.hpp"
#include "dinoxx/loss/sinkhorn.hpp"
#include "recipes.hpp"

namespace dinoxx {
namespace {

std::function<double(const StepValues&)> constant(double weight) {
  return [weight](const StepValues&) { return weight; };
}

}  // namespace

LossTerm dino_term(const Config& config) {
  const bool sinkhorn = config.loss.centring == "sinkhorn";
  const int iterations = static_cast<int>(config.loss.sinkhorn_iterations);
  const double student_temp = config.loss.student_temp;
  const auto loss = [=](const LossInputs& in) {
    const double temp = in.values.teacher_temp;
    const at::Tensor centre = sinkhorn ? sinkhorn_centre(in.teacher.logits.flatten(0, 1), temp, iterations, *in.comm) : in.centre;
    DinoLossResult r =
        dino_loss(in.student.logits, in.teacher.logits, centre, student_temp, temp, in.values.local_weight, /*want_teacher_sum=*/!sinkhorn);
    LossOutputs out;
    out.loss = r.loss;
    out.centre = {r.teacher_sum, r.teacher_rows};
    out.metrics = {{"teacher_entropy", r.teacher_entropy}, {"student_entropy", r.student_entropy}, {"kl", r.kl}};
    return out;
  };
  return {"dino", constant(1), loss, {Need::kTeacher, Need::kSeveralViews}};
}

LossTerm patch_term(const Config& config) {
  const bool sinkhorn = config.loss.patch_centring == "sinkhorn";
  const int iterations = static_cast<int>(config.loss.sinkhorn_iterations);
  const double student_temp = config.loss.student_temp;
  const int64_t group = config.mask.group_size;
  const bool of_all = !sinkhorn && config.train.method == "ibot";  // iBOT's patch centre counts all patches, DINOv2's the masked ones
  const auto loss = [=](const LossInputs& in) {
    const double temp = in.values.patch_teacher_temp;
    const at::Tensor& teacher = in.teacher.patch_logits;
    const at::Tensor centre = sinkhorn ? sinkhorn_centre(teacher, temp, iterations, *in.comm) : in.patch_centre;
    const double crops = static_cast<double>(in.masks.masked.size(0));
    PatchLossResult r = patch_loss(in.student.patch_logits, teacher, centre, in.masks.weights, student_temp, temp, crops);
    LossOutputs out;
    out.loss = r.loss;
    if (of_all)
      out.patch_centre = {in.teacher.patch_mean, 1};
    else if (!sinkhorn)
      out.patch_centre = centre_sum_by_group(teacher, in.masks.slots, group);
    out.metrics = {{"patch_loss", r.loss.item<double>()}, {"patch_teacher_entropy", r.teacher_entropy}, {"patch_kl", r.kl}};
    return out;
  };
  std::vector<Need> needs{Need::kTeacher, Need::kMasks};
  if (of_all) needs.push_back(Need::kPatchMean);
  return {"patch", constant(*config.loss.patch_weight), loss, needs};
}

LossTerm koleo_term(const Config& config) {
  const int64_t group = config.loss.koleo_group, top_k = config.loss.koleo_top_k;
  // the sum over the global views, never across them
  const auto loss = [=](const LossInputs& in) {
    LossOutputs out;
    const int64_t local = in.student.features.size(1);
    for (int64_t view = 0; view < in.global_views; ++view) {
      const at::Tensor one = koleo_loss(in.student.features[view], group == 0 ? local : group, top_k, in.comm);
      out.loss = out.loss.defined() ? out.loss + one : one;
    }
    out.metrics = {{"koleo_loss", out.loss.item<double>()}};
    return out;
  };
  return {"koleo", constant(*config.loss.koleo_weight), loss, {}};
}

LossTerm gram_term(const Config& config) {
  GramOptions options;
  options.group_size = config.gram.group_size;
  options.negatives = config.gram.negatives == "both"      ? GramNegatives::kRemoveBoth
                      : config.gram.negatives == "teacher" ? GramNegatives::kRemoveTeacher
                                                           : GramNegatives::kKeep;
  options.tokens = config.gram.tokens == "masked"     ? GramTokens::kMasked
                   : config.gram.tokens == "unmasked" ? GramTokens::kUnmasked
                                                      : GramTokens::kAll;
  const auto loss = [=](const LossInputs& in) {
    LossOutputs out;
    out.loss = gram_loss(in.student.patches, in.gram_patches, options, in.masks.masked);
    out.metrics = {{"gram_loss", out.loss.item<double>()}};
    return out;
  };
  std::vector<Need> needs{Need::kPatches, Need::kGramTeacher};
  if (options.tokens != GramTokens::kAll) needs.push_back(Need::kMasks);
  return {"gram", [](const StepValues& values) { return values.gram_weight; }, loss, needs};
}

LossTerm byol_term() {
  const auto loss = [](const LossInputs& in) {
    LossOutputs out;
    out.loss = byol_loss(in.student.logits, in.teacher.logits);
    return out;
  };
  return {"byol", constant(1), loss, {Need::kTeacher, Need::kTwoViews, Need::kPredictor}};
}

LossTerm simclr_term(const Config& config) {
  const double temp = config.loss.temp;
  const auto loss = [=](const LossInputs& in) {
    LossOutputs out;
    out.loss = nt_xent(in.student.logits, temp, *in.comm);
    return out;
  };
  return {"simclr", constant(1), loss, {Need::kTwoViews}};
}

}  // namespace dinoxx
