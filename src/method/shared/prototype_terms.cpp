#include "prototype_terms.hpp"

#include <ATen/ATen.h>

#include "data_pipeline/augment/mask_config.hpp"
#include "dinoxx/base/error.hpp"
#include "dinoxx/loss/dino_loss.hpp"
#include "dinoxx/loss/gram.hpp"
#include "dinoxx/loss/koleo.hpp"
#include "dinoxx/loss/patch_loss.hpp"
#include "dinoxx/loss/sigreg.hpp"
#include "dinoxx/loss/sinkhorn.hpp"
#include "loss/gram_config.hpp"
#include "loss/loss_config.hpp"
#include "loss/prototypes/swapped_prediction.hpp"
#include "two_views.hpp"

namespace dinoxx {
namespace {

// To share mass out evenly takes more samples than one: with one, every prototype's share is that sample's, and the target is uniform.
constexpr int64_t kFewestSamples = 4;

/// The sum over the global views, never across them.
at::Tensor koleo_of_views(const LossInputs& in, int64_t group, int64_t top_k) {
  const at::Tensor& features = in.student.features;
  // a GPU that is kept waiting for launches takes all views in one call, where no group reaches beyond a view
  if (!features.is_cpu() && features.size(1) % group == 0)
    return koleo_loss(features.narrow(0, 0, in.global_views).flatten(0, 1), group, top_k, in.comm) * static_cast<double>(in.global_views);
  at::Tensor sum;
  for (int64_t view = 0; view < in.global_views; ++view) {
    const at::Tensor one = koleo_loss(features[view], group, top_k, in.comm);
    sum = sum.defined() ? sum + one : one;
  }
  return sum;
}

std::vector<std::pair<std::string, Figure>> metrics_of(const DinoLossResult& r) {
  return {{"teacher_entropy", r.figures[1]}, {"student_entropy", r.figures[2]}, {"kl", r.figures[3]}};
}

}  // namespace

LossTerm dino_term(const Config& config) {
  const bool sinkhorn = config.loss->centring == "sinkhorn";
  const int iterations = static_cast<int>(config.loss->sinkhorn_iterations);
  const double student_temp = config.loss->student_temp;
  const auto loss = [=](const LossInputs& in) {
    const double temp = in.values.teacher_temp;
    const Scores &student = *in.student_scores.views, &teacher = *in.teacher_scores.views;
    const at::Tensor centre = sinkhorn ? sinkhorn_centre(teacher.flatten(), temp, iterations, *in.comm) : in.centre;
    DinoLossResult r = dino_loss(student, teacher, centre, student_temp, temp, in.values.local_weight, /*want_teacher_sum=*/!sinkhorn);
    LossOutputs out;
    out.loss = r.loss;
    out.value = r.figures[0];
    out.centre = {r.teacher_sum, r.teacher_rows};
    out.metrics = metrics_of(r);
    return out;
  };
  const auto check = [=](const MethodSpec& spec, int64_t batch, int world_size) {
    const int64_t samples = batch * world_size * spec.views.global_count();
    if (sinkhorn && samples < kFewestSamples)
      fail_usage("loss.centring", fmt::format("at least {} teacher views of all images of a step for Sinkhorn-Knopp", kFewestSamples),
                 std::to_string(samples), "Choose a larger train.batch_size, or loss.centring = centre");
  };
  return {"dino", constant_weight(1), loss, {Need::kTeacher, Need::kSeveralViews}, check};
}

LossTerm patch_term(const Config& config, PatchCentre patch_centre) {
  const bool sinkhorn = config.loss->patch_centring == "sinkhorn";
  const int iterations = static_cast<int>(config.loss->sinkhorn_iterations);
  const double student_temp = config.loss->student_temp;
  const int64_t group = config.mask->group_size;
  const bool of_all = !sinkhorn && patch_centre == PatchCentre::kAll;
  const auto loss = [=](const LossInputs& in) {
    const double temp = in.values.patch_teacher_temp;
    const Scores &student = *in.student_scores.patches, &teacher = *in.teacher_scores.patches;
    const at::Tensor centre = sinkhorn ? sinkhorn_centre(teacher, temp, iterations, *in.comm) : in.patch_centre;
    PatchLossResult r = patch_loss(student, teacher, centre, in.masks.weights, student_temp, temp, static_cast<double>(in.masks.crops));
    LossOutputs out;
    out.loss = r.loss;
    out.value = r.figures[0];
    if (of_all)
      out.patch_centre = centre_sum(*in.patch_mean);
    else if (!sinkhorn)
      out.patch_centre = centre_sum_by_group(teacher, in.masks.slots, group);
    out.metrics = {{"patch_loss", r.figures[0]}, {"patch_teacher_entropy", r.figures[1]}, {"patch_kl", r.figures[3]}};
    return out;
  };
  const auto check = [=](const MethodSpec& spec, int64_t batch, int world_size) {
    if (!sinkhorn || !spec.masks) return;
    for (const ViewPlan& plan : spec.plans()) {
      const int grid = plan.views.front().size / spec.masks->patch_size;
      const int64_t masked = world_size * fewest_masked(spec.masks->spec, grid, grid, plan.global_count(), batch);
      if (masked < kFewestSamples)
        fail_usage("loss.patch_centring",
                   fmt::format("at least {} masked patches in all images of a step for Sinkhorn-Knopp", kFewestSamples),
                   std::to_string(masked), "Choose a larger train.batch_size, mask more, or set loss.patch_centring = centre");
    }
  };
  std::vector<Need> needs{Need::kTeacher, Need::kMasks};
  if (of_all) needs.push_back(Need::kPatchMean);
  return {"patch", constant_weight(*config.loss->patch_weight), loss, needs, check};
}

LossTerm swapped_term(const Config& config) {
  const double temp = config.loss->student_temp, codes_temp = config.loss->codes_temp;
  const int iterations = static_cast<int>(config.loss->sinkhorn_iterations);
  const auto loss = [=](const LossInputs& in) {
    DinoLossResult r = swapped_prediction(in.student.logits, in.global_views, temp, codes_temp, iterations, *in.comm);
    return LossOutputs{.loss = r.loss, .value = r.figures[0], .metrics = metrics_of(r)};
  };
  const auto check = [](const MethodSpec& spec, int64_t batch, int world_size) {
    if (batch * world_size < kFewestSamples)
      fail_usage("train.batch_size", fmt::format("at least {} images for the codes of {}", kFewestSamples, spec.name),
                 std::to_string(batch * world_size), "Choose a larger batch");
  };
  return {"swapped", constant_weight(1), loss, {Need::kSeveralViews}, check};
}

LossTerm koleo_term(const Config& config) {
  const int64_t group = config.loss->koleo_group, top_k = config.loss->koleo_top_k;
  const auto loss = [=](const LossInputs& in) {
    LossOutputs out;
    out.loss = koleo_of_views(in, group == 0 ? in.student.features.size(1) : group, top_k);
    out.metrics = {{"koleo_loss", out.loss.detach()}};
    return out;
  };
  const auto check = [=](const MethodSpec&, int64_t batch, int world_size) {
    check_koleo(batch, world_size, group == 0 ? batch : group, top_k);
  };
  return {"koleo", constant_weight(*config.loss->koleo_weight), loss, {}, check};
}

LossTerm sigreg_term(const Config& config) {
  const auto loss = [count = config.loss->sigreg_directions](const LossInputs& in) {
    const at::Tensor globals = in.student.features.narrow(0, 0, in.global_views);
    LossOutputs out;
    out.loss =
        sigreg(globals, sigreg_directions(globals.size(2), count, in.seed, in.step), *in.comm) * static_cast<double>(in.global_views);
    out.metrics = {{"sigreg_loss", out.loss.detach()}};
    return out;
  };
  return {"sigreg", constant_weight(*config.loss->sigreg_weight), loss, {}, check_two_images};
}

LossTerm gram_term(const Config& config) {
  GramOptions options;
  options.group_size = config.gram->group_size;
  options.negatives = config.gram->negatives == "both"      ? GramNegatives::kRemoveBoth
                      : config.gram->negatives == "teacher" ? GramNegatives::kRemoveTeacher
                                                            : GramNegatives::kKeep;
  options.tokens = config.gram->tokens == "masked"     ? GramTokens::kMasked
                   : config.gram->tokens == "unmasked" ? GramTokens::kUnmasked
                                                       : GramTokens::kAll;
  const auto loss = [=](const LossInputs& in) {
    LossOutputs out;
    out.loss = gram_loss(in.student.patches, in.gram_patches, options, in.masks.on_host);
    out.metrics = {{"gram_loss", out.loss.detach()}};
    return out;
  };
  std::vector<Need> needs{Need::kPatches, Need::kGramTeacher};
  if (options.tokens != GramTokens::kAll) needs.push_back(Need::kMasks);
  const auto check = [options, tokens = config.gram->tokens](const MethodSpec& spec, int64_t batch, int) {
    if (options.group_size > 0 && batch % options.group_size != 0)
      fail_usage("gram.group_size", fmt::format("a divisor of the {} images of a rank", batch), std::to_string(options.group_size),
                 "Change it or train.batch_size");
    if (spec.masks && options.tokens != GramTokens::kAll && spec.masks->student_sees_all)
      fail_usage("gram.tokens", "all where the student sees every patch", tokens, "Set it to all");
  };
  return {"gram", [](const StepValues& values) { return values.gram_weight; }, loss, needs, check};
}

}  // namespace dinoxx
