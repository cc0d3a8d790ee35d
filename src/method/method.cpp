#include "method.hpp"

#include <set>

#include "config/train_keys.hpp"
#include "dinoxx/base/error.hpp"
#include "dinoxx/loss/koleo.hpp"
#include "guides/guides.hpp"
#include "methods.hpp"
#include "optim/init_config.hpp"
#include "shared/anchor.hpp"

namespace dinoxx {

MethodSpec make_method(const Config& resolved) {
  const Method& method = find_method(train_method(resolved));
  MethodSpec spec = method.make(resolved);
  spec.name = method.name;
  spec.teacher = method.teacher;
  if (spec.masks) spec.masks->student_sees_all = method.student_sees_all;
  if (resolved.init->anchor > 0) add_anchor(spec, resolved);
  add_guides(spec, resolved);
  check_method(spec);
  return spec;
}

std::function<double(const StepValues&)> constant_weight(double weight) {
  return [weight](const StepValues&) { return weight; };
}

bool MethodSpec::keeps_gram_network() const {
  return anchor || (gram && gram->source != "ema");
}

int MethodSpec::student_views() const {
  return static_cast<int>(views.views.size()) - views.gram_count();
}

std::vector<ViewPlan> MethodSpec::plans() const {
  std::vector<ViewPlan> all{views};
  all.insert(all.end(), other_views.begin(), other_views.end());
  return all;
}

namespace {

void check_need(const MethodSpec& spec, const LossTerm& term, Need need) {
  const std::string subject = fmt::format("method {}, loss term {}", spec.name, term.name);
  switch (need) {
    case Need::kTeacher:
      if (spec.teacher == TeacherPolicy::kNone)
        fail_usage(subject, "a teacher network", "none", "Give the method a teacher, or drop the term");
      return;
    case Need::kSeveralViews:
      if (spec.student_views() < 2)
        fail_usage(subject, "at least two views of each image", fmt::format("{}", spec.student_views()), "Add global or local views");
      if (!spec.views.views.front().global)
        fail_usage(subject, "at least one global view, which the teacher sees", "local views only", "Add a global view");
      return;
    case Need::kTwoViews:
      if (spec.student_views() != 2 || spec.views.global_count() != 2)
        fail_usage(subject, "two global views of each image and no other",
                   fmt::format("{} views, {} of them global", spec.student_views(), spec.views.global_count()),
                   "Set views.local_count = 0");
      return;
    case Need::kMasks:
      if (!spec.masks) fail_usage(subject, "masks", "none", "Choose a mask.scheme, or drop the term");
      if (!spec.masks->student_sees_all && !has_mask_token(spec.network.backbone))
        fail_usage(subject, "a backbone with a mask token", describe(spec.network.backbone), "Choose a vision transformer");
      return;
    case Need::kPatches:
    case Need::kPatchMean:
      if (!std::holds_alternative<VitConfig>(spec.network.backbone))
        fail_usage(subject, "a vision transformer", describe(spec.network.backbone), "Change model.arch");
      return;
    case Need::kGramTeacher:
      if (!spec.gram) fail_usage(subject, "a Gram teacher", "none", "Set gram.teacher, or gram.weight = 0");
      return;
    case Need::kTeacherPatches:
      if (spec.teacher != TeacherPolicy::kFrozen) fail_usage(subject, "a frozen teacher", "none", "Give the method one, or drop the term");
      return;
    case Need::kPatchProjections:
      if (!spec.network.patch_head) fail_usage(subject, "a head for patches", "none", "Give the network one, or drop the term");
      return;
    case Need::kAnchor:
      if (!spec.anchor) fail_usage(subject, "the network with which the student begins", "none", "Set init.anchor above 0");
      return;
    case Need::kPredictor:
    case Need::kProjections:
      if (!spec.network.predictor) fail_usage(subject, "a predictor", "none", "Give the network one, or drop the term");
      return;
  }
}

void check_views(const MethodSpec& spec, const ViewPlan& plan) {
  const std::string subject = fmt::format("views of method {}", spec.name);
  const auto& views = plan.views;
  if (views.empty()) fail_usage(subject, "at least one view", "none", "Add a global view");
  const int student = static_cast<int>(views.size()) - plan.gram_count();
  if (student != spec.student_views() || plan.global_count() != spec.views.global_count())
    fail_usage(subject, fmt::format("{} views, {} of them global, in every resolution", spec.student_views(), spec.views.global_count()),
               fmt::format("{} and {}", student, plan.global_count()), "Let resolutions differ in sizes only");
  std::set<int> finished;
  for (size_t i = 1; i < static_cast<size_t>(student); ++i) {
    const ViewSpec &before = views[i - 1], &view = views[i];
    if (view.global && !before.global)
      fail_usage(subject, "global views before local ones", view.name + " after " + before.name, "Reorder the views");
    if (view.global && view.size != before.size)
      fail_usage(subject, "global views of one size", fmt::format("{} and {} pixels", before.size, view.size), "Give them the same size");
    if (view.size != before.size) finished.insert(before.size);
    if (finished.contains(view.size))
      fail_usage(subject, "views of equal size side by side", fmt::format("{} pixels again at {}", view.size, view.name),
                 "Reorder the views");
  }
}

}  // namespace

void check_method(const MethodSpec& spec) {
  if (spec.terms.empty()) fail_usage("method " + spec.name, "at least one loss term", "none", "Add a term to the recipe");
  for (const ViewPlan& plan : spec.plans()) check_views(spec, plan);
  for (const LossTerm& term : spec.terms)
    for (const Need need : term.needs) check_need(spec, term, need);
}

void check_batch(const MethodSpec& spec, int64_t batch, int world_size) {
  if (const auto* vit = std::get_if<VitConfig>(&spec.network.backbone);
      vit && vit->drop_path > 0 && vit->drop_path_form == "subset" && vit->drop_path_group > 0 && batch % vit->drop_path_group != 0)
    fail_usage("model.drop_path_group", fmt::format("a divisor of the {} images of a rank", batch), std::to_string(vit->drop_path_group),
               "Change it, the batch size or the number of ranks");
  if (spec.masks) {
    for (const ViewPlan& plan : spec.plans()) {
      const int grid = plan.views.front().size / spec.masks->patch_size;
      check_masks(spec.masks->spec, grid, grid, plan.global_count(), batch);
    }
  }
  for (const LossTerm& term : spec.terms)
    if (term.check) term.check(spec, batch, world_size);
}

}  // namespace dinoxx
