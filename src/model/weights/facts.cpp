#include "facts.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/json_text.hpp"
#include "base/utf8.hpp"
#include "config/model_keys.hpp"
#include "dinoxx/base/error.hpp"
#include "model/layers/rope.hpp"
#include "weights.hpp"

namespace dinoxx {
namespace {

using nlohmann::json;

std::string text_of(int value) {
  return std::to_string(value);
}
std::string text_of(double value) {
  return fmt::format("{:.6g}", value);
}
std::string text_of(const std::string& value) {
  return escaped(value);
}
std::string text_of(const std::array<float, 3>& values) {
  return fmt::format("{:.6g} {:.6g} {:.6g}", values[0], values[1], values[2]);
}

bool same(double a, double b) {
  return std::abs(a - b) <= 1e-4 * std::max(std::abs(a), std::abs(b));  // 1e-6 and 9.99999e-07
}
bool same(int a, int b) {
  return a == b;
}
bool same(const std::string& a, const std::string& b) {
  return a == b;
}
bool same(const std::array<float, 3>& a, const std::array<float, 3>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), [](float x, float y) { return std::abs(x - y) < 1e-4f; });
}

std::string position_rule(const VitConfig& c) {
  return c.position_antialias ? "antialiased" : c.position_offset > 0 ? "scaled" : "exact";
}

std::string bias_rule(const VitConfig& c) {
  return !c.qkv_bias ? "none" : c.mask_key_bias ? "masked" : "live";
}

/// Visits every value with its name; the one list for writing and reading.
template <class Values, class Visitor>
void each(Values& v, Visitor&& visit) {
  visit("heads", v.heads);
  visit("norm_eps", v.norm_eps);
  visit("qkv_bias", v.qkv_bias);
  visit("position_resize", v.position_resize);
  visit("rope_base", v.rope_base);
  visit("rope_periods", v.rope_periods);
  visit("activation", v.activation);
  visit("stem_padding", v.stem_padding);
  visit("mean", v.mean);
  visit("std", v.std);
  visit("image_size", v.image_size);
  visit("fit", v.fit);
  visit("crop", v.crop);
}

}  // namespace

FactLedger::FactLedger(std::string file, std::vector<FactSource> sources, const FactOptions& options)
    : file_(std::move(file)), sources_(std::move(sources)), user_(options.user), otherwise_(options.otherwise) {}

template <class T>
T FactLedger::settled(const char* name, std::optional<T> FactValues::*member, const T& fallback_value, const Fallback& fallback,
                      bool of_input) {
  const FactSource *first = nullptr, *other = nullptr, *agrees = nullptr;
  const std::optional<T>& user = user_.*member;
  for (const FactSource& source : sources_) {
    const std::optional<T>& value = source.says.*member;
    if (!value) continue;
    if (!first) first = &source;
    if (!other && !same(*value, *(first->says.*member))) other = &source;
    if (user && !agrees && same(*value, *user)) agrees = &source;
  }
  const auto add = [&](const T& value, const std::string& source, bool assumed) {
    facts_.push_back({name, text_of(value), source, assumed, of_input});
    return value;
  };
  if (user) {
    if (first && !agrees && !of_input)
      fail_usage(fmt::format("{}, {}", file_, name), fmt::format("{}, as {} says", text_of(*(first->says.*member)), first->name),
                 fmt::format("{} by option or key", text_of(*user)), "Leave the option out, or correct what the file says");
    if (first && (!agrees || (other && !of_input)))
      notes_.push_back(
          fmt::format("{} {} by option or key ({} says {})", name, text_of(*user), first->name, text_of(*(first->says.*member))));
    return add(*user, "option or key", false);
  }
  // sizes may well differ: of the network, of its picture on a page
  constexpr bool is_colour = std::is_same_v<T, std::array<float, 3>>;
  if (other && (!of_input || is_colour))
    fail_usage(fmt::format("{}, {}", file_, name), fmt::format("one value; {} says {}", first->name, text_of(*(first->says.*member))),
               fmt::format("{} in {}", text_of(*(other->says.*member)), other->name),
               "Correct one of them, or say which by option or key (docs/weights.md)");
  if (first) return add(*(first->says.*member), first->name, false);
  if (otherwise_.*member) return add(*(otherwise_.*member), "the configuration", false);
  return add(fallback_value, fallback.source, fallback.assumed);
}

