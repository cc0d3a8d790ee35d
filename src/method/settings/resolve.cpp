#include "resolve.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "check_config.hpp"
#include "config/architectures.hpp"
#include "config/train_keys.hpp"
#include "config/vit_config.hpp"
#include "data_pipeline/augment/mask_config.hpp"
#include "data_pipeline/augment/views_config.hpp"
#include "data_pipeline/loader/data_config.hpp"
#include "dinoxx/base/error.hpp"
#include "eval/run/eval_config.hpp"
#include "loss/gram_config.hpp"
#include "loss/loss_config.hpp"
#include "method/guides/guide_config.hpp"
#include "method/methods.hpp"
#include "method/shared/configure_views.hpp"
#include "method/teacher_config.hpp"
#include "model/heads/head_config.hpp"
#include "model/model_config.hpp"
#include "model/weights/facts.hpp"
#include "optim/init_config.hpp"
#include "optim/optim_config.hpp"
#include "train/training_config.hpp"
#include "unread_keys.hpp"

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

// Fills what is still open and notes each key with its reason.
class Resolver {
 public:
  explicit Resolver(const Config& config) : config(config) {}
  template <class T>
  void set(std::string_view key, Auto<T>& value, T chosen, const std::string& why) {
    if (value) return;
    value = chosen;
    if (!why.empty()) chosen_.push_back({std::string(key), why});
  }
  // One line for the keys of one reason; keys that this run does not read are in none.
  std::vector<std::string> notes() const {
    std::vector<std::pair<std::string, std::vector<std::string>>> by_reason;
    for (const auto& [key, why] : chosen_)
      for (const Field& field : config_fields()) {
        if (field.key != key || why_unread(field, config)) continue;
        auto at = std::ranges::find(by_reason, why, [](const auto& known) { return known.first; });
        if (at == by_reason.end()) at = by_reason.insert(by_reason.end(), {why, {}});
        at->second.push_back(fmt::format("{} = {}", key, field.get(config)));
      }
    std::vector<std::string> lines;
    lines.reserve(by_reason.size());
    for (const auto& [why, settings] : by_reason) lines.push_back(fmt::format("{} ({})", fmt::join(settings, ", "), why));
    return lines;
  }
  Config config;

 private:
  std::vector<std::pair<std::string, std::string>> chosen_;
};

// What the style says of what no tensor shows. A network without a fact has its key left open.
void fill_facts(ModelConfig& model, const FactValues& arch) {
  const auto number = [](auto& key, const auto& value) {
    if (!key && value) key = *value;
  };
  const auto word = [](std::string& key, const std::optional<std::string>& value) {
    if (key == "auto" && value) key = *value;
  };
  number(model.norm_eps, arch.norm_eps);
  number(model.rope_base, arch.rope_base);
  word(model.qkv_bias, arch.qkv_bias);
  word(model.position_resize, arch.position_resize);
  word(model.rope_periods, arch.rope_periods);
  word(model.activation, arch.activation);
}

