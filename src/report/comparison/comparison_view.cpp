#include "comparison_view.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "report/eval/results_view.hpp"
#include "report/run/run_figures.hpp"
#include "results/protocol_names.hpp"
#include "results/verdict_order.hpp"

namespace dinoxx::report {

using nlohmann::json;

namespace {

const json kNone;

double level_of(const json& comparison) {
  const double level = number_of(comparison, "level");
  return std::isnan(level) ? 0.05 : level;
}

std::string numbers_text(const json& values) {
  std::vector<std::string> texts;
  for (const json& value : elements(values)) texts.push_back(figure(number_or_nan(value), 6));
  return fmt::format("{}", fmt::join(texts, "-"));
}

}  // namespace

size_t ComparisonView::size() const {
  return elements(at(all_, {"checkpoints"})).size();
}

std::string ComparisonView::name(size_t i) const {
  return i < size() ? text_of(elements(at(all_, {"checkpoints"}))[i], "name") : fmt::format("checkpoint {}", i + 1);
}

std::vector<std::string> ComparisonView::names() const {
  std::vector<std::string> names;
  for (size_t i = 0; i < size(); ++i) names.push_back(name(i));
  return names;
}

std::string ComparisonView::network(size_t i) const {
  const json& model = at(elements(at(all_, {"checkpoints"}))[i], {"model"});
  const auto number = [&](const char* key) { return figure(number_of(model, key), 6); };
  const std::string kind = text_of(model, "kind");
  if (kind == "vit") return fmt::format("ViT {} x {}, patch {}", number("dim"), number("depth"), number("patch_size"));
  if (kind == "convnext")
    return fmt::format("ConvNeXt {}, blocks {}", numbers_text(at(model, {"dims"})), numbers_text(at(model, {"depths"})));
  if (kind == "resnet")
    return fmt::format("ResNet{} {}, width {}", at(model, {"bottleneck"}) == true ? " (bottleneck)" : "",
                       numbers_text(at(model, {"depths"})), number("width"));
  return kind.empty() ? "-" : kind;
}

const json& ComparisonView::chosen() const {
  for (const eval::VerdictMethod& wanted : eval::kVerdictOrder)
    for (const json& method : elements(at(all_, {"methods"})))
      if (text_of(method, "protocol") == wanted.protocol && text_of(method, "method") == wanted.method) return method;
  return kNone;
}

const json& ComparisonView::pair(const json& rows, size_t one, size_t other, bool& forward) const {
  for (const json& row : elements(rows)) {
    const double first = number_of(row, "first"), second = number_of(row, "second");
    forward = first == static_cast<double>(one) && second == static_cast<double>(other);
    if (forward || (first == static_cast<double>(other) && second == static_cast<double>(one))) return row;
  }
  return kNone;
}

ComparisonView::Answer ComparisonView::answer(const json& method, size_t one, size_t other) const {
  bool forward = false;
  const std::string word = text_of(pair(at(method, {"pairs"}), one, other, forward), "answer");
  if (word == "first" || word == "second") return (word == "first") == forward ? Answer::kBetter : Answer::kWorse;
  if (word == "accuracy") return Answer::kAccuracyAlone;
  if (word == "balanced_accuracy") return Answer::kBalancedAlone;
  return word == "opposite" ? Answer::kOpposite : Answer::kNone;
}

std::string difference_text(const json& score, bool forward) {
  const double value = number_of(score, "difference"), sign = forward ? 1 : -1;
  if (std::isnan(value)) return "-";
  const auto points = [&](double share) {
    return std::abs(share) < 5e-5 ? std::string("0.00") : fmt::format("{:+.2f}", 100 * sign * share);
  };
  const json& interval = at(score, {"interval95"});
  if (interval_text(interval).empty()) return points(value);
  return fmt::format("{} [{}, {}]", points(value), points(interval[forward ? 0 : 1].get<double>()),
                     points(interval[forward ? 1 : 0].get<double>()));
}

std::string p_text(const json& p) {
  if (!p.is_number()) return "-";
  const double value = p.get<double>();
  if (value < 1e-4) return "< 0.0001";
  return fmt::format("{:.{}f}", value, value < 0.1 ? 4 : 2);
}

std::string figure_name(const json& row) {
  const std::string protocol = text_of(row, "protocol"), what = text_of(row, "figure"), method = text_of(row, "method");
  if (what == "shots") return fmt::format("few-shot, {} a class, {}", figure(number_of(row, "shots")), method_name(protocol, method));
  if (what == "cross_validation") return fmt::format("cross-validation, {}", method_name(protocol, method));
  if (protocol == "multi_label")
    return what == "map" ? fmt::format("several labels, mAP, {}", method_name(protocol, method)) : "several labels, macro F1";
  static const std::map<std::string, std::string> kNames{{"clustering_accuracy", "clusters matched to classes, accuracy"},
                                                         {"clustering_nmi", "clusters, NMI"},
                                                         {"retrieval_map", "retrieval, mAP"},
                                                         {"retrieval_map_of_classes", "retrieval, mAP, mean of classes"},
                                                         {"copies_mild", "mildly distorted copies found"},
                                                         {"copies_strong", "strongly distorted copies found"},
                                                         {"object_miou", "segmentation, object or not, mIoU"},
                                                         {"classes_miou", "segmentation, classes, mIoU"},
                                                         {"attention_mean_map", "attention against masks, Jaccard"},
                                                         {"pck_0.1", "point matching, PCK within 0.1"}};
  const auto found = kNames.find(what);
  return found == kNames.end() ? eval::protocol_word(protocol) + ", " + what : found->second;
}

std::string listed(const std::vector<std::string>& names) {
  if (names.size() < 2) return fmt::format("{}", fmt::join(names, ""));
  return fmt::format("{} and {}", fmt::join(names.begin(), names.end() - 1, ", "), names.back());
}

std::string told_apart(const ComparisonView& view, const json& row) {
  std::vector<std::string> told;
  for (const json& pair : elements(at(row, {"pairs"}))) {
    const double p = number_of(pair, "p_holm"), first = number_of(pair, "first"), second = number_of(pair, "second");
    if (!(p < level_of(view.all())) || std::isnan(first) || std::isnan(second)) continue;
    const bool forward = number_of(pair, "only_first_right") > number_of(pair, "only_second_right");
    const auto a = static_cast<size_t>(forward ? first : second), b = static_cast<size_t>(forward ? second : first);
    told.push_back(fmt::format("{} above {} (p {})", view.name(a), view.name(b), p_text(at(pair, {"p_holm"}))));
  }
  return told.empty() ? "none told apart" : fmt::format("{}", fmt::join(told, "; "));
}

std::vector<std::string> cost_notes(const json& comparison) {
  std::vector<std::string> machines;
  bool cached = false, unmeasured = false, unknown = false;
  for (const json& checkpoint : elements(at(comparison, {"checkpoints"}))) {
    const json& cost = at(checkpoint, {"cost"});
    const std::string host = text_of(cost, "host");
    const std::string machine = fmt::format(
        "{}, {}, {} x {} threads", host.empty() ? "a host that is not recorded" : fmt::format("{} ({})", host, text_of(cost, "processor")),
        text_of(cost, "device"), figure(number_of(cost, "ranks")), figure(number_of(cost, "threads")));
    if (std::find(machines.begin(), machines.end(), machine) == machines.end()) machines.push_back(machine);
    const bool measured = at(cost, {"images_per_core_second"}).is_number(), read = at(cost, {"cache_read"}) == true;
    cached |= measured && read;
    unmeasured |= !measured && read;
    unknown |= !at(cost, {"fit_seconds"}).is_number();
  }
  std::vector<std::string> notes;
  notes.push_back(machines.size() == 1
                      ? "Times of " + machines[0] + " (ranks x threads)."
                      : fmt::format("Times of different machines or numbers of threads (ranks x threads), not comparable: {}.",
                                    fmt::join(machines, "; ")));
  notes.emplace_back(
      "Embed: the network's forward for all images that the protocols take, on all threads. Fit: the compared protocols. Total: the whole "
      "evaluation, with its baselines and all protocols.");
  if (cached)
    notes.emplace_back(
        "Some features came from the cache: embed is then reckoned from the images that were computed, and a first evaluation takes longer "
        "than total.");
  if (unmeasured) notes.emplace_back("- under images a second: all features came from the cache. dinoxx eval --cache none measures it.");
  if (unknown) notes.emplace_back("- under fit: evaluated by a version that did not record it.");
  return notes;
}

std::string minutes(const json& seconds) {
  const double value = number_or_nan(seconds);
  return std::isnan(value) ? "-" : fmt::format("{:.{}f}", value / 60, value < 600 ? 2 : 1);
}

}  // namespace dinoxx::report