void FactLedger::refuse_what_is_left(const BackboneConfig& config) const {
  each(user_, [&](const char* name, const auto& value) {
    if (!value || std::any_of(facts_.begin(), facts_.end(), [&](const Fact& fact) { return fact.name == name; })) return;
    const bool crop = std::string(name) == "crop";
    fail_usage(fmt::format("{}, {}", file_, name), fmt::format("a fact of {}", crop ? "images that are shown whole" : describe(config)),
               fmt::format("{} by option or key", text_of(*value)),
               crop ? "Leave it out, or choose the fit crop" : "It has none of the kind: leave the option out");
  });
}

std::string activation_of(const BackboneConfig& config) {
  if (std::holds_alternative<ResNetConfig>(config)) return "relu";
  return *stated_facts(config).activation;
}

FactValues stated_facts(const BackboneConfig& config) {
  FactValues values;
  if (const auto* vit = std::get_if<VitConfig>(&config)) {
    values.heads = vit->heads;
    values.norm_eps = vit->norm_eps;
    values.qkv_bias = bias_rule(*vit);
    values.activation = vit->positions == "rope" && vit->ffn == "swiglu" ? "silu" : "gelu";
    if (vit->positions == "rope") {
      if (!vit->rope.min_period) values.rope_base = vit->rope.base;
      values.rope_periods = vit->rope.bf16_periods ? "bf16" : "exact";
    } else {
      values.position_resize = position_rule(*vit);
    }
  } else if (const auto* convnext = std::get_if<ConvNextConfig>(&config)) {
    values.norm_eps = convnext->norm_eps;
    values.activation = "gelu";
  } else {
    const auto& resnet = std::get<ResNetConfig>(config);
    values.norm_eps = resnet.norm_eps;
    if (resnet.small_image_stem) values.stem_padding = resnet.stem_padding;
  }
  return values;
}

FactValues said_by_periods(const std::map<std::string, const WeightEntry*>& tensors, VitConfig& c, const std::string& source) {
  FactValues says;
  const auto found = tensors.find("rope_embed.periods");
  if (found == tensors.end() || found->second->shape.size() != 1 || found->second->shape[0] < 1) return says;
  const int64_t count = found->second->shape[0];
  if (count > c.dim || c.dim % (4 * count) != 0) return says;
  says.heads = static_cast<int>(c.dim / (4 * count));
  if (!found->second->has_data() || count < 2) return says;
  const at::Tensor stored = read_entry(*found->second).to(at::kDouble);
  const double first = stored[0].item<double>(), last = stored[count - 1].item<double>();
  const auto error_of = [&](const RopeConfig& rope) { return (stored / rope_periods(rope, 4 * count) - 1).abs().max().item<double>(); };
  RopeConfig rope = c.rope;
  if (std::abs(first - 1) < 0.01 && last > 1) {
    // two digits: what rounding has left of 100 or 10000
    const double base = std::pow(last / first, static_cast<double>(count) / static_cast<double>(count - 1));
    const double unit = std::pow(10, std::floor(std::log10(base)) - 1);
    rope.base = std::round(base / unit) * unit;
    if (error_of(rope) > 0.01) rope.base = base;
    says.rope_base = rope.base;
  } else if (first > 0 && last > first) {
    rope.min_period = first;
    rope.max_period = last;
  }
  const double exact = error_of(rope);
  if (!(exact <= 0.01))
    fail(source, "rotary periods in equal ratios", fmt::format("others, {:.1f} % apart", 100 * exact), "Say which network this is");
  rope.bf16_periods = true;
  const double rounded = error_of(rope);
  says.rope_periods = rounded < exact && rounded < 1e-6 ? "bf16" : "exact";
  c.rope.min_period = rope.min_period;
  c.rope.max_period = rope.max_period;
  return says;
}