// Values for what is open; nothing is checked.
Resolver filled(const Config& before, uint64_t images, int cores, int world_size) {
  Resolver r(before);
  Config& c = r.config;
  const Family family = family_of(c.model->arch);
  if (!c.views->sizes.empty()) {
    const ViewSizes& main = c.views->sizes_by == "time" ? c.views->sizes.back() : c.views->sizes.front();
    c.views->global_size = main.global;
    if (main.local > 0) c.views->local_size = main.local;  // 0: there are no local crops
    c.gram->size = main.gram;
  }
  const std::string from_arch = "as " + c.model->arch, from_images = fmt::format("for {} images", images);
  if (family == Family::kVit) {
    const VitConfig arch = vit_config(c.model->arch, c.model->style);
    r.set("model.dim", c.model->dim, int64_t{arch.dim}, from_arch);
    r.set("model.depth", c.model->depth, int64_t{arch.depth}, from_arch);
    r.set("model.heads", c.model->heads, int64_t{arch.heads}, from_arch);
    r.set("model.mlp_ratio", c.model->mlp_ratio, arch.mlp_ratio, from_arch);
    r.set("model.registers", c.model->registers, int64_t{arch.registers}, "as style " + c.model->style);
    r.set("model.layer_scale", c.model->layer_scale, arch.layer_scale, "as style " + c.model->style);
    if (c.model->drop_path_form == "auto") c.model->drop_path_form = arch.drop_path_form;
    fill_facts(*c.model, stated_facts(arch));
  }
  if (c.model->activation == "auto") c.model->activation = family == Family::kResNet ? "relu" : "gelu";
  if (c.model->stem == "auto") c.model->stem = family != Family::kResNet ? "patch" : c.views->global_size <= 64 ? "small" : "large";
  r.set("model.image_size", c.model->image_size, c.views->global_size, "as views.global_size");
  r.set("eval.image_size", c.eval->image_size, c.views->global_size, "as views.global_size");

  const MethodDefaults& method = find_method(c.train->method).defaults;
  const std::string from_method = "as " + c.train->method;
  const auto name = [](std::string& value, const std::string& chosen) {
    if (value == "auto") value = chosen;
  };
  name(c.views->profile, method.profile);
  const Normalization input = normalization_of(c);
  c.model->mean = channels_text(input.mean);
  c.model->std = channels_text(input.std);
  r.set("views.global_scale_min", c.views->global_scale_min, method.global_scale_min, from_method);
  r.set("views.global_scale_max", c.views->global_scale_max, method.global_scale_max, from_method);
  r.set<int64_t>("views.local_count", c.views->local_count, method.local_count, from_method);
  r.set("views.local_scale_min", c.views->local_scale_min, method.local_scale_min, from_method);
  r.set("views.local_scale_max", c.views->local_scale_max, method.local_scale_max, from_method);
  name(c.mask->scheme, family == Family::kVit ? method.mask : "none");
  if (c.mask->group_size == 0) c.mask->group_size = std::gcd(int64_t{16}, train_images_at_once(c, std::max(1, world_size)));
  name(c.optim->name, method.optimizer);
  name(c.optim->lr_rule, method.lr_rule);
  name(c.optim->clip_by, method.clip_by);
  name(c.teacher->temp_changes, method.temp_changes);
  name(c.loss->centring, method.centring);
  name(c.loss->patch_centring, c.loss->centring);
  r.set("optim.lr", c.optim->lr, method.lr, from_method);
  r.set("optim.min_lr", c.optim->min_lr, method.min_lr, from_method);
  r.set("optim.weight_decay", c.optim->weight_decay, method.weight_decay, from_method);
  r.set("optim.weight_decay_end", c.optim->weight_decay_end, method.weight_decay_end, from_method);
  r.set("optim.clip", c.optim->clip, method.clip, from_method);
  r.set("optim.layer_decay", c.optim->layer_decay, method.layer_decay, from_method);
  r.set("optim.patch_embed_lr", c.optim->patch_embed_lr, method.patch_embed_lr, from_method);
  r.set("loss.patch_weight", c.loss->patch_weight, c.mask->scheme == "none" && method.mask != "none" ? 0.0 : method.patch_weight,
        from_method);
  r.set("loss.koleo_weight", c.loss->koleo_weight, method.koleo_weight, from_method);
  r.set("loss.coding_weight", c.loss->coding_weight, method.coding_weight, from_method);
  r.set("loss.coding_eps", c.loss->coding_eps, method.coding_eps, from_method);
  r.set("loss.sigreg_weight", c.loss->sigreg_weight, method.sigreg_weight, from_method);
  if (method.out_dim > 0) r.set<int64_t>("head.out_dim", c.head->out_dim, method.out_dim, from_method);
  r.set("head.out_dim", c.head->out_dim, prototypes_for(images), from_images);
  r.set<int64_t>("head.hidden_dim", c.head->hidden_dim, method.hidden_dim, from_method);
  r.set<int64_t>("head.bottleneck_dim", c.head->bottleneck_dim, method.bottleneck_dim, from_method);
  r.set<int64_t>("head.layers", c.head->layers, method.layers, from_method);
  r.set("head.batch_norm", c.head->batch_norm, method.batch_norm, from_method);
  r.set("head.shared", c.head->shared, method.shared_head, from_method);
  r.set("head.norm_last_layer", c.head->norm_last_layer, method.norm_last_layer, from_method);
  r.set("head.weight_norm", c.head->weight_norm, method.weight_norm, from_method);
  if (method.predictor_hidden_dim > 0)
    r.set<int64_t>("head.predictor_hidden_dim", c.head->predictor_hidden_dim, method.predictor_hidden_dim, from_method);
  r.set("head.predictor_hidden_dim", c.head->predictor_hidden_dim, *c.head->hidden_dim, "as head.hidden_dim");
  r.set("head.patch_out_dim", c.head->patch_out_dim, *c.head->out_dim, "as head.out_dim");
  r.set("head.patch_hidden_dim", c.head->patch_hidden_dim, *c.head->hidden_dim, "as head.hidden_dim");
  r.set("head.patch_bottleneck_dim", c.head->patch_bottleneck_dim, *c.head->bottleneck_dim, "as head.bottleneck_dim");

  const int64_t total = c.train->length.steps(images, c.train->batch_size);
  const auto steps = [](int64_t n) { return Duration{static_cast<double>(n), Duration::Unit::kSteps}; };
  r.set("optim.warmup", c.optim->warmup, steps(std::min<int64_t>(12500, total / 10)), fmt::format("of {} steps", total));
  r.set("optim.freeze_last_layer", c.optim->freeze_last_layer, steps(std::min<int64_t>(1250, total / 10)),
        fmt::format("of {} steps", total));
  r.set("teacher.momentum", c.teacher->momentum, by_size(images, std::min(0.99, method.momentum), method.momentum), from_images);
  r.set("teacher.temp", c.teacher->temp, by_size(images, 0.02, 0.07), from_images);
  r.set("teacher.warmup_temp", c.teacher->warmup_temp, std::min(*c.teacher->temp, by_size(images, 0.02, 0.04)), from_images);
  r.set("teacher.patch_temp", c.teacher->patch_temp, *c.teacher->temp, "as teacher.temp");
  r.set("teacher.patch_warmup_temp", c.teacher->patch_warmup_temp, std::min(*c.teacher->patch_temp, *c.teacher->warmup_temp),
        "as teacher.warmup_temp");
  const double steps_per_epoch = static_cast<double>(images) / static_cast<double>(c.train->batch_size);
  const double temp_warmup = std::min(37500.0, 0.3 * static_cast<double>(total)) / steps_per_epoch;
  // in parts of an epoch, six decimals that lose no step: an epoch of a large set is longer than the whole warm-up
  r.set("teacher.warmup_temp_epochs", c.teacher->warmup_temp_epochs,
        {c.teacher->temp_changes == "epoch" ? std::round(temp_warmup) : std::ceil(temp_warmup * 1e6 - 1e-3) / 1e6, Duration::Unit::kEpochs},
        fmt::format("of {} steps", total));
  r.set("guide.learn_weight", c.guide->learn_weight, 0.1 * method.loss_size, from_method);
  r.set("guide.forget_weight", c.guide->forget_weight, (c.guide->forget_by == "distance" ? 1 : 0.1) * method.loss_size, from_method);
  r.set("guide.ramp", c.guide->ramp, steps(total), fmt::format("of {} steps", total));
  r.set("init.lora_alpha", c.init->lora_alpha, static_cast<double>(c.init->lora_rank), "as init.lora_rank");
  r.set("loss.local_weight_end", c.loss->local_weight_end, c.loss->local_weight, "");
  r.set<int64_t>("train.threads", c.train->threads, std::max(1, cores), "this rank's cores");
  // beside a GPU the cores have nothing else to do but to feed it, one thread launches and one runs backward
  r.set<int64_t>("data.workers", c.data->workers, std::max(1, c.train->device == "cuda" ? cores - 2 : cores / 8),
                 fmt::format("of {} cores", cores));
  return r;
}

}  // namespace

Config resolve_config(const Config& before, uint64_t images, int cores, std::vector<std::string>* notes, int world_size) {
  if (images == 0) fail_usage("training images", "at least one", "none", "Pack images into the split \"train\"");
  const Resolver r = filled(before, images, cores, world_size);
  check_config(r.config, images);
  if (notes) *notes = r.notes();
  return r.config;
}

Config resolve_unchecked(const Config& before, uint64_t images, int cores, int world_size) {
  return filled(before, images, cores, world_size).config;
}

Config settled(const Config& saved) {
  return resolve_unchecked(saved, 1'000'000, 1, 1);  // values that follow from the number of images have always been saved
}

}  // namespace dinoxx
