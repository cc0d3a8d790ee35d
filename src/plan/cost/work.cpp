#include "work.hpp"

#include <algorithm>
#include <cmath>

#include "loss/gram_config.hpp"
#include "loss/loss_config.hpp"
#include "method/methods.hpp"

namespace dinoxx::plan {
namespace {

double views_of(const std::vector<CropGroup>& crops) {
  double views = 0;
  for (const CropGroup& group : crops) views += static_cast<double>(group.views);
  return views;
}

double patches_of(const std::vector<CropGroup>& crops) {
  double patches = 0;
  for (const CropGroup& group : crops) patches += static_cast<double>(group.views * group.patches);
  return patches;
}

// Network::forward with patch_mean: all patches as far as the bottleneck
Cost mean_cost(const ProjectionConfig& head, double rows, int64_t element) {
  DinoHeadConfig inner = std::get<DinoHeadConfig>(head);
  inner.out_dim = 1;
  return head_cost(inner, rows, element, false);
}

BackboneConfig with_recompute(BackboneConfig backbone, const Recompute& recompute) {
  if (auto* vit = std::get_if<VitConfig>(&backbone)) vit->recompute = recompute;
  return backbone;
}

// Gram loss (loss/gram.cpp): patches of both in float32 before and after their normalisation, and the student's gradient.
struct GramCost {
  Cost cost;
  double bytes = 0;
};
GramCost gram_of(const Model& model, const Resolution& resolution, int64_t batch, int64_t element) {
  GramCost gram;
  if (!resolution.gram || resolution.student.empty()) return gram;
  const CropGroup& global = resolution.student.front();
  const double dim = feature_dim(model.spec.network.backbone);
  const double rows = static_cast<double>(resolution.gram->views * batch * global.patches);
  const auto images = static_cast<double>(std::max<int64_t>(model.config.gram->group_size, 1));
  const double n = images * static_cast<double>(global.patches);
  gram.cost.products.push_back({n, n, dim, 3 * rows / n});
  gram.cost.traffic = 4 * rows * dim * 12 + 4 * rows * n * 6;
  gram.cost.launches = 12 * rows / n + 20;
  gram.bytes = rows * dim * (5 * 4 + static_cast<double>(element));
  return gram;
}

// Bytes of logits and of what is made of them: while the losses are computed, when the backward pass is among the blocks, and while the
// teacher computes.
struct Logits {
  double at_losses = 0, later = 0, at_teacher = 0;
};
struct LossRows {
  double student = 0, teacher = 0, indices = 0, element = 4;  // rows of both, images or patches, bytes of a logit
};
// Of `at_once` rows, with the gradient of the prototypes, in float32 while it is added up, and that of the rows.
Logits logits_of_parts(int64_t at_once, const DinoHeadConfig& head, const LossRows& rows) {
  const double of_index = rows.student / rows.indices;
  const double indices = std::clamp(std::floor(static_cast<double>(at_once) / of_index), 1.0, rows.indices);
  const double share = indices / rows.indices, width = head.out_dim, dim = head.bottleneck_dim;
  const double logits = rows.element * width * share * (2 * rows.student + rows.teacher);
  const double wide = rows.element < 4 ? 4 * width * dim : 0;  // beside what the kernels of products give
  const double gradient = rows.element * (width * dim + dim * rows.student);
  return {logits + gradient + wide, gradient, 0};
}

}  // namespace

Work work_of(const Model& model, const Resolution& resolution, int64_t batch, const Recompute& recompute, int64_t rows_at_once) {
  const MethodSpec& spec = model.spec;
  const int64_t element = model.compute_bytes();
  const auto c = static_cast<double>(element), images = static_cast<double>(batch);
  const bool masks = needs(spec, Need::kMasks), mean = needs(spec, Need::kPatchMean), has_teacher = spec.teacher != TeacherPolicy::kNone;
  const int64_t globals = spec.views.global_count();
  const bool all_patches = needs(spec, Need::kPatchProjections), bare = model.frozen && find_method(spec.name).bare_teacher;
  // patches that go through a head
  const double masked = masks         ? resolution.masked * images
                        : all_patches ? static_cast<double>(globals * resolution.student.front().patches) * images
                                      : 0;
  Work work;

  // the student, every view
  const Pass trains{.trains = true, .patches = masks || all_patches || needs(spec, Need::kPatches)};
  const double rows = views_of(resolution.student) * images;
  const BackboneConfig backbone = with_recompute(spec.network.backbone, recompute);
  const Cost network = backbone_cost(backbone, resolution.student, batch, element, trains);
  Cost heads = head_cost(spec.network.head.config, rows, element, true);
  if (spec.network.predictor) heads += head_cost(spec.network.predictor->config, rows, element, true);
  for (const HeadPlan& guide : spec.network.guides) heads += head_cost(guide.config, static_cast<double>(globals) * images, element, true);
  const ProjectionConfig& patch_head = spec.network.patch_head.value_or(spec.network.head).config;
  if (masked > 0) heads += head_cost(patch_head, masked, element, true);
  work.student = network;
  work.student += heads;

  // the teacher, the global ones
  const double teacher_rows = views_of(resolution.teacher) * images;
  if (has_teacher) {
    const NetworkConfig& frozen = model.frozen ? *model.frozen : spec.network;
    work.teacher = backbone_cost(frozen.backbone, resolution.teacher, batch, element,
                                 {.patches = masks || mean || needs(spec, Need::kTeacherPatches)});
    if (!bare) work.teacher += head_cost(frozen.head.config, teacher_rows, element, false);
    const ProjectionConfig& head = frozen.patch_head.value_or(frozen.head).config;
    if (masked > 0 && !bare) work.teacher += head_cost(head, masked, element, false);
    if (mean) work.teacher += mean_cost(head, patches_of(resolution.teacher) * images, element);
  }
  const GramCost gram = gram_of(model, resolution, batch, element);
  if (resolution.gram) work.teacher += backbone_cost(spec.network.backbone, {*resolution.gram}, batch, element, {.patches = true});
  if (spec.anchor) {
    CropGroup seen = resolution.student.front();
    seen.views = globals;
    work.teacher += backbone_cost(spec.network.backbone, {seen}, batch, element, {.patches = true});
  }
  work.losses = gram.cost;

  // logits, which stay for the whole step, and gradients, which are made with the losses
  const double width = out_dim(spec.network.head.config), patch_width = out_dim(patch_head);
  const double student_logits = c * (rows * width + masked * patch_width);
  // codes in the place of a teacher's, in float32
  const double codes = has_term(spec, "swapped") ? 4 * static_cast<double>(globals) * images * width : 0;
  const double teacher_logits = has_teacher ? c * (teacher_rows * width + masked * patch_width) : codes;
  const LossConfig& loss = *model.config.loss;
  const auto passes = static_cast<double>(2 + loss.sinkhorn_iterations);
  work.losses.traffic += 4 * student_logits + passes * teacher_logits;
  work.losses.launches += 20;
  // of the images along all directions a sort, its gather and their gradients, as counted in budgets.csv
  if (has_term(spec, "sketching")) work.losses.launches += 100;
  if (has_term(spec, "koleo")) {
    const double group = static_cast<double>(model.config.loss->koleo_group > 0 ? model.config.loss->koleo_group : batch);
    const double features = static_cast<double>(spec.views.global_count()) * images;
    work.losses.products.push_back({features, group, static_cast<double>(feature_dim(backbone)), 1});
  }
  if (compares_ranks(spec)) work.losses.products.push_back({rows, rows, width, 3});

  Logits logits{2 * student_logits + teacher_logits, student_logits + teacher_logits, teacher_logits};
  if (has_prototypes(spec)) {
    const auto& prototypes = std::get<DinoHeadConfig>(spec.network.head.config);
    const auto& of_patches = std::get<DinoHeadConfig>(patch_head);
    work.in_front = c * (prototypes.bottleneck_dim * (rows + teacher_rows) + of_patches.bottleneck_dim * 2 * masked);
    if (rows_at_once > 0) {
      logits = logits_of_parts(rows_at_once, prototypes, {rows, teacher_rows, images, c});
      if (masked > 0) {
        const Logits patches = logits_of_parts(rows_at_once, of_patches, {masked, masked, masked, c});
        logits = {std::max(logits.at_losses, logits.later + patches.at_losses), logits.later + patches.later, 0};
      }
      // the teacher's are made anew by each pass of Sinkhorn-Knopp; for a new centre the sum of the rows is enough
      const auto again = [&](const std::string& centring, double of_rows, double wide, const DinoHeadConfig& head) {
        if (centring == "sinkhorn")
          work.losses.products.push_back(
              {of_rows, wide, static_cast<double>(head.bottleneck_dim), static_cast<double>(loss.sinkhorn_iterations)});
      };
      again(loss.centring, teacher_rows, width, prototypes);
      if (masked > 0) again(loss.patch_centring, masked, patch_width, of_patches);
    }
  }
  const double at_losses = network.saved + heads.saved + logits.at_losses + gram.bytes + heads.backward;
  const double at_blocks = network.saved + logits.later + network.backward;
  const double at_teacher = logits.at_teacher + work.teacher.forward;
  const double largest = std::max({at_losses, at_blocks, at_teacher});
  work.prototypes = at_losses >= at_blocks ? logits.at_losses : logits.later;
  work.saved = largest - (largest == at_teacher ? 0 : work.prototypes);
  // bytes of this batch and of the next one, and the crops in the networks' type
  work.pixels = images * static_cast<double>(resolution.pixels()) * 3 * (2 + c);
  for (const CropGroup& group : resolution.student) work.rows += images * static_cast<double>(group.views * group.tokens);
  return work;
}

Work mean_work(const Model& model, int64_t batch, const Recompute& recompute, int64_t rows_at_once) {
  double shares = 0;
  for (const Resolution& resolution : model.resolutions) shares += resolution.share;
  Work mean;
  const auto add = [](Cost& sum, const Cost& cost, double share) {
    Cost part = cost;
    for (Product& product : part.products) product.times *= share;
    part.backward_flops *= share, part.attention *= share, part.traffic *= share, part.launches *= share;
    sum += part;
    sum.saved = std::max(sum.saved, cost.saved);
  };
  for (const Resolution& resolution : model.resolutions) {
    const Work work = work_of(model, resolution, batch, recompute, rows_at_once);
    const double share = resolution.share / shares;
    add(mean.student, work.student, share);
    add(mean.teacher, work.teacher, share);
    add(mean.losses, work.losses, share);
    mean.rows += share * work.rows;
    mean.in_front = std::max(mean.in_front, work.in_front);
    if (work.saved + work.prototypes + work.pixels <= mean.saved + mean.prototypes + mean.pixels) continue;
    mean.saved = work.saved, mean.prototypes = work.prototypes, mean.pixels = work.pixels;
  }
  return mean;
}

}  // namespace dinoxx::plan