json facts_json(const FactValues& values) {
  json out = json::object();
  each(values, [&](const char* name, const auto& value) {
    if (!value) return;
    if constexpr (std::is_same_v<std::decay_t<decltype(*value)>, std::array<float, 3>>)
      out[name] = decimals(*value);
    else
      out[name] = *value;
  });
  return out;
}

FactValues facts_from_json(const json& in, const std::string& source) {
  FactValues values;
  if (!in.is_object())
    fail(fmt::format("{} in {}", kFactsKey, source), "facts by name", "another text",
         "The file is damaged or was written by another program");
  each(values, [&]<class T>(const char* name, std::optional<T>& value) {
    if (!in.contains(name)) return;
    try {
      value = in[name].template get<T>();
    } catch (const json::exception&) {
      fail(fmt::format("{} in {}", kFactsKey, source), fmt::format("a value for \"{}\"", name), json_text(in[name]),
           "The file is damaged or was written by another program");
    }
  });
  return values;
}

const std::vector<std::string>& fact_keys() {
  static const std::vector<std::string> keys{"model.heads",     "model.norm_eps",     "model.qkv_bias",     "model.position_resize",
                                             "model.rope_base", "model.rope_periods", "model.stem_padding", "model.activation",
                                             "model.mean",      "model.std"};
  return keys;
}

FactValues facts_from_keys(const std::vector<Setting>& settings) {
  Config config = default_config();
  std::vector<Setting> facts;
  for (const Setting& setting : settings)
    if (std::find(fact_keys().begin(), fact_keys().end(), setting.key) != fact_keys().end()) facts.push_back(setting);
  apply_settings(config, facts);
  return model_facts(config);
}

FactValues facts_from_text(const std::string& text, const std::string& key) {
  std::vector<Setting> settings;
  std::istringstream in(text);
  for (std::string word; in >> word;) {
    const size_t equals = word.find('=');
    const std::string name = "model." + word.substr(0, equals);
    if (equals == std::string::npos || std::find(fact_keys().begin(), fact_keys().end(), name) == fact_keys().end())
      fail_usage(key, fmt::format("facts such as heads=12, with blanks between; of {} without \"model.\"", fmt::join(fact_keys(), ", ")),
                 "\"" + escaped(word) + "\"", "Correct it");
    settings.push_back({name, word.substr(equals + 1), key});
  }
  return facts_from_keys(settings);
}

