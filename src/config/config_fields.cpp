#include "config_fields.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "architectures.hpp"
#include "config_conditions.hpp"
#include "vit_config.hpp"

namespace dinoxx {
namespace {

constexpr double kNoLimit = std::numeric_limits<double>::infinity();
struct Range {
  double min = -kNoLimit, max = kNoLimit;
};

std::string range_text(const Range& range, std::string_view kind) {
  if (range.min == -kNoLimit) return fmt::format("{}", kind);
  if (range.max == kNoLimit) return fmt::format("{} >= {}", kind, range.min);
  return fmt::format("{} from {} to {}", kind, range.min, range.max);
}

void read(std::string_view text, int64_t& value, const Range& range) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || static_cast<double>(value) < range.min ||
      static_cast<double>(value) > range.max)
    throw std::invalid_argument(range_text(range, "an integer"));
}
void read(std::string_view text, double& value, const Range& range) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value) || value < range.min || value > range.max)
    throw std::invalid_argument(range_text(range, "a number"));
}
void read(std::string_view text, bool& value, const Range&) {
  if (text == "yes" || text == "true" || text == "on" || text == "1")
    value = true;
  else if (text == "no" || text == "false" || text == "off" || text == "0")
    value = false;
  else
    throw std::invalid_argument("yes or no");
}
void read(std::string_view text, Duration& value, const Range&) {
  value = Duration::parse(text);
}
// GLOBALxLOCALxGRAM:SHARE
void read(std::string_view text, ViewSizes& value, const Range&) {
  const std::string whole(text);
  const auto part = [&](auto& number, char end, const Range& range) {
    const size_t at = end == '\0' ? text.size() : text.find(end);
    if (at == std::string_view::npos) throw std::invalid_argument(fmt::format("\"{}\" behind it", end));
    read(text.substr(0, at), number, range);
    text.remove_prefix(std::min(at + 1, text.size()));
  };
  try {
    part(value.global, 'x', {1, 16384});
    part(value.local, 'x', {0, 16384});
    part(value.gram, ':', {0, 16384});
    part(value.share, '\0', {0.001, 1000});
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(
        fmt::format("GLOBALxLOCALxGRAM:SHARE, comma, the next, such as 512x112x768:0.3, and not \"{}\" ({})", whole, error.what()));
  }
}
template <class T>
void read(std::string_view text, std::vector<T>& value, const Range& range) {
  std::vector<T> list;
  if (std::is_same_v<T, ViewSizes> && text.empty()) return value.clear();
  while (true) {
    const size_t comma = text.find(',');
    std::string_view item = text.substr(0, comma);
    while (!item.empty() && item.front() == ' ') item.remove_prefix(1);
    while (!item.empty() && item.back() == ' ') item.remove_suffix(1);
    read(item, list.emplace_back(), range);
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
  }
  value = std::move(list);
}
template <class T>
void read(std::string_view text, Auto<T>& value, const Range& range) {
  if (text == "auto") {
    value.reset();
    return;
  }
  T inner{};
  try {
    read(text, inner, range);
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(std::string(error.what()) + ", or auto");
  }
  value = inner;
}

std::string write(int64_t value) {
  return std::to_string(value);
}
std::string write(double value) {
  return fmt::format("{}", value);
}
std::string write(bool value) {
  return value ? "yes" : "no";
}
std::string write(const Duration& value) {
  return value.text();
}
std::string write(const std::vector<int64_t>& value) {
  return fmt::format("{}", fmt::join(value, ","));
}
std::string write(const std::vector<ViewSizes>& value) {
  std::string text;
  for (const ViewSizes& sizes : value) text += (text.empty() ? "" : ", ") + sizes.text();
  return text;
}
template <class T>
std::string write(const Auto<T>& value) {
  return value ? write(*value) : "auto";
}

