#include "check_config.hpp"

#include <algorithm>
#include <cmath>

#include "config/architectures.hpp"
#include "config/train_keys.hpp"
#include "data_pipeline/augment/mask_config.hpp"
#include "data_pipeline/augment/views_config.hpp"
#include "dinoxx/base/error.hpp"
#include "eval/run/eval_config.hpp"
#include "loss/gram_config.hpp"
#include "loss/loss_config.hpp"
#include "method/guides/guide_config.hpp"
#include "method/methods.hpp"
#include "method/teacher_config.hpp"
#include "model/backbones/resnet.hpp"
#include "model/model_config.hpp"
#include "optim/init_config.hpp"
#include "optim/optim_config.hpp"
#include "parallel/parallel_config.hpp"

namespace dinoxx {
namespace {

// Where a size comes from: a key of its own, or an entry of views.sizes.
std::string place(const Config& c, const char* key, const ViewSizes& sizes) {
  return c.views->sizes.empty() ? key : fmt::format("views.sizes, {} ({})", sizes.text(), key);
}

void check_vit(const Config& c) {
  const int64_t dim = *c.model->dim, heads = *c.model->heads, patch = c.model->patch_size;
  if (dim % heads != 0)
    fail_usage("model.heads", fmt::format("a divisor of model.dim = {}", dim), std::to_string(heads), "Change one of them");
  if (c.model->stem != "patch" && c.model->stem != "conv")
    fail_usage("model.stem", "patch or conv for a vision transformer", c.model->stem, "Change model.stem or model.arch");
  if (vit_config(c.model->arch, c.model->style).layer_scale > 0 && *c.model->layer_scale <= 0)
    fail_usage("model.layer_scale", "more than 0", fmt::format("{}", *c.model->layer_scale), "auto is the style's");
  const bool grids = c.mask->scheme != "none" || c.gram->weight > 0;  // of whole patches of the image
  const auto multiple = [&](const std::string& key, int64_t size) {
    if (size < patch || (size % patch != 0 && (c.model->fit == "error" || (c.model->fit == "pad" && grids))))
      fail_usage(key, fmt::format("a multiple of model.patch_size = {}", patch), std::to_string(size),
                 grids ? "Change one of them, or let model.fit crop" : "Change one of them, or let model.fit crop or pad");
  };
  if (*c.model->image_size % patch != 0)
    fail_usage("model.image_size", fmt::format("a multiple of model.patch_size = {}", patch), std::to_string(*c.model->image_size),
               "Change one of them");
  multiple("eval.image_size", *c.eval->image_size);
  for (const ViewSizes& sizes : resolutions(c)) {
    multiple(place(c, "views.global_size", sizes), sizes.global);
    if (*c.views->local_count > 0) multiple(place(c, "views.local_size", sizes), sizes.local);
    if (c.gram->weight > 0 && sizes.gram > 0) multiple(place(c, "gram.size", sizes), sizes.gram);
  }
}

// A stage that would be left without a pixel is refused.
void check_convolutional(const Config& c, Family family) {
  if (family == Family::kResNet && c.model->stem != "small" && c.model->stem != "large")
    fail_usage("model.stem", "small or large for a ResNet", c.model->stem, "Change model.stem or model.arch");
  if (family == Family::kResNet) {
    const int64_t part = resnet_config(c.model->arch).features_per_width();
    if (c.model->dim && *c.model->dim % part != 0)
      fail_usage("model.dim", fmt::format("a multiple of {} for {}", part, c.model->arch), std::to_string(*c.model->dim),
                 "Change one of them");
    if (c.model->depth && *c.model->depth % 4 != 0)
      fail_usage("model.depth", fmt::format("a multiple of 4 for {}, as many blocks in each stage", c.model->arch),
                 std::to_string(*c.model->depth), "Change it, or leave it out for those of the architecture");
  }
  if (family == Family::kConvNext && c.model->stem != "patch")
    fail_usage("model.stem", "auto or patch for a ConvNeXt", c.model->stem, "Change model.stem or model.arch");
  const int64_t least = family == Family::kResNet && c.model->stem == "small" ? 8 : 32;
  const auto at_least = [&](const std::string& key, int64_t size) {
    if (size < least)
      fail_usage(key, fmt::format("at least {} pixels for {}", least, c.model->arch), std::to_string(size), "Change one of them");
  };
  at_least("eval.image_size", *c.eval->image_size);
  for (const ViewSizes& sizes : resolutions(c)) {
    at_least(place(c, "views.global_size", sizes), sizes.global);
    if (*c.views->local_count > 0) at_least(place(c, "views.local_size", sizes), sizes.local);
  }
}

// What one part of the method asks of another.
void check_method_keys(const Config& c, uint64_t images) {
  const bool masks = c.mask->scheme != "none", of_masked = std::ranges::count(find_method(train_method(c)).reads, "mask.*") > 0;
  if (*c.loss->patch_weight > 0 && of_masked && !masks)
    fail_usage("loss.patch_weight", "masks for the loss at masked patches", "mask.scheme = none",
               "Choose a mask.scheme, or set the weight to 0");
  if (masks && family_of(c.model->arch) != Family::kVit)
    fail_usage("mask.scheme", fmt::format("none for {}, which has no patches to mask", c.model->arch), c.mask->scheme,
               "Choose a vision transformer, or mask.scheme = none and loss.patch_weight = 0");
  if (c.mask->scheme.starts_with("ibot-") && c.mask->probability != 0.5 && c.mask->probability != 1)
    fail_usage("mask.probability", "0.5 or 1 for iBOT's masks (one of two ratios, the first 0, or one alone)",
               fmt::format("{}", c.mask->probability), "Change mask.probability or mask.scheme");
  if (masks && !(c.mask->ratio_min <= c.mask->ratio_max && c.mask->ratio_max < 1))
    fail_usage("mask.ratio_min", "at most mask.ratio_max, and that below 1", fmt::format("{} and {}", c.mask->ratio_min, c.mask->ratio_max),
               "Correct the two values");
  for (const ViewSizes& sizes : resolutions(c)) {
    if (*c.views->local_count > 0 && sizes.local == sizes.global && masks)
      fail_usage(place(c, "views.local_size", sizes), "another size than views.global_size where patches are masked",
                 std::to_string(sizes.local), "Make the local crops smaller");
    if (!c.views->sizes.empty() && sizes.gram > 0 && c.gram->weight == 0)
      fail_usage(place(c, "gram.size", sizes), "0 where gram.weight is 0", std::to_string(sizes.gram), "Change one of them");
    if (sizes.gram > 0 && (sizes.gram < sizes.global || c.gram->teacher == "ema"))
      fail_usage(place(c, "gram.size", sizes), "0, or at least views.global_size, with a Gram teacher of its own",
                 fmt::format("{} with gram.teacher = \"{}\"", sizes.gram, c.gram->teacher), "Change gram.size or gram.teacher");
  }
  if (c.gram->weight > 0 && family_of(c.model->arch) != Family::kVit)
    fail_usage("gram.weight", fmt::format("0 for {}", c.model->arch), fmt::format("{}", c.gram->weight), "Choose a vision transformer");
  if (c.gram->weight > 0 && c.gram->teacher.empty() && c.model->init_from.empty() && c.gram->first.steps(images, train_batch_size(c)) == 0)
    fail_usage("gram.teacher", "a run folder, checkpoint or weight file, ema, or a gram.first above 0",
               "none, and this run's own network as it is at the start: random",
               "Name one, set gram.first and gram.start, or begin with trained weights (model.init_from)");
  if (c.gram->tokens != "all" && c.gram->group_size == 0)
    fail_usage("gram.tokens", "all, or a gram.group_size above 0 (images differ in their masked patches)", c.gram->tokens,
               "Change one of them");
  const Duration& warm = *c.teacher->warmup_temp_epochs;
  if (const bool whole = warm.unit == Duration::Unit::kEpochs && warm.value == std::floor(warm.value);
      c.teacher->temp_changes == "epoch" && !whole && warm.value > 0)
    fail_usage("teacher.warmup_temp_epochs", "whole epochs where the temperature moves with each epoch", warm.text(),
               "Round it, or set teacher.temp_changes = step");
}

void check_guides(const Config& c) {
  const auto weight = [](const std::string& columns, const char* key, double value) {
    if (!columns.empty() && value <= 0)
      fail_usage(key, "more than 0 where there are columns", fmt::format("{} for {}", value, columns), "Leave the columns out");
  };
  weight(c.guide->learn, "guide.learn_weight", *c.guide->learn_weight);
  weight(c.guide->forget, "guide.forget_weight", *c.guide->forget_weight);
}

void check_optim(const Config& c, uint64_t images) {
  if (c.optim->decay.value <= 0) return;
  const auto steps = [&](const Duration& duration) { return duration.steps(images, train_batch_size(c)); };
  if (c.optim->schedule == "constant")
    fail_usage("optim.decay", "0 for optim.schedule = constant", c.optim->decay.text(), "Change one of them");
  const int64_t rest = steps(train_length(c)) - steps(*c.optim->warmup);
  if (steps(c.optim->decay) > rest)
    fail_usage("optim.decay", fmt::format("at most the {} steps behind the warm-up", rest), fmt::format("{} steps", steps(c.optim->decay)),
               "Shorten it, or train longer");
}

// What goes on from other weights.
void check_init(const Config& c, uint64_t images) {
  const InitConfig& init = *c.init;
  const auto steps = [&](const Duration& duration) { return duration.steps(images, train_batch_size(c)); };
  const int64_t total = steps(train_length(c));
  if (const int64_t until = steps(init.heads_only) + steps(init.unfreeze); until > total)
    fail_usage("init.unfreeze", fmt::format("at most the run's {} steps, with init.heads_only", total), fmt::format("{} steps", until),
               "Shorten them, or train longer");
  if (init.anchor > 0 && find_method(train_method(c)).teacher == TeacherPolicy::kFrozen)
    fail_usage("init.anchor", "0 beside a frozen teacher, which holds the student already", fmt::format("{}", init.anchor), "Leave it out");
  if (init.anchor > 0 && c.gram->weight > 0 && c.gram->teacher != "ema")
    fail_usage("init.anchor", "0 beside a Gram teacher of its own (gram.weight)", fmt::format("{}", init.anchor),
               "Choose one of the two; gram.teacher = ema goes with it");
  if (init.anchor > 0 && init.anchor_form == "gram" && family_of(c.model->arch) != Family::kVit)
    fail_usage("init.anchor_form", fmt::format("features for {}", c.model->arch), init.anchor_form, "Choose a vision transformer for gram");
  if (init.lora_rank == 0) return;
  if (*init.lora_alpha <= 0) fail_usage("init.lora_alpha", "more than 0", fmt::format("{}", *init.lora_alpha), "auto is init.lora_rank");
  if (family_of(c.model->arch) != Family::kVit)
    fail_usage("init.lora_rank", fmt::format("0 for {}: the matrices are those of transformer blocks", c.model->arch),
               std::to_string(init.lora_rank), "Leave it out; init.last_blocks counts stages");
  if (c.optim->name != "adamw")
    fail_usage("init.lora_rank", "optim.name = adamw", fmt::format("optim.name = {}", c.optim->name), "Change one of them");
  if (c.parallel->sync != "ddp")
    fail_usage("init.lora_rank", "parallel.sync = ddp: its products want whole matrices",
               fmt::format("parallel.sync = {}", c.parallel->sync), "Change one of them");
}

}  // namespace

void check_config(const Config& c, uint64_t images) {
  const Family family = family_of(c.model->arch);
  if (c.parallel->sync == "zero3" && family != Family::kVit)
    fail_usage("parallel.sync = zero3", "a vision transformer: it is the weights of its blocks that come and go",
               fmt::format("model.arch = {}", c.model->arch), "Share gradients and states alone (parallel.sync = zero2), or choose one");
  if (family == Family::kVit)
    check_vit(c);
  else
    check_convolutional(c, family);
  const auto ordered = [](const char* key, double low, double high) {
    if (!(low > 0 && low <= high))
      fail_usage(key, "a smallest share above 0 and not above the largest", fmt::format("{} to {}", low, high), "Correct the two values");
  };
  ordered("views.global_scale_min", *c.views->global_scale_min, *c.views->global_scale_max);
  if (*c.views->local_count > 0) ordered("views.local_scale_min", *c.views->local_scale_min, *c.views->local_scale_max);
  check_method_keys(c, images);
  if (const Method& method = find_method(train_method(c)); method.check) method.check(c);
  check_guides(c);
  check_optim(c, images);
  check_init(c, images);
  if (static_cast<uint64_t>(train_batch_size(c)) > images)
    fail_usage("train.batch_size", fmt::format("at most the {} training images", images), std::to_string(train_batch_size(c)),
               "Choose a smaller batch or pack more images");
  if (train_length(c).steps(images, train_batch_size(c)) < 1)
    fail_usage("train.length", "at least one step",
               fmt::format("{} of {} images in batches of {}", train_length(c).text(), images, train_batch_size(c)), "Train longer");
}

}  // namespace dinoxx