namespace {

void check_word(const char* name, const std::string& value, const std::vector<std::string>& known) {
  if (std::find(known.begin(), known.end(), value) == known.end())
    fail_usage(name, fmt::format("one of {}", fmt::join(known, ", ")), "\"" + escaped(value) + "\"", "Correct what says it");
}

void settle(VitConfig& c, FactLedger& ledger, const Recognized& r) {
  const bool rope = c.positions == "rope";
  const std::string system = fmt::format("as {} has it", naming_name(r.naming));
  if (!ledger.said(&FactValues::heads)) c.heads = published_heads(c);
  ledger.settle("heads", &FactValues::heads, c.heads, {"assumed, as published for this width", true});
  const bool eps_of_class = r.naming == Naming::kTransformers && r.style == "dino";  // ViTModel's own default is another than published
  if (eps_of_class) c.norm_eps = 1e-12;
  ledger.settle("norm_eps", &FactValues::norm_eps, c.norm_eps, {eps_of_class ? "assumed, as ViTModel has it" : system, eps_of_class});
  if (!(c.norm_eps > 0 && c.norm_eps <= 1))
    fail_usage("norm_eps", "a number above 0, at most 1", fmt::format("{} ({})", c.norm_eps, ledger.facts().back().source),
               "Correct what says it (--model.norm_eps)");

  std::string bias = bias_rule(c);
  ledger.settle("qkv_bias", &FactValues::qkv_bias, bias, {"names and shapes"});
  check_word("qkv_bias", bias, {"none", "masked", "live"});
  if ((bias == "none") != !c.qkv_bias)
    fail_usage("qkv_bias", c.qkv_bias ? "masked or live: the file has a bias" : "none: the file has no bias", bias, "Correct it");
  c.mask_key_bias = bias == "masked";
  if (rope) {
    if (!c.rope.min_period) {
      ledger.settle("rope_base", &FactValues::rope_base, c.rope.base, {system});
    } else {
      const std::string periods = fmt::format("{:.6g} to {:.6g}", *c.rope.min_period, *c.rope.max_period);
      if (ledger.said(&FactValues::rope_base))
        fail_usage("rope_base",
                   fmt::format("nothing: the file has rotary periods from {} in equal ratios, which are no powers of a base", periods),
                   "a base", "Leave the option out, or correct what says it (config.json: rope_theta)");
      ledger.note(fmt::format("rotary periods from {} in equal ratios (tensors of the file)", periods));
    }
    std::string periods = c.rope.bf16_periods ? "bf16" : "exact";
    ledger.settle("rope_periods", &FactValues::rope_periods, periods, {system});
    check_word("rope_periods", periods, {"exact", "bf16"});
    c.rope.bf16_periods = periods == "bf16";
  } else {
    std::string rule = position_rule(c);
    ledger.settle("position_resize", &FactValues::position_resize, rule, {system});
    check_word("position_resize", rule, {"scaled", "exact", "antialiased"});
    if (rule != "scaled" || c.position_offset <= 0) c.position_offset = rule == "scaled" ? 0.1 : 0;
    c.position_antialias = rule == "antialiased";
  }
}

void settle(ConvNextConfig& c, FactLedger& ledger, const Recognized& r) {
  ledger.settle("norm_eps", &FactValues::norm_eps, c.norm_eps, {fmt::format("as {} has it", naming_name(r.naming))});
}

void settle(ResNetConfig& c, FactLedger& ledger, const Recognized&) {
  ledger.settle("norm_eps", &FactValues::norm_eps, c.norm_eps, {"as torchvision has it"});
  if (c.small_image_stem) ledger.settle("stem_padding", &FactValues::stem_padding, c.stem_padding, {"assumed, as in most 3x3 stems", true});
}

}  // namespace

void settle_network(BackboneConfig& config, FactLedger& ledger, const Recognized& recognized) {
  std::visit([&](auto& c) { settle(c, ledger, recognized); }, config);
  const std::string activation = activation_of(config);
  std::string found = activation;
  ledger.settle("activation", &FactValues::activation, found, {"as published"});
  if (found != activation)
    fail_usage("activation", fmt::format("\"{}\", as the published networks have it", activation), "\"" + escaped(found) + "\"",
               "There is no such network here with another one");
  for (const Fact& fact : ledger.facts())
    if (fact.assumed) {
      const std::string what = fact.name == "heads" ? fact.value + " heads" : fact.name + " " + fact.value;
      ledger.note(fmt::format("{} {}: the file does not say (--model.{} does)", what, fact.source, fact.name));
    }
}

