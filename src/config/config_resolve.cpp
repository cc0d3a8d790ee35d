#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "architectures.hpp"
#include "config.hpp"
#include "config_fields.hpp"
#include "dinoxx/base/error.hpp"
#include "method_defaults.hpp"
#include "vit_config.hpp"

namespace dinoxx {
namespace {

// lightly-train, _methods/dino/dino.py
int64_t prototypes_for(uint64_t images) {
  if (images < 20'000) return 1024;
  if (images < 50'000) return 2048;
  if (images < 100'000) return 4096;
  if (images < 200'000) return 16384;
  if (images < 500'000) return 32768;
  return 65536;
}

// Linear in the number of images between a set of 20,000 and one of a million; rounded so that a config file reads well.
double by_size(uint64_t images, double small, double large) {
  const double share = std::clamp((static_cast<double>(images) - 20e3) / (1e6 - 20e3), 0.0, 1.0);
  return std::round((small + share * (large - small)) * 1e6) / 1e6;
}

// Fills what is still open and notes each key with its new value, those of one reason in one line.
class Resolver {
 public:
  explicit Resolver(const Config& config) : config(config) {}
  template <class T>
  void set(std::string_view key, Auto<T>& value, T chosen, const std::string& why) {
    if (value) return;
    value = chosen;
    if (why.empty()) return;  // a part that this method does not use
    for (const Field& field : config_fields())
      if (field.key == key) note(fmt::format("{} = {}", key, field.get(config)), why);
  }
  std::vector<std::string> notes() const {
    std::vector<std::string> lines;
    for (const auto& [why, settings] : notes_) lines.push_back(fmt::format("{} ({})", fmt::join(settings, ", "), why));
    return lines;
  }
  Config config;

 private:
  void note(std::string setting, const std::string& why) {
    for (auto& [known, settings] : notes_)
      if (known == why) return settings.push_back(std::move(setting));
    notes_.push_back({why, {std::move(setting)}});
  }
  std::vector<std::pair<std::string, std::vector<std::string>>> notes_;
};

// Where a size comes from: a key of its own, or an entry of views.sizes.
std::string place(const Config& c, const char* key, const ViewSizes& sizes) {
  return c.views.sizes.empty() ? key : fmt::format("views.sizes, {} ({})", sizes.text(), key);
}

void check_vit(const Config& c) {
  const int64_t dim = *c.model.dim, heads = *c.model.heads, patch = c.model.patch_size;
  if (dim % heads != 0)
    fail_usage("model.heads", fmt::format("a divisor of model.dim = {}", dim), std::to_string(heads), "Change one of them");
  if (c.model.stem != "patch" && c.model.stem != "conv")
    fail_usage("model.stem", "patch or conv for a vision transformer", c.model.stem, "Change model.stem or model.arch");
  const bool grids = c.mask.scheme != "none" || c.gram.weight > 0;  // of whole patches of the image
  const auto multiple = [&](const std::string& key, int64_t size) {
    if (size < patch || (size % patch != 0 && (c.model.fit == "error" || (c.model.fit == "pad" && grids))))
      fail_usage(key, fmt::format("a multiple of model.patch_size = {}", patch), std::to_string(size),
                 grids ? "Change one of them, or let model.fit crop" : "Change one of them, or let model.fit crop or pad");
  };
  if (*c.model.image_size % patch != 0)
    fail_usage("model.image_size", fmt::format("a multiple of model.patch_size = {}", patch), std::to_string(*c.model.image_size),
               "Change one of them");
  for (const ViewSizes& sizes : resolutions(c)) {
    multiple(place(c, "views.global_size", sizes), sizes.global);
    if (*c.views.local_count > 0) multiple(place(c, "views.local_size", sizes), sizes.local);
    if (c.gram.weight > 0 && sizes.gram > 0) multiple(place(c, "gram.size", sizes), sizes.gram);
  }
}

// Keys that only a vision transformer has must not be set in vain; a stage that would be left without a pixel is refused.
void check_convolutional(const Config& c, Family family) {
  const auto only_vit = [&](bool given, const char* key) {
    if (given) fail_usage(key, "nothing: it is a key of vision transformers", "a value", fmt::format("Leave it out for {}", c.model.arch));
  };
  only_vit(c.model.dim.has_value(), "model.dim");
  only_vit(c.model.depth.has_value(), "model.depth");
  only_vit(c.model.heads.has_value(), "model.heads");
  only_vit(c.model.mlp_ratio.has_value(), "model.mlp_ratio");
  only_vit(c.model.registers.has_value(), "model.registers");
  only_vit(c.model.recompute, "model.recompute");
  only_vit(c.model.style != "dino", "model.style");
  if (family == Family::kResNet && c.model.stem != "small" && c.model.stem != "large")
    fail_usage("model.stem", "small or large for a ResNet", c.model.stem, "Change model.stem or model.arch");
  if (family == Family::kConvNext && c.model.stem != "patch")
    fail_usage("model.stem", "auto or patch for a ConvNeXt", c.model.stem, "Change model.stem or model.arch");
  const int64_t least = family == Family::kResNet && c.model.stem == "small" ? 8 : 32;
  const auto at_least = [&](const std::string& key, int64_t size) {
    if (size < least)
      fail_usage(key, fmt::format("at least {} pixels for {}", least, c.model.arch), std::to_string(size), "Change one of them");
  };
  for (const ViewSizes& sizes : resolutions(c)) {
    at_least(place(c, "views.global_size", sizes), sizes.global);
    if (*c.views.local_count > 0) at_least(place(c, "views.local_size", sizes), sizes.local);
  }
}

bool has_prototypes(const std::string& method) {
  return method != "byol" && method != "simclr";
}

// Keys of a part that this run does not have would be set in vain.
void check_unused_keys(const Config& c) {
  const auto unused = [](bool given, const std::string& key, const std::string& expected, const std::string& found) {
    if (given) fail_usage(key, expected, found, "Leave it out");
  };
  const auto number = [](double value) { return fmt::format("{}", value); };
  const LossConfig& loss = c.loss;
  if (!has_prototypes(c.train.method)) {
    const std::string of = " for " + c.train.method;
    unused(c.mask.scheme != "none", "mask.scheme", "none" + of, c.mask.scheme);
    unused(c.gram.weight > 0, "gram.weight", "0" + of, number(c.gram.weight));
    unused(*loss.patch_weight > 0, "loss.patch_weight", "0" + of, number(*loss.patch_weight));
    unused(*loss.koleo_weight > 0, "loss.koleo_weight", "0" + of, number(*loss.koleo_weight));
    unused(loss.centring != "centre", "loss.centring", "nothing" + of, loss.centring);
    unused(loss.patch_centring != "centre", "loss.patch_centring", "nothing" + of, loss.patch_centring);
    unused(loss.local_weight != 1, "loss.local_weight", "nothing" + of, number(loss.local_weight));
    unused(*loss.local_weight_end != 1, "loss.local_weight_end", "nothing" + of, number(*loss.local_weight_end));
  }
  unused(c.train.method != "distill" && !c.teacher.distill.empty(), "teacher.distill", "nothing for " + c.train.method, c.teacher.distill);
  if (c.gram.weight > 0) return;
  unused(!c.gram.teacher.empty(), "gram.teacher", "nothing where gram.weight is 0", c.gram.teacher);
  for (const ViewSizes& sizes : resolutions(c))
    unused(sizes.gram > 0, place(c, "gram.size", sizes), "0 where gram.weight is 0", std::to_string(sizes.gram));
}

// What one part of the method asks of another.
void check_method_keys(const Config& c, uint64_t images) {
  check_unused_keys(c);
  const bool masks = c.mask.scheme != "none";
  if (*c.loss.patch_weight > 0 && !masks)
    fail_usage("loss.patch_weight", "masks for the loss at masked patches", "mask.scheme = none",
               "Choose a mask.scheme, or set the weight to 0");
  if (c.train.method == "ibot" && *c.loss.patch_weight == 0)
    fail_usage("loss.patch_weight", "more than 0 for train.method = ibot, and masks on a vision transformer",
               fmt::format("0 for {} with mask.scheme = {}", c.model.arch, c.mask.scheme),
               "Give it a weight, or set train.method = dino, which is iBOT without it");
  if (masks && family_of(c.model.arch) != Family::kVit)
    fail_usage("mask.scheme", fmt::format("none for {}, which has no patches to mask", c.model.arch), c.mask.scheme,
               "Choose a vision transformer, or mask.scheme = none and loss.patch_weight = 0");
  if (c.mask.scheme.starts_with("ibot") && c.mask.probability != 0.5 && c.mask.probability != 1)
    fail_usage("mask.probability", "0.5 or 1 for iBOT's masks (one of two ratios, the first 0, or one alone)",
               fmt::format("{}", c.mask.probability), "Change mask.probability or mask.scheme");
  if (masks && !(c.mask.ratio_min <= c.mask.ratio_max && c.mask.ratio_max < 1))
    fail_usage("mask.ratio_min", "at most mask.ratio_max, and that below 1", fmt::format("{} and {}", c.mask.ratio_min, c.mask.ratio_max),
               "Correct the two values");
  if (masks && c.mask.shift && c.mask.scheme.starts_with("ibot"))
    fail_usage("mask.shift", "no for iBOT's masks, which lie anywhere", "yes", "Leave it out, or choose mask.scheme dinov2 or dinov3");
  for (const ViewSizes& sizes : resolutions(c)) {
    if (*c.views.local_count > 0 && sizes.local == sizes.global && masks)
      fail_usage(place(c, "views.local_size", sizes), "another size than views.global_size where patches are masked",
                 std::to_string(sizes.local), "Make the local crops smaller");
    if (sizes.gram > 0 && (sizes.gram < sizes.global || c.gram.teacher == "ema"))
      fail_usage(place(c, "gram.size", sizes), "0, or at least views.global_size, with a Gram teacher of its own",
                 fmt::format("{} with gram.teacher = \"{}\"", sizes.gram, c.gram.teacher), "Change gram.size or gram.teacher");
  }
  if (c.gram.weight > 0 && family_of(c.model.arch) != Family::kVit)
    fail_usage("gram.weight", fmt::format("0 for {}", c.model.arch), fmt::format("{}", c.gram.weight), "Choose a vision transformer");
  if (c.gram.weight > 0 && c.gram.teacher.empty() && c.model.init_from.empty() && c.gram.first.steps(images, c.train.batch_size) == 0)
    fail_usage("gram.teacher", "a run folder, checkpoint or weight file, ema, or a gram.first above 0",
               "none, and this run's own network as it is at the start: random",
               "Name one, set gram.first and gram.start, or begin with trained weights (model.init_from)");
  if (c.gram.tokens != "all" && c.gram.group_size == 0)
    fail_usage("gram.tokens", "all, or a gram.group_size above 0 (images differ in their masked patches)", c.gram.tokens,
               "Change one of them");
  const Duration& warm = *c.teacher.warmup_temp_epochs;
  if (const bool whole = warm.unit == Duration::Unit::kEpochs && warm.value == std::floor(warm.value);
      c.teacher.temp_changes == "epoch" && !whole && warm.value > 0)
    fail_usage("teacher.warmup_temp_epochs", "whole epochs where the temperature moves with each epoch", warm.text(),
               "Round it, or set teacher.temp_changes = step");
  if (c.head.norm_output && c.train.method != "simclr")
    fail_usage("head.norm_output", "no for another method than simclr", fmt::format("yes for {}", c.train.method), "Leave it out");
  if (c.train.method == "distill" && c.teacher.distill.empty())
    fail_usage("teacher.distill", "the frozen teacher for train.method = distill", "nothing", "Name a run folder or a teacher.safetensors");
}

void check_optim(const Config& c, uint64_t images) {
  if (c.optim.decay.value <= 0) return;
  const auto steps = [&](const Duration& duration) { return duration.steps(images, c.train.batch_size); };
  if (c.optim.schedule == "constant")
    fail_usage("optim.decay", "0 for optim.schedule = constant", c.optim.decay.text(), "Change one of them");
  const int64_t rest = steps(c.train.length) - steps(*c.optim.warmup);
  if (steps(c.optim.decay) > rest)
    fail_usage("optim.decay", fmt::format("at most the {} steps behind the warm-up", rest), fmt::format("{} steps", steps(c.optim.decay)),
               "Shorten it, or train longer");
}

void check_together(const Config& c, uint64_t images) {
  const Family family = family_of(c.model.arch);
  if (family == Family::kVit)
    check_vit(c);
  else
    check_convolutional(c, family);
  const auto ordered = [](const char* key, double low, double high) {
    if (!(low > 0 && low <= high))
      fail_usage(key, "a smallest share above 0 and not above the largest", fmt::format("{} to {}", low, high), "Correct the two values");
  };
  ordered("views.global_scale_min", *c.views.global_scale_min, *c.views.global_scale_max);
  if (*c.views.local_count > 0) ordered("views.local_scale_min", *c.views.local_scale_min, *c.views.local_scale_max);
  check_method_keys(c, images);
  check_optim(c, images);
  if (static_cast<uint64_t>(c.train.batch_size) > images)
    fail_usage("train.batch_size", fmt::format("at most the {} training images", images), std::to_string(c.train.batch_size),
               "Choose a smaller batch or pack more images");
  if (c.train.length.steps(images, c.train.batch_size) < 1)
    fail_usage("train.length", "at least one step",
               fmt::format("{} of {} images in batches of {}", c.train.length.text(), images, c.train.batch_size), "Train longer");
}

// Values for what is open; nothing is checked.
Resolver filled(const Config& before, uint64_t images, int cores, int world_size) {
  Resolver r(before);
  Config& c = r.config;
  const Family family = family_of(c.model.arch);
  if (!c.views.sizes.empty()) {
    const ViewSizes& first = c.views.sizes.front();
    c.views.global_size = first.global;
    if (first.local > 0) c.views.local_size = first.local;  // 0: there are no local crops
    c.gram.size = first.gram;
  }
  const std::string from_arch = "as " + c.model.arch, from_images = fmt::format("for {} images", images);
  if (family == Family::kVit) {
    const VitConfig arch = vit_config(c.model.arch, c.model.style);
    r.set("model.dim", c.model.dim, int64_t{arch.dim}, from_arch);
    r.set("model.depth", c.model.depth, int64_t{arch.depth}, from_arch);
    r.set("model.heads", c.model.heads, int64_t{arch.heads}, from_arch);
    r.set("model.mlp_ratio", c.model.mlp_ratio, arch.mlp_ratio, from_arch);
    r.set("model.registers", c.model.registers, int64_t{arch.registers}, "as style " + c.model.style);
    if (c.model.drop_path_form == "auto") c.model.drop_path_form = arch.drop_path_form;
  }
  if (c.model.stem == "auto") c.model.stem = family != Family::kResNet ? "patch" : c.views.global_size <= 64 ? "small" : "large";
  r.set("model.image_size", c.model.image_size, c.views.global_size, "as views.global_size");

  const MethodDefaults& method = method_defaults(c.train.method);
  const std::string from_method = "as " + c.train.method;
  const auto name = [](std::string& value, const std::string& chosen) {
    if (value == "auto") value = chosen;
  };
  name(c.views.profile, method.profile);
  r.set("views.global_scale_min", c.views.global_scale_min, method.global_scale_min, from_method);
  r.set("views.global_scale_max", c.views.global_scale_max, 1.0, from_method);
  r.set<int64_t>("views.local_count", c.views.local_count, method.local_count, from_method);
  r.set("views.local_scale_min", c.views.local_scale_min, 0.05, from_method);
  r.set("views.local_scale_max", c.views.local_scale_max, method.local_scale_max, from_method);
  name(c.mask.scheme, family == Family::kVit ? method.mask : "none");
  if (c.mask.group_size == 0) c.mask.group_size = std::gcd(int64_t{16}, c.train.batch_size / std::max(1, world_size));
  name(c.optim.name, method.optimizer);
  name(c.optim.lr_rule, method.lr_rule);
  name(c.optim.clip_by, method.clip_by);
  name(c.teacher.temp_changes, method.temp_changes);
  name(c.loss.centring, method.centring);
  name(c.loss.patch_centring, c.loss.centring);
  r.set("optim.lr", c.optim.lr, method.lr, from_method);
  r.set("optim.min_lr", c.optim.min_lr, method.min_lr, from_method);
  r.set("optim.weight_decay", c.optim.weight_decay, method.weight_decay, from_method);
  r.set("optim.weight_decay_end", c.optim.weight_decay_end, method.weight_decay_end, from_method);
  r.set("optim.clip", c.optim.clip, method.clip, from_method);
  r.set("optim.layer_decay", c.optim.layer_decay, method.layer_decay, from_method);
  r.set("optim.patch_embed_lr", c.optim.patch_embed_lr, method.patch_embed_lr, from_method);
  r.set("loss.patch_weight", c.loss.patch_weight, c.mask.scheme == "none" ? 0.0 : method.patch_weight, from_method);
  r.set("loss.koleo_weight", c.loss.koleo_weight, method.koleo_weight, from_method);
  if (method.out_dim > 0) r.set<int64_t>("head.out_dim", c.head.out_dim, method.out_dim, from_method);
  r.set("head.out_dim", c.head.out_dim, prototypes_for(images), from_images);
  r.set<int64_t>("head.hidden_dim", c.head.hidden_dim, method.hidden_dim, from_method);
  r.set("head.shared", c.head.shared, method.shared_head, from_method);
  const bool prototypes = has_prototypes(method.name);
  r.set("head.norm_last_layer", c.head.norm_last_layer, method.norm_last_layer, prototypes ? from_method : "");
  r.set("head.weight_norm", c.head.weight_norm, method.name != "dinov3", prototypes ? from_method : "");
  r.set("head.predictor_hidden_dim", c.head.predictor_hidden_dim, *c.head.hidden_dim, method.name == "byol" ? "as head.hidden_dim" : "");
  const bool patches = *c.loss.patch_weight > 0, patch_head = patches && !*c.head.shared;
  r.set("head.patch_out_dim", c.head.patch_out_dim, *c.head.out_dim, patch_head ? "as head.out_dim" : "");
  r.set("head.patch_hidden_dim", c.head.patch_hidden_dim, *c.head.hidden_dim, patch_head ? "as head.hidden_dim" : "");
  r.set("head.patch_bottleneck_dim", c.head.patch_bottleneck_dim, c.head.bottleneck_dim, patch_head ? "as head.bottleneck_dim" : "");

  const int64_t total = c.train.length.steps(images, c.train.batch_size);
  const auto steps = [](int64_t n) { return Duration{static_cast<double>(n), Duration::Unit::kSteps}; };
  r.set("optim.warmup", c.optim.warmup, steps(std::min<int64_t>(12500, total / 10)), fmt::format("of {} steps", total));
  r.set("optim.freeze_last_layer", c.optim.freeze_last_layer, steps(std::min<int64_t>(1250, total / 10)),
        fmt::format("of {} steps", total));
  r.set("teacher.momentum", c.teacher.momentum, by_size(images, std::min(0.99, method.momentum), method.momentum), from_images);
  r.set("teacher.temp", c.teacher.temp, by_size(images, 0.02, 0.07), from_images);
  r.set("teacher.warmup_temp", c.teacher.warmup_temp, std::min(*c.teacher.temp, by_size(images, 0.02, 0.04)), from_images);
  r.set("teacher.patch_temp", c.teacher.patch_temp, *c.teacher.temp, patches ? "as teacher.temp" : "");
  r.set("teacher.patch_warmup_temp", c.teacher.patch_warmup_temp, std::min(*c.teacher.patch_temp, *c.teacher.warmup_temp),
        patches ? "as teacher.warmup_temp" : "");
  const double steps_per_epoch = static_cast<double>(images) / static_cast<double>(c.train.batch_size);
  const double temp_warmup = std::min(37500.0, 0.3 * static_cast<double>(total)) / steps_per_epoch;
  // in parts of an epoch, six decimals that lose no step: an epoch of a large set is longer than the whole warm-up
  r.set("teacher.warmup_temp_epochs", c.teacher.warmup_temp_epochs,
        {c.teacher.temp_changes == "epoch" ? std::round(temp_warmup) : std::ceil(temp_warmup * 1e6 - 1e-3) / 1e6, Duration::Unit::kEpochs},
        fmt::format("of {} steps", total));
  r.set("loss.local_weight_end", c.loss.local_weight_end, c.loss.local_weight, "");
  r.set<int64_t>("train.threads", c.train.threads, std::max(1, cores), "this rank's cores");
  r.set<int64_t>("data.workers", c.data.workers, std::max(1, cores / 8), fmt::format("of {} cores", cores));
  return r;
}

}  // namespace

Config resolve_config(const Config& before, uint64_t images, int cores, std::vector<std::string>* notes, int world_size) {
  if (images == 0) fail_usage("training images", "at least one", "none", "Pack images into the split \"train\"");
  const Resolver r = filled(before, images, cores, world_size);
  check_together(r.config, images);
  if (notes) *notes = r.notes();
  return r.config;
}

Config settled(const Config& saved) {
  return filled(saved, 1'000'000, 1, 1).config;  // values that follow from the number of images have always been saved
}

}  // namespace dinoxx