std::string type_name(const int64_t*) {
  return "integer";
}
std::string type_name(const double*) {
  return "number";
}
std::string type_name(const bool*) {
  return "yes|no";
}
std::string type_name(const Duration*) {
  return "duration";
}
template <class T>
std::string type_name(const std::vector<T>*) {
  return "list";
}
template <class T>
std::string type_name(const Auto<T>*) {
  return type_name(static_cast<const T*>(nullptr)) + "|auto";
}

template <auto Part, auto Member>
Field field(std::string key, std::string default_text, std::string help, Range range = {}) {
  using Value = std::remove_cvref_t<decltype((std::declval<Config>().*Part).*Member)>;
  Field f{std::move(key), type_name(static_cast<const Value*>(nullptr)), std::move(default_text), std::move(help), true, {}, {}};
  f.set = [range](Config& config, std::string_view text) { read(text, (config.*Part).*Member, range); };
  f.get = [](const Config& config) { return write((config.*Part).*Member); };
  return f;
}

template <auto Part, auto Member>
Field choice(std::string key, std::string default_text, std::vector<std::string> names, std::string help) {
  Field f{std::move(key), fmt::format("{}", fmt::join(names, "|")), std::move(default_text), std::move(help), true, {}, {}};
  f.set = [names](Config& config, std::string_view text) {
    for (const std::string& name : names) {
      if (text != name) continue;
      (config.*Part).*Member = name;
      return;
    }
    throw std::invalid_argument(fmt::format("one of {}", fmt::join(names, ", ")));
  };
  f.get = [](const Config& config) { return (config.*Part).*Member; };
  return f;
}

/// Free text, such as a path; empty: none.
template <auto Part, auto Member>
Field text(std::string key, std::string help, std::string default_text = "") {
  Field f{std::move(key), "text", std::move(default_text), std::move(help), true, {}, {}};
  f.set = [](Config& config, std::string_view value) { (config.*Part).*Member = std::string(value); };
  f.get = [](const Config& config) { return (config.*Part).*Member; };
  return f;
}

/// A name that a module above knows, which also refuses an unknown one (method/settings/resolve.hpp).
template <auto Part, auto Member>
Field name(std::string key, std::string default_text, std::string help) {
  Field f{std::move(key), "name", std::move(default_text), std::move(help), true, {}, {}};
  f.set = [](Config& config, std::string_view value) {
    if (value.empty()) throw std::invalid_argument("a name");
    (config.*Part).*Member = std::string(value);
  };
  f.get = [](const Config& config) { return (config.*Part).*Member; };
  return f;
}

/// A bare number of a duration is epochs: the key once took nothing else, and saved runs have it so.
Field bare_epochs(Field f) {
  f.set = [set = f.set](Config& config, std::string_view text) {
    const bool bare = !text.empty() && text.find_first_not_of("0123456789.e-") == std::string_view::npos;
    set(config, bare ? std::string(text) + "ep" : std::string(text));
  };
  return f;
}

Field not_training(Field f) {
  f.training = false;
  return f;
}

Field shapes_network(Field f) {
  f.shapes_network = true;
  return f;
}

Field of_method(Field f) {
  f.of_method = true;
  return f;
}

Field when(std::vector<Condition> conditions, Field f) {
  f.read_where = std::move(conditions);
  return f;
}

