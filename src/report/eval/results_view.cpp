#include "results_view.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/json_text.hpp"
#include "report/run/run_figures.hpp"
#include "results/protocol_names.hpp"
#include "results/verdict_order.hpp"

namespace dinoxx::report {

using nlohmann::json;

const json& at(const json& object, std::initializer_list<const char*> path) {
  static const json null;
  const json* place = &object;
  for (const char* name : path) {
    if (!place->is_object()) return null;
    const auto found = place->find(name);
    if (found == place->end()) return null;
    place = &*found;
  }
  return *place;
}

const json& elements(const json& value) {
  static const json none = json::array();
  return value.is_array() ? value : none;
}

std::string why_undefined(const json& object, const char* key) {
  const json& reason = at(object, {"undefined", key});
  return reason.is_string() ? reason.get<std::string>() : "not in results.json";
}

std::string interval_text(const json& interval) {
  if (!interval.is_array() || interval.size() != 2 || !interval[0].is_number() || !interval[1].is_number()) return "";
  return fmt::format(" [{}, {}]", percent(interval[0].get<double>()), percent(interval[1].get<double>()));
}

std::string share_text(const json& value, const json& interval) {
  return value.is_number() ? percent(value.get<double>()) + " %" + interval_text(interval) : "not defined";
}

Cell share(const json& object, const char* key) {
  return share(object, key, json());
}

Cell share(const json& object, const char* key, const json& interval) {
  const double value = number_of(object, key);
  return std::isnan(value) ? number("–", why_undefined(object, key)) : number(percent(value) + interval_text(interval));
}

Cell plain(const json& object, const char* key, int digits) {
  const double value = number_of(object, key);
  return std::isnan(value) ? number("–", why_undefined(object, key)) : number(figure(value, digits));
}

Cell count(const json& object, const char* key) {
  const double value = number_of(object, key);
  return std::isnan(value) ? number("–", why_undefined(object, key)) : number(grouped(std::llround(value)));
}

Cell bootstrapped(const json& scores, const char* key) {
  const json& interval = at(scores, {"bootstrap95", key});
  const json& why = at(scores, {"bootstrap95", "undefined", key});
  const double value = number_of(scores, key);
  if (std::isnan(value) || !interval_text(interval).empty() || !why.is_string()) return share(scores, key, interval);
  return number(percent(value), "no interval: " + why.get<std::string>());
}

std::vector<const json*> by_training_images(const json& classes) {
  std::vector<const json*> rows;
  for (const json& row : classes) rows.push_back(&row);
  const auto images = [](const json* row) {
    const double n = number_of(*row, "memory");
    return std::isnan(n) ? -1 : n;
  };
  std::stable_sort(rows.begin(), rows.end(), [&](const json* a, const json* b) { return images(a) > images(b); });
  return rows;
}

Html value_text(const json& value) {
  if (value.is_string()) return text(value.get<std::string>());
  if (value.is_number_float()) return text(figure(value.get<double>(), 6));
  if (value.is_array()) {
    const bool flat = std::none_of(value.begin(), value.end(), [](const json& v) { return v.is_structured(); });
    Html joined;
    std::vector<Html> items;
    for (const json& item : value) {
      joined += (joined.code.empty() ? Html{} : text(", ")) + value_text(item);
      items.push_back(value_text(item));
    }
    if (items.empty()) return text("none");
    return flat ? joined : list(items);
  }
  if (value.is_object()) {
    std::vector<Html> items;
    for (const auto& [name, item] : value.items()) items.push_back(text(name + ": ") + value_text(item));
    return list(items);
  }
  return text(value.is_null() ? "none" : json_text(value));
}

const std::vector<KnownProtocol>& known_protocols() {
  static const std::vector<KnownProtocol> known{{"zero", "clustering, retrieval and copy detection, without labels"},
                                                {"knn", "weighted k-nearest neighbours, no training"},
                                                {"few", "K labelled images per class"},
                                                {"linear", "logistic regression on frozen features, all labels"},
                                                {"multi_label", "several labels an image: k-NN and logistic regression for each"},
                                                {"sweep", "linear heads over learning rates, blocks and poolings, trained by SGD"},
                                                {"finetune", "light fine-tuning of the network"},
                                                {"linseg", "linear segmentation of patch features, attention against masks"},
                                                {"match", "patches matched between two views of the same image"}};
  return known;
}

std::string protocol_title(const std::string& key) {
  for (const KnownProtocol& known : known_protocols())
    if (key == known.key) return eval::protocol_word(key) + ": " + known.what;
  return key;
}

const std::vector<std::pair<std::string, std::string>>& order_of_choice() {
  static const std::vector<std::pair<std::string, std::string>> order = [] {
    std::vector<std::pair<std::string, std::string>> names;
    names.reserve(eval::kVerdictOrder.size());
    for (const eval::VerdictMethod& method : eval::kVerdictOrder) names.emplace_back(method.protocol, method.method);
    return names;
  }();
  return order;
}

std::string method_name(const std::string& protocol, const std::string& method) {
  static const std::map<std::pair<std::string, std::string>, std::string> names{
      {{"knn", "vote"}, "k-NN"},
      {{"knn", "balanced_vote"}, "k-NN, class-balanced vote"},
      {{"multi_label", "knn"}, "k-NN"},
      {{"multi_label", "logistic"}, "logistic regression of each label"},
      {{"few", "nearest_mean"}, "nearest class mean"},
      {{"few", "simpleshot"}, "SimpleShot"},
      {{"few", "logistic"}, "logistic regression, C = 1"},
      {{"linear", "plain"}, "logistic regression"},
      {{"linear", "class_weighted"}, "logistic regression, class-weighted"},
      {{"linear", "logit_adjusted"}, "logistic regression, logit-adjusted"},
      {{"sweep", "best_head"}, "linear probe, best head"},
      {{"finetune", "lp-ft"}, "fine-tuning, linear probe first"},
      {{"finetune", "lora"}, "fine-tuning, LoRA"},
      {{"finetune", "bitfit"}, "fine-tuning, biases alone"},
      {{"finetune", "norm"}, "fine-tuning, normalisations alone"},
      {{"finetune", "full"}, "fine-tuning, everything"}};
  const auto found = names.find({protocol, method});
  return found == names.end() ? eval::protocol_word(protocol) + ", " + method : found->second;
}

std::string features_name(const std::string& embedder) {
  if (embedder == "teacher") return "checkpoint";
  if (embedder == "untrained") return "untrained network";
  if (embedder == "raw") return "raw pixels";
  return embedder;
}

std::string Method::name() const {
  return method_name(protocol, method);
}

Results::Results(json results) : results_(std::move(results)) {
  json& suites = results_["suites"];
  if (!suites.is_object()) suites = json::object();
  for (const KnownProtocol& known : known_protocols())
    if (suites.contains(known.key)) protocols_.emplace_back(known.key);
  for (const auto& [key, section] : suites.items())
    if (std::find(protocols_.begin(), protocols_.end(), key) == protocols_.end()) protocols_.push_back(key);
  for (const std::string& key : protocols_) {
    json& section = suites[key];
    if (!section.is_object() || !section["results"].is_array()) continue;
    for (json& result : section["results"]) {
      if (!result.is_object()) continue;
      const std::string embedder = text_of(result, "name");
      if (checkpoint_.empty()) checkpoint_ = embedder;
      if (!result.contains("methods") && at(result, {"headline"}).is_object()) {  // results of k-NN from before there were other protocols
        json scores = result["headline"];
        scores["classes"] = at(result, {"classes"});
        result["methods"]["vote"] = std::move(scores);
      }
      if (!at(result, {"methods"}).is_object()) continue;
      for (const auto& [method, scores] : result["methods"].items())
        if (scores.is_object()) methods_.push_back({key, embedder, method, &scores});
    }
  }
  for (const auto& [protocol, method] : order_of_choice())
    if (!chosen_) chosen_ = find(protocol, checkpoint_, method);
}

const Method* Results::find(const std::string& protocol, const std::string& embedder, const std::string& method) const {
  const auto found = std::find_if(methods_.begin(), methods_.end(),
                                  [&](const Method& m) { return m.protocol == protocol && m.embedder == embedder && m.method == method; });
  return found == methods_.end() ? nullptr : &*found;
}

}  // namespace dinoxx::report