InputFacts settle_input(const BackboneConfig& config, FactLedger& ledger) {
  InputFacts input{{imagenet_normalization(), "", false}};
  auto mean = input.normalization.values.mean, std = input.normalization.values.std;
  const bool assumed = !ledger.said(&FactValues::mean) || !ledger.said(&FactValues::std);
  const Fallback imagenet{"assumed: ImageNet's", true};
  ledger.settle_input("mean", &FactValues::mean, mean, imagenet);
  const Fact of_mean = ledger.facts().back();
  ledger.settle_input("std", &FactValues::std, std, imagenet);
  const Fact of_std = ledger.facts().back();
  const std::string from = of_mean.source == of_std.source ? of_mean.source : of_mean.source + ", std: " + of_std.source;
  for (const float value : mean)
    if (!(value >= 0 && value <= 1))
      fail_usage("mean", "three numbers from 0 to 1: of pixels divided by 255", fmt::format("{} ({})", channels_text(mean), of_mean.source),
                 "Divide by 255 what is of whole pixels, or correct what says it (--model.mean)");
  for (const float value : std)
    if (!(value > 0))
      fail_usage("std", "three numbers above 0", fmt::format("{} ({})", channels_text(std), of_std.source),
                 "Correct what says it (--model.std)");
  input.normalization = {{mean, std}, from, of_mean.assumed || of_std.assumed};
  if (input.normalization.assumed && assumed)
    ledger.note(fmt::format("the input is normalised by ImageNet's {}: assumed, the file does not say (--model.mean and --model.std do)",
                            describe(input.normalization.values)));
  const auto* vit = std::get_if<VitConfig>(&config);
  const bool learned = vit && vit->positions == "learned";
  if (vit) input.image_size = vit->image_size;
  ledger.settle_input("image_size", &FactValues::image_size, input.image_size, {learned ? "the size of its positions" : "as published"});
  // positions that were last trained larger than they are used: all of DINOv2's tables are from 224 pixels
  const std::string by = ledger.facts().back().source;
  const bool by_positions = by == "the size of its positions" || by == "config.json";  // the latter: timm's, which has that size from them
  if (learned && vit->patch_size == 14 && input.image_size == 518 && by_positions) {
    input.image_size = 224;
    ledger.note("input of 224 pixels, as DINOv2 was published with; its positions are for 518 (--image-size 518)");
  }
  const int multiple = vit ? vit->patch_size : 1;
  if (vit && vit->fit == "error" && input.image_size % multiple != 0 && !ledger.user_says(&FactValues::image_size)) {
    const int fitting = std::max(1, input.image_size / multiple) * multiple;
    ledger.note(fmt::format("images of {} pixels, as a multiple of the patch: {} says {}", fitting, ledger.facts().back().source,
                            input.image_size));
    input.image_size = fitting;
  }
  if (ledger.said(&FactValues::image_size) && (input.image_size < 1 || input.image_size > 16384))
    fail_usage("image_size", "1 to 16384 pixels", std::to_string(input.image_size), "Correct it");
  ledger.settle_input("fit", &FactValues::fit, input.fit, {"as published"});
  check_word("fit", input.fit, {"crop", "whole"});
  if (input.fit == "crop") ledger.settle_input("crop", &FactValues::crop, input.crop, {"as published"});
  if (!(input.crop > 0 && input.crop <= 1))
    fail_usage("crop", "a share above 0, at most 1", fmt::format("{}", input.crop), "Correct what says it");
  ledger.refuse_what_is_left(config);
  return input;
}

std::string describe(const Fact& fact) {
  return fmt::format("{} {} ({})", fact.name, fact.value, fact.source);
}

json describe(const std::vector<Fact>& facts) {
  json all = json::array();
  for (const Fact& fact : facts)
    all.push_back({{"name", fact.name}, {"value", fact.value}, {"source", fact.source}, {"assumed", fact.assumed}});
  return all;
}

std::string facts_text(const json& described) {
  std::vector<std::pair<std::string, std::vector<std::string>>> by_source;
  for (const json& fact : described) {
    const std::string source = fact["source"].get<std::string>();
    auto group = std::find_if(by_source.begin(), by_source.end(), [&](const auto& g) { return g.first == source; });
    if (group == by_source.end()) group = by_source.insert(group, {source, {}});
    group->second.push_back(fact["name"].get<std::string>() + " " + fact["value"].get<std::string>());
  }
  std::vector<std::string> groups;
  groups.reserve(by_source.size());
  for (const auto& [source, facts] : by_source) groups.push_back(fmt::format("{} ({})", fmt::join(facts, ", "), source));
  return fmt::format("{}", fmt::join(groups, "; "));
}

}  // namespace dinoxx
