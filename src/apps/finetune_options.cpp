#include "finetune_options.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "dinoxx/base/error.hpp"
#include "eval/finetune/tuned_network.hpp"
#include "eval/run/evaluate.hpp"

namespace dinoxx {
namespace {

namespace po = boost::program_options;

std::string list_of(const std::vector<std::string>& names) {
  return fmt::format("{}", fmt::join(names, ", "));
}

void require(bool holds, const char* option, const char* expected, double found) {
  if (!holds) fail_usage(option, expected, fmt::format("{:g}", found), "Correct it.");
}

std::string one_of(const std::string& name, const std::vector<std::string>& known, const char* option) {
  if (std::find(known.begin(), known.end(), name) == known.end()) {
    const std::string near = nearest_name(name, known);
    fail_usage(option, fmt::format("one of {}", list_of(known)), fmt::format("\"{}\"", name),
               near.empty() ? "Correct it." : fmt::format("Did you mean {}?", near));
  }
  return name;
}

std::vector<double> rates(const std::string& text) {
  std::vector<double> values;
  size_t begin = 0;
  while (!text.empty() && begin <= text.size()) {
    const size_t end = std::min(text.find(',', begin), text.size());
    double value = 0;
    const auto [rest, error] = std::from_chars(text.data() + begin, text.data() + end, value);
    if (error != std::errc() || rest != text.data() + end || !(value > 0) || !std::isfinite(value))
      fail_usage("--finetune.lr", "numbers above zero, separated by commas", fmt::format("\"{}\"", text.substr(begin, end - begin)),
                 "For example 1e-4,1e-3: the best on validation is taken.");
    values.push_back(value);
    begin = end + 1;
  }
  return values;
}

}  // namespace

void FinetuneLine::add_to(po::options_description& own) {
  const eval::FinetuneOptions defaults;
  static const std::string methods = "out of " + list_of(eval::tuning_names()) + "; all by default",
                           losses = list_of(eval::finetune_losses()), samplers = list_of(eval::finetune_samplers());
  own.add_options()("finetune.methods", po::value(&methods_)->value_name("LIST"), methods.c_str())(
      "finetune.epochs", po::value(&epochs_)->default_value(defaults.epochs)->value_name("N"),
      "at most; the epoch that is best on validation is used")("finetune.patience",
                                                               po::value(&patience_)->default_value(defaults.patience)->value_name("N"),
                                                               "epochs without improvement after which a method stops")(
      "finetune.batch", po::value(&batch_)->default_value(defaults.batch)->value_name("N"), "images per training step, all ranks together")(
      "finetune.lr", po::value(&lr_)->value_name("RATE[,...]"), "peak learning rates to try; default: the method's own")(
      "finetune.loss", po::value(&loss_)->default_value(defaults.loss)->value_name("NAME"), losses.c_str())(
      "finetune.sampler", po::value(&sampler_)->default_value(defaults.sampler)->value_name("NAME"), samplers.c_str())(
      "finetune.crop", po::value(&crop_)->default_value(defaults.crop, fmt::format("{}", defaults.crop))->value_name("F"),
      "smallest share of the image's area in a training crop; 1: whole images, for data where size or border matter")(
      "finetune.layer_decay", po::value(&layer_decay_)->default_value(defaults.layer_decay)->value_name("F"),
      "of full: learning rate of a block divided by that of the next")(
      "finetune.rank", po::value(&rank_)->default_value(defaults.rank)->value_name("N"), "of lora")(
      "finetune.alpha", po::value(&alpha_)->default_value(defaults.alpha)->value_name("A"),
      "of lora: its update is scaled by alpha / rank")(
      "finetune.targets", po::value(&targets_)->default_value("qkv,proj")->value_name("LIST"), "of lora: out of qkv, proj, mlp")(
      "finetune.ema", po::value(&ema_)->default_value(0)->value_name("M"),
      "momentum of an exponential moving average of the weights, which is then used; 0: none")(
      "finetune.save", po::value(&save_)->default_value(defaults.save)->value_name("WHAT"),
      "finetune_METHOD.safetensors in DIR: none, changed (what learned), merged (the whole network too, a --checkpoint for other "
      "commands)")("finetune.max_minutes", po::value(&max_minutes_)->default_value(defaults.max_minutes)->value_name("T"),
                   "with --protocol all: report the estimate instead of running when it would take longer");
}

eval::FinetuneOptions FinetuneLine::options() const {
  eval::FinetuneOptions o;
  if (!methods_.empty()) o.methods = eval::parse_names(methods_, eval::tuning_names(), "--finetune.methods");
  o.targets = eval::parse_names(targets_, eval::lora_targets(), "--finetune.targets");
  o.lr = rates(lr_);
  o.loss = one_of(loss_, eval::finetune_losses(), "--finetune.loss");
  o.sampler = one_of(sampler_, eval::finetune_samplers(), "--finetune.sampler");
  o.save = one_of(save_, eval::finetune_saves(), "--finetune.save");
  require(epochs_ >= 1, "--finetune.epochs", "1 or more", epochs_);
  require(patience_ >= 1, "--finetune.patience", "1 or more", patience_);
  require(batch_ >= 1, "--finetune.batch", "1 or more", batch_);
  require(rank_ >= 1, "--finetune.rank", "1 or more", rank_);
  require(alpha_ > 0 && std::isfinite(alpha_), "--finetune.alpha", "a number above 0", alpha_);
  require(layer_decay_ > 0 && layer_decay_ <= 1, "--finetune.layer_decay", "above 0, at most 1", layer_decay_);
  require(ema_ >= 0 && ema_ < 1, "--finetune.ema", "0 or more, below 1", ema_);
  require(max_minutes_ >= 0, "--finetune.max_minutes", "0 or more", max_minutes_);
  require(crop_ > 0 && crop_ <= 1, "--finetune.crop", "above 0, at most 1", crop_);
  o.crop = crop_;
  o.epochs = epochs_;
  o.patience = patience_;
  o.batch = batch_;
  o.rank = rank_;
  o.alpha = alpha_;
  o.layer_decay = layer_decay_;
  o.ema = ema_;
  o.max_minutes = max_minutes_;
  return o;
}

}  // namespace dinoxx