std::vector<Field> make_fields() {
  constexpr auto model = &Config::model;
  constexpr auto head = &Config::head;
  constexpr auto views = &Config::views;
  constexpr auto mask = &Config::mask;
  constexpr auto optim = &Config::optim;
  constexpr auto teacher = &Config::teacher;
  constexpr auto loss = &Config::loss;
  constexpr auto gram = &Config::gram;
  constexpr auto train = &Config::train;
  constexpr auto data = &Config::data;
  constexpr auto ckpt = &Config::checkpoint;
  constexpr auto eval = &Config::eval;
  constexpr Range positive{1, 1e9}, count{0, 1e9}, share{0, 1}, not_negative{0, kNoLimit}, size{1, 16384}, temperature{1e-6, 1e3};
  std::vector<Field> fields = {
      shapes_network(choice<model, &ModelConfig::arch>("model.arch", "vit_small", architectures(), "network by name")),
      when({where::vision_transformer()},
           shapes_network(choice<model, &ModelConfig::style>(
               "model.style", "dino", vit_styles(),
               "generation of a vision transformer: positions, registers, LayerScale and feed-forward part as in that paper"))),
      when({where::vision_transformer()},
           shapes_network(field<model, &ModelConfig::dim>("model.dim", "auto", "width; auto: the architecture's", positive))),
      when({where::vision_transformer()}, shapes_network(field<model, &ModelConfig::depth>(
                                              "model.depth", "auto", "number of blocks; auto: the architecture's", positive))),
      when({where::vision_transformer()},
           field<model, &ModelConfig::heads>("model.heads", "auto", "attention heads, a divisor of the width; auto: the architecture's",
                                             positive)),
      when({where::vision_transformer()},
           shapes_network(field<model, &ModelConfig::patch_size>("model.patch_size", "16", "patch, pixels", size))),
      when({where::learned_positions()},
           shapes_network(field<model, &ModelConfig::image_size>(
               "model.image_size", "auto", "size for which positions are learned, pixels; auto: views.global_size", size))),
      when({where::vision_transformer()},
           shapes_network(field<model, &ModelConfig::mlp_ratio>(
               "model.mlp_ratio", "auto", "hidden width of a block's MLP over its width; auto: the architecture's", {0.01, 64}))),
      when({where::no_resnet()}, field<model, &ModelConfig::drop_path>(
                                     "model.drop_path", "0.1",
                                     "stochastic depth: in style dino and ConvNeXt of the last block, linear from 0 in the first; "
                                     "in the others of every block; ResNets have none",
                                     {0, 0.99})),
      when({where::vision_transformer(), where::stochastic_depth()},
           choice<model, &ModelConfig::drop_path_form>(
               "model.drop_path_form", "auto", {"auto", "mask", "subset"},
               "mask: each image by a draw of its own; subset: a fixed share of the images runs; auto: the style's")),
      when({where::vision_transformer(), where::stochastic_depth(), where::subset_of_images()},
           field<model, &ModelConfig::drop_path_group>(
               "model.drop_path_group", "0",
               "subset: consecutive images of which the share runs, a divisor of a rank's batch; 0: a rank's batch, as released", count)),
      shapes_network(choice<model, &ModelConfig::stem>(
          "model.stem", "auto", {"auto", "patch", "conv", "small", "large"},
          "how an image becomes tokens: patch (one convolution) or conv (a stack of 3x3 ones); of a ResNet: "
          "small (3x3, no pooling) or large (7x7, pooling); auto: patch; small for crops up to 64 pixels")),
      when({where::vision_transformer()},
           choice<model, &ModelConfig::fit>("model.fit", "error", {"error", "crop", "pad"},
                                            "crops whose sides no patch divides: refuse them, crop or pad with zeros")),
      when({where::vision_transformer()},
           shapes_network(field<model, &ModelConfig::registers>("model.registers", "auto",
                                                                "tokens without position behind CLS; auto: the style's", {0, 64}))),
      when({where::rotary_positions()},
           field<model, &ModelConfig::rope_shift>("model.rope_shift", "0",
                                                  "rotary positions in training: shift of both axes, uniform in +- this (style dinov3)",
                                                  not_negative)),
      when({where::rotary_positions()},
           field<model, &ModelConfig::rope_jitter>(
               "model.rope_jitter", "0", "the same: factor of each axis, log-uniform between 1 / this and this; 0: off", not_negative)),
      when({where::rotary_positions()},
           field<model, &ModelConfig::rope_rescale>("model.rope_rescale", "0", "the same: one factor for both axes; 0: off", not_negative)),
      when({where::vision_transformer()},
           field<model, &ModelConfig::recompute>(
               "model.recompute", "no",
               "keep no activations inside a block, compute them again in the backward pass (less memory, slower)")),
      text<model, &ModelConfig::init_from>("model.init_from",
                                           "weights that student and teacher begin with (dinoxx weights inspect); empty: random"),

      shapes_network(field<head, &HeadConfig::out_dim>("head.out_dim", "auto",
                                                       "prototypes, or the width of the projection of a method without them", positive)),
      shapes_network(field<head, &HeadConfig::hidden_dim>("head.hidden_dim", "auto", "width of the MLP", positive)),
      shapes_network(field<head, &HeadConfig::bottleneck_dim>("head.bottleneck_dim", "256", "width in front of the prototypes", positive)),
      shapes_network(field<head, &HeadConfig::layers>("head.layers", "3", "linear layers in front of the prototypes", {1, 16})),
      when({where::weight_norm()},
           field<head, &HeadConfig::norm_last_layer>("head.norm_last_layer", "auto",
                                                     "keep the prototypes' gain at 1 (steadier; published long runs turn it off)")),
      shapes_network(field<head, &HeadConfig::weight_norm>(
          "head.weight_norm", "auto",
          "prototypes of a direction and a gain; no: a plain linear layer. A student of a frozen teacher has its teacher's")),
      when({where::patch_loss()},
           shapes_network(field<head, &HeadConfig::shared>("head.shared", "auto", "one head for CLS and masked patches"))),
      when({where::patch_loss(), where::own_patch_head()},
           shapes_network(field<head, &HeadConfig::patch_out_dim>("head.patch_out_dim", "auto",
                                                                  "patch head: prototypes; auto: head.out_dim", positive))),
      when({where::patch_loss(), where::own_patch_head()},
           shapes_network(field<head, &HeadConfig::patch_hidden_dim>("head.patch_hidden_dim", "auto",
                                                                     "patch head: width; auto: head.hidden_dim", positive))),
      when({where::patch_loss(), where::own_patch_head()},
           shapes_network(field<head, &HeadConfig::patch_bottleneck_dim>(
               "head.patch_bottleneck_dim", "auto", "patch head: width in front of the prototypes; auto: head.bottleneck_dim", positive))),
      shapes_network(field<head, &HeadConfig::predictor_hidden_dim>("head.predictor_hidden_dim", "auto",
                                                                    "width of the predictor; auto: head.hidden_dim", positive)),
      shapes_network(field<head, &HeadConfig::norm_output>(
          "head.norm_output", "no", "batch norm behind the projector's last layer, as SimCLR's released code has it")),

      name<views, &ViewsConfig::profile>("views.profile", "auto", "augmentation (dinoxx info --profile NAME)"),
      when({where::one_resolution()},
           shapes_network(field<views, &ViewsConfig::global_size>("views.global_size", "224", "global crops, pixels", size))),
      field<views, &ViewsConfig::global_scale_min>("views.global_scale_min", "auto", "smallest area of a global crop, share of the image",
                                                   share),
      field<views, &ViewsConfig::global_scale_max>("views.global_scale_max", "auto", "largest area of a global crop, share of the image",
                                                   share),
      // vit_7b has a norm of its own for local crops that are smaller than the global ones
      shapes_network(field<views, &ViewsConfig::local_count>("views.local_count", "auto", "local crops of each image", {0, 64})),
      when({where::one_resolution(), where::local_crops()},
           shapes_network(field<views, &ViewsConfig::local_size>("views.local_size", "96", "local crops, pixels", size))),
      when({where::local_crops()}, field<views, &ViewsConfig::local_scale_min>("views.local_scale_min", "auto",
                                                                               "smallest area of a local crop, share of the image", share)),
      when({where::local_crops()}, field<views, &ViewsConfig::local_scale_max>("views.local_scale_max", "auto",
                                                                               "largest area of a local crop, share of the image", share)),
      shapes_network(field<views, &ViewsConfig::sizes>(
          "views.sizes", "",
          "several resolutions, GLOBALxLOCALxGRAM:SHARE with commas between, such as 512x112x768:0.3, 768x112x1152:0.7: each step draws "
          "one "
          "by the shares, the same on all ranks; views.global_size, views.local_size and gram.size become the first's. Empty: those three "
          "alone")),
      field<views, &ViewsConfig::flip>("views.flip", "0.5", "share of the crops that are mirrored (DINOv3's 7B: 0)", share),
      field<views, &ViewsConfig::blur>("views.blur", "yes", "Gaussian blur (turn off for images of few pixels)"),

      shapes_network(choice<mask, &MaskConfig::scheme>(
          "mask.scheme", "auto", {"auto", "none", "dinov2", "dinov3", "ibot-block", "ibot-random"},
          "which patches of global crops the student does not see, as the method of that name draws them; a "
          "convolutional network has none")),
      when({where::masks()},
           field<mask, &MaskConfig::probability>("mask.probability", "0.5", "share of the global crops that get a mask", share)),
      when({where::masks()}, field<mask, &MaskConfig::ratio_min>("mask.ratio_min", "0.1", "smallest masked share of a masked crop", share)),
      when({where::masks()}, field<mask, &MaskConfig::ratio_max>("mask.ratio_max", "0.5", "largest masked share of a masked crop", share)),
      when({where::masks()}, field<mask, &MaskConfig::group_size>(
                                 "mask.group_size", "0",
                                 "images among which masks are shared out, a divisor of a rank's batch; 0: 16, or the largest "
                                 "divisor of 16 that divides a rank's batch",
                                 count)),
      when({where::masks_in_strata()}, field<mask, &MaskConfig::shift>("mask.shift", "no", "move masks along both axes, around the edges")),

      choice<optim, &OptimConfig::name>("optim.name", "auto", {"auto", "adamw", "sgd", "lars"}, "optimizer"),
      field<optim, &OptimConfig::lr>("optim.lr", "auto", "peak learning rate at the batch of optim.lr_rule", not_negative),
      choice<optim, &OptimConfig::lr_rule>(
          "optim.lr_rule", "auto", {"auto", "linear_256", "sqrt_1024", "4sqrt_1024", "none"},
          "how it follows the batch size: times batch / 256, sqrt(batch / 1024), 4 sqrt(batch / 1024) or not"),
      when({where::moving_rate()},
           field<optim, &OptimConfig::min_lr>(
               "optim.min_lr", "auto", "learning rate at the end; scaled as optim.lr with optim.decay, as DINOv3's schedules are, else not",
               not_negative)),
      choice<optim, &OptimConfig::schedule>("optim.schedule", "cosine", {"cosine", "constant"}, "of the learning rate behind the warm-up"),
      field<optim, &OptimConfig::warmup>("optim.warmup", "auto",
                                         "linear warm-up of the learning rate; auto: 12500 steps, at most a tenth of the run"),
      when({where::moving_rate()}, field<optim, &OptimConfig::decay>(
                                       "optim.decay", "0it",
                                       "DINOv3's schedule: the rate moves from optim.lr to optim.min_lr in this time behind the warm-up "
                                       "and stays; 0: in the rest of the "
                                       "run, as in DINO and DINOv2")),
      field<optim, &OptimConfig::weight_decay>("optim.weight_decay", "auto", "weight decay at the start (none on biases and norms)",
                                               not_negative),
      field<optim, &OptimConfig::weight_decay_end>("optim.weight_decay_end", "auto", "weight decay at the end, reached by half a cosine",
                                                   not_negative),
      field<optim, &OptimConfig::clip>("optim.clip", "auto", "largest gradient norm; 0: no clipping", not_negative),
      when({where::clipping()}, choice<optim, &OptimConfig::clip_by>("optim.clip_by", "auto", {"auto", "parameter", "module"},
                                                                     "norm of each parameter, or of the backbone and each head")),
      of_method(field<optim, &OptimConfig::freeze_last_layer>(
          "optim.freeze_last_layer", "auto",
          "how long the prototypes stay fixed; auto: 1250 steps, at most a tenth of the run. In epochs: whole ones, as published")),
      field<optim, &OptimConfig::layer_decay>("optim.layer_decay", "auto", "factor of the learning rate from each block to the one before",
                                              {1e-3, 1}),
      when({where::vision_transformer()}, field<optim, &OptimConfig::patch_embed_lr>(
                                              "optim.patch_embed_lr", "auto", "factor of the patch embedding's learning rate", {0, 1})),
      when({where::adamw()}, field<optim, &OptimConfig::beta1>("optim.beta1", "0.9", "AdamW, decay of the mean", {0, 0.999999})),
      when({where::adamw()}, field<optim, &OptimConfig::beta2>("optim.beta2", "0.999", "AdamW, decay of the variance", {0, 0.9999999})),
      when({where::momentum()}, field<optim, &OptimConfig::momentum>("optim.momentum", "0.9", "SGD and LARS, momentum", {0, 0.999999})),
      when({where::lars()}, field<optim, &OptimConfig::trust>("optim.trust", "0.001", "LARS, trust coefficient", {1e-9, 1})),
      when({where::lars()},
           field<optim, &OptimConfig::trust_clip>(
               "optim.trust_clip", "no", "LARS as solo-learn has it: the local rate never above the learning rate, its norms added up")),

      field<teacher, &TeacherConfig::momentum>("teacher.momentum", "auto", "momentum of the average at the start", share),
      field<teacher, &TeacherConfig::momentum_end>("teacher.momentum_end", "1", "momentum at the end, reached by half a cosine", share),
      field<teacher, &TeacherConfig::temp>("teacher.temp", "auto", "temperature", temperature),
      field<teacher, &TeacherConfig::warmup_temp>("teacher.warmup_temp", "auto", "temperature at the start", temperature),
      when({where::patch_loss()}, field<teacher, &TeacherConfig::patch_temp>("teacher.patch_temp", "auto",
                                                                             "temperature for patches; auto: teacher.temp", temperature)),
      when({where::patch_loss()},
           field<teacher, &TeacherConfig::patch_warmup_temp>(
               "teacher.patch_warmup_temp", "auto", "temperature for patches at the start; auto: teacher.warmup_temp", temperature)),
      bare_epochs(field<teacher, &TeacherConfig::warmup_temp_epochs>(
          "teacher.warmup_temp_epochs", "auto",
          "time from the first to the last temperature; a bare number is epochs, whole ones where it moves with each epoch; auto: 37500 "
          "steps, at most 30 % of the run")),
      choice<teacher, &TeacherConfig::temp_changes>("teacher.temp_changes", "auto", {"auto", "epoch", "step"},
                                                    "when the temperature moves: with each epoch or with each step"),
      text<teacher, &TeacherConfig::distill>(
          "teacher.distill", "the frozen teacher with its heads: run folder, checkpoint or a training checkpoint of the official code"),

      field<loss, &LossConfig::student_temp>("loss.student_temp", "0.1", "temperature of the student", temperature),
      field<loss, &LossConfig::temp>("loss.temp", "0.2", "temperature of the NT-Xent loss", temperature),
      choice<loss, &LossConfig::centring>("loss.centring", "auto", {"auto", "centre", "sinkhorn"},
                                          "what keeps the teacher from one answer: a running centre or Sinkhorn-Knopp"),
      when({where::patch_loss()}, choice<loss, &LossConfig::patch_centring>("loss.patch_centring", "auto", {"auto", "centre", "sinkhorn"},
                                                                            "the same for patches; auto: as loss.centring")),
      when({where::running_centre()}, field<loss, &LossConfig::centre_momentum>("loss.centre_momentum", "0.9",
                                                                                "momentum of the centres of the teacher's logits", share)),
      when({where::sinkhorn()},
           field<loss, &LossConfig::sinkhorn_iterations>("loss.sinkhorn_iterations", "3", "of Sinkhorn-Knopp", {1, 100})),
      when({where::local_crops()}, field<loss, &LossConfig::local_weight>(
                                       "loss.local_weight", "1", "factor of the local crops' part of the DINO loss", not_negative)),
      when({where::local_crops()},
           field<loss, &LossConfig::local_weight_end>("loss.local_weight_end", "auto",
                                                      "the same from the end of gram.ramp on; auto: loss.local_weight", not_negative)),
      shapes_network(
          field<loss, &LossConfig::patch_weight>("loss.patch_weight", "auto", "weight of the loss at masked patches", not_negative)),
      field<loss, &LossConfig::koleo_weight>("loss.koleo_weight", "auto", "weight of KoLeo for each global view", not_negative),
      when({where::koleo()},
           field<loss, &LossConfig::koleo_group>(
               "loss.koleo_group", "0", "KoLeo: images among which neighbours are looked for; 0: a rank's batch, as released", count)),
      when({where::koleo()},
           field<loss, &LossConfig::koleo_top_k>("loss.koleo_top_k", "1", "KoLeo: nearest neighbours of an image", {1, 1024})),

      field<gram, &GramConfig::weight>("gram.weight", "0", "weight of Gram anchoring, from the end of the ramp on; 0: off", not_negative),
      when({where::gram_or_moving_local_weight()}, field<gram, &GramConfig::start>("gram.start", "0it", "when it begins")),
      when({where::gram_or_moving_local_weight()},
           field<gram, &GramConfig::ramp>("gram.ramp", "0it", "from 0 to its weight by half a cosine")),
      when({where::gram()},
           text<gram, &GramConfig::teacher>("gram.teacher",
                                            "whose patches: a run folder, checkpoint or weight file; ema: the current teacher; empty: this "
                                            "run's teacher as it was at gram.first")),
      when({where::own_gram_teacher()},
           field<gram, &GramConfig::first>(
               "gram.first", "0it",
               "when the Gram teacher is taken from the teacher for the first time; with a file: for the first time again (0: never)")),
      when({where::renewed_gram_teacher()}, field<gram, &GramConfig::every>("gram.every", "0it", "between two more of these; 0: none")),
      when({where::several_gram_teachers()},
           field<gram, &GramConfig::max_updates>("gram.max_updates", "3",
                                                 "updates at most; the first teacher of a run without a file is none", count)),
      when({where::one_resolution(), where::own_gram_teacher()},
           field<gram, &GramConfig::size>(
               "gram.size", "0", "crops for the Gram teacher, pixels: the global crops without distortions; 0: the global crops themselves",
               {0, 16384})),
      when({where::gram()}, field<gram, &GramConfig::group_size>(
                                "gram.group_size", "0", "images whose patches are compared together; 0: each image by itself", count)),
      when({where::gram()}, choice<gram, &GramConfig::negatives>("gram.negatives", "keep", {"keep", "both", "teacher"},
                                                                 "negative similarities: keep, remove in both, remove in the teacher")),
      when({where::gram()}, choice<gram, &GramConfig::tokens>("gram.tokens", "all", {"all", "masked", "unmasked"}, "patches that count")),

      shapes_network(name<train, &TrainingConfig::method>("train.method", "dino", "recipe")),
      field<train, &TrainingConfig::length>("train.length", "100ep", "length of the run"),
      field<train, &TrainingConfig::batch_size>("train.batch_size", "256",
                                                "images of one step over all ranks; the number of ranks must divide it", positive),
      field<train, &TrainingConfig::seed>("train.seed", "0", "of everything that is random", {0, 9e15}),
      choice<train, &TrainingConfig::precision>("train.precision", "fp32", {"fp32", "bf16"},
                                                "of the networks; masters, gradients and averages are fp32 under both"),
      not_training(choice<train, &TrainingConfig::device>("train.device", "auto", {"auto", "cpu", "cuda"},
                                                          "where the networks compute; auto: a GPU for each rank where there are any")),
      field<train, &TrainingConfig::fused_kernels>("train.fused_kernels", "yes",
                                                   "own CPU kernels; no: LibTorch's operations one by one (slower)"),
      field<train, &TrainingConfig::bucket_mb>("train.bucket_mb", "4", "gradient bytes of one collective, MiB", {0.001, 1024}),
      not_training(field<train, &TrainingConfig::threads>(
          "train.threads", "auto", "compute threads of a rank; auto: OMP_NUM_THREADS, else the rank's share of the cores", positive)),
      not_training(field<train, &TrainingConfig::log_every>("train.log_every", "10", "steps between two lines of metrics.jsonl", positive)),
      not_training(field<train, &TrainingConfig::check_every>("train.check_every", "500",
                                                              "steps between two comparisons of all ranks' weights; 0: never", count)),
      not_training(field<train, &TrainingConfig::max_skipped>(
          "train.max_skipped", "5", "steps in a row with a loss that is not finite (NaN or infinity) after which the run stops", positive)),

      not_training(field<data, &DataConfig::workers>(
          "data.workers", "auto", "decode and augmentation threads of a rank; auto: an eighth of its cores, at least one", positive)),
      not_training(field<data, &DataConfig::ring>("data.ring", "3", "batches in flight", {2, 1024})),
      not_training(field<data, &DataConfig::cache_decoded>("data.cache_decoded", "no", "keep decoded images in memory (small sets)")),
      not_training(field<data, &DataConfig::max_bad_fraction>("data.max_bad_fraction", "0.001",
                                                              "unreadable images, share of all, at which the run stops", share)),

      not_training(
          field<ckpt, &CheckpointConfig::every>("checkpoint.every", "1ep", "between two checkpoints; 0: at the end and on request only")),
      not_training(field<ckpt, &CheckpointConfig::keep>("checkpoint.keep", "3", "newest checkpoints that stay", positive)),
      not_training(field<ckpt, &CheckpointConfig::keep_every>("checkpoint.keep_every", "0it",
                                                              "between two more checkpoints that stay for ever; 0: none")),

      not_training(field<eval, &EvalConfig::every>("eval.every", "1ep", "between two evaluations of the teacher; 0: none")),
      not_training(text<eval, &EvalConfig::suite>(
          "eval.suite", "protocols, separated by commas (dinoxx eval --help); scored on val or a held-out part of train, never on test",
          "knn")),
      not_training(field<eval, &EvalConfig::knn_k>("eval.knn_k", "10,20,100,200", "neighbours", positive)),
  };
  for (Field& f : fields)
    for (const Section& section : config_sections())
      if (section.of_method && f.key.starts_with(section.name + ".")) f.of_method = true;
  return fields;
}

}  // namespace

const std::vector<Field>& config_fields() {
  static const std::vector<Field> fields = make_fields();
  return fields;
}

FieldText plain_text(const Field& field) {
  return {field.type, field.help};
}

const std::vector<Section>& config_sections() {
  static const std::vector<Section> sections = {
      {"model", "the backbone"},
      {"head", "the projection head", true},
      {"views", "the crops of an image"},
      {"mask", "patches that the student does not see", true},
      {"optim", "the optimizer and its schedules"},
      {"teacher", "the average of the student", true},
      {"loss", "the loss", true},
      {"gram", "Gram anchoring (DINOv3)", true},
      {"train", "the run"},
      {"data", "how images reach the networks"},
      {"checkpoint", "saving"},
      {"eval", "evaluation during training"},
  };
  return sections;
}

}  // namespace dinoxx
