#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "eval_sections.hpp"
#include "report/run/run_figures.hpp"
#include "results/needed_images.hpp"

namespace dinoxx::report {
namespace {

using nlohmann::json;

constexpr size_t kNamed = 8;
// Share of a class's test images that get one other label from which the two classes may be one for the network.
constexpr double kTakenFor = 0.2;
constexpr double kFewImages = 3;  // a share of fewer images says nothing

std::string some_of(std::vector<std::string> names) {
  const size_t all = names.size();
  if (all > kNamed) names.resize(kNamed);
  return fmt::format("{}{}", fmt::join(names, ", "), all > kNamed ? fmt::format(" and {} more", all - kNamed) : "");
}

Html item(const std::string& what, const std::string& words) {
  return element("strong", text(what + ": ")) + text(words);
}

// Splits first: every other advice rests on numbers that they decide about.
void repair_splits(const Results& results, std::vector<Html>& items) {
  const json& leaks = at(results.all(), {"checks", "leaks"});
  if (number_of(leaks, "queries") > 0)
    items.push_back(
        item("Take leaks out of the test images",
             fmt::format("{} of {} are copies of training images or share their group; {} lists them. Remove them, or pack again with "
                         "a column \"group\"",
                         figure(number_of(leaks, "queries"), 9), figure(number_of(leaks, "of"), 9), text_of(leaks, "file"))));
  std::vector<std::string> missing;
  for (const json& name : elements(at(results.all(), {"checks", "labels", "classes_without_queries"})))
    if (name.is_string()) missing.push_back(name);
  if (!missing.empty()) items.push_back(item("Get test images", fmt::format("nothing is known about {}: no test image", some_of(missing))));
}

void repair_labels(const Results& results, std::vector<Html>& items) {
  std::vector<std::string> same;
  for (const json& pair : elements(at(results.all(), {"checks", "class_names", "pairs"})))
    if (elements(pair).size() == 2 && pair[0].is_string() && pair[1].is_string())
      same.push_back(fmt::format("\"{}\" and \"{}\"", pair[0].get<std::string>(), pair[1].get<std::string>()));
  if (!same.empty()) items.push_back(item("Merge classes of one name", some_of(same) + ": --merge-class-names counts them as one"));
  const json& conflicts = at(results.all(), {"checks", "label_conflicts"});
  if (number_of(conflicts, "pictures") > 0)
    items.push_back(item("Decide on labels", fmt::format("{} pictures stand in the data under two labels; suspects.csv lists them",
                                                         figure(number_of(conflicts, "pictures"), 9))));
  const json& found = at(results.all(), {"evidence", "labels"});
  if (number_of(found, "suspected") > 0)
    items.push_back(
        item("Look at labels", fmt::format("{} of {} examined training images have neighbours of another class; see \"Suspected "
                                           "label errors\"{}",
                                           figure(number_of(found, "suspected"), 9), figure(number_of(found, "examined"), 9),
                                           text_of(found, "file").empty() ? "" : " and " + text_of(found, "file"))));
}

// Classes that fail: for lack of images, or because another one looks the same.
void repair_classes(const Results& results, std::vector<Html>& items) {
  const Method* chosen = results.chosen();
  if (!chosen) return;
  constexpr double kFew = 20;
  std::map<std::string, double> queries;
  std::vector<std::string> few;
  for (const json* row : by_training_images(elements(at(*chosen->scores, {"classes"})))) {
    queries[text_of(*row, "name")] = number_of(*row, "queries");
    const double images = number_of(*row, "memory");
    if (images < kFew && number_of(*row, "recall") < 0.5)
      few.push_back(fmt::format("{} ({} training images)", text_of(*row, "name"), figure(images, 9)));
  }
  std::reverse(few.begin(), few.end());  // the rarest first
  if (!few.empty()) items.push_back(item("Label more images", some_of(few) + ": more than half of their test images are missed"));
  std::vector<std::pair<double, std::string>> pairs;
  for (const json& cell : elements(at(*chosen->scores, {"confusion"}))) {
    const std::string of = text_of(cell, "class"), as = text_of(cell, "predicted");
    const double images = number_of(cell, "images"), share = images / queries[of];
    if (of == as || of.empty() || !(images >= kFewImages) || !(share >= kTakenFor)) continue;
    pairs.emplace_back(-share, fmt::format("{} taken for {} ({} of {})", of, as, figure(images, 9), figure(queries[of], 9)));
  }
  std::sort(pairs.begin(), pairs.end());
  std::vector<std::string> confused;
  confused.reserve(pairs.size());
  for (const auto& [negative, words] : pairs) confused.push_back(words);
  if (!confused.empty())
    items.push_back(item("Merge, or look closer",
                         some_of(confused) +
                             ". If the difference does not matter to you, make them one class; else look at \"Confusions\" for "
                             "wrong labels and label more images of both"));
}

// Which labels would change the answer: of test images where a figure is unsure, of images that have none, of all classes where the
// few-shot curve still rises.
void more_labels(const Results& results, std::vector<Html>& items) {
  const Method* chosen = results.chosen();
  if (!chosen) return;
  std::vector<std::pair<double, std::string>> unsure;
  for (const json& row : elements(at(*chosen->scores, {"classes"}))) {
    const std::vector<Doubt> doubts = doubts_of(row);
    if (std::find(doubts.begin(), doubts.end(), Doubt::kUnsureRecall) != doubts.end())
      unsure.emplace_back(number_of(row, "queries"), text_of(row, "name"));
  }
  std::sort(unsure.begin(), unsure.end());
  std::vector<std::string> named;
  named.reserve(unsure.size());
  for (const auto& [images, name] : unsure) named.push_back(fmt::format("{} ({} test images)", name, figure(images, 9)));
  if (!named.empty())
    items.push_back(item("Label more test images", some_of(named) + ": with so few the interval of their recall reaches below 50 %"));
  const double open = number_of(at(results.all(), {"suites", chosen->protocol.c_str(), "protocol"}), "unlabelled_left_out");
  if (open > 0)
    items.push_back(item("Label what has no label", fmt::format("{} images of these splits have none and were left out", figure(open, 9))));
  const LabelGains gains = label_gains(results);
  if (gains.methods.empty()) return;
  const LabelGain* best = &gains.methods.front();
  for (const LabelGain& gain : gains.methods)
    if (gain.significant && (!best->significant || gain.after - gain.before > best->after - best->before)) best = &gain;
  const std::string step = fmt::format("from {} to {} labelled images per class", figure(gains.shots_before), figure(gains.shots_after));
  items.push_back(best->significant ? item("Label more of every class", fmt::format("{} {} still gained, {} % to {} %", step, best->method,
                                                                                    percent(best->before), percent(best->after)))
                                    : item("More labels of every class may not help", fmt::format("{} no method gained for sure", step)));
}

// Single classes below the mean, the rarest first: what more images of them would bring.
void more_of_a_class(const Results& results, std::vector<Html>& items) {
  std::vector<std::string> named;
  for (const json& result : elements(at(results.all(), {"suites", "few", "results"}))) {
    const json& more = at(result, {"more_images"});
    if (text_of(result, "name") != results.checkpoint()) continue;
    for (const json& row : elements(at(more, {"classes"}))) {
      const json& at_places = elements(at(row, {"at"}));
      if (at_places.size() < 2 || !(number_of(row, "recall") < number_of(more, "target"))) continue;
      named.push_back(fmt::format("{} ({} training images): recall {} % now, {} with twice as many; for the mean of all classes {}",
                                  text_of(row, "name"), figure(number_of(row, "memory"), 9), percent(number_of(row, "recall")),
                                  share_text(at(at_places[1], {"recall"}), at(at_places[1], {"interval95"})),
                                  needed_images_text(row, at(more, {"target"}))));
    }
  }
  if (named.empty()) return;
  const size_t all = named.size();
  if (all > kNamed) named.resize(kNamed);
  std::vector<Html> lines;
  lines.reserve(named.size());
  for (const std::string& line : named) lines.push_back(text(line));
  items.push_back(element("strong", text("What more images of a class would bring, by SimpleShot:")) + list(lines) +
                  (all > kNamed ? text(fmt::format("and {} more classes under \"Few-shot\"", all - kNamed)) : Html{}));
}

// The difference of two methods of the checkpoint in balanced accuracy, first minus second: [low, high], or null.
const json& difference(const Results& results, const Method& first, const json& second) {
  static const json none;
  const json name = json::array({first.protocol, first.embedder, first.method});
  for (const json& comparison : elements(at(results.all(), {"comparisons"})))
    if (at(comparison, {"first"}) == name && at(comparison, {"second"}) == second)
      return at(comparison, {"difference95", "balanced_accuracy"});
  return none;
}

// What each protocol gave more than the first one, and what it took.
Html worth(const Results& results) {
  Table table("What each protocol took, and what its first method gave on features of the checkpoint",
              {"protocol", "method", "seconds", "balanced accuracy in %", "more than the first, in points", "worth it"});
  const Method* first = nullptr;
  std::map<std::string, bool> seen;
  for (const json& comparison : elements(at(results.all(), {"comparisons"}))) {
    const json& name = elements(at(comparison, {"first"}));
    if (name.size() != 3 || !name[0].is_string() || !name[1].is_string() || !name[2].is_string() || name[1] != results.checkpoint())
      continue;
    const Method* method = results.find(name[0], name[1], name[2]);
    if (!method || seen[method->protocol]) continue;
    const bool is_first = at(comparison, {"second"}) == "majority";
    if (!is_first && (!first || at(comparison, {"second"}) != json::array({first->protocol, first->embedder, first->method}))) continue;
    seen[method->protocol] = true;
    if (is_first) first = method;
    const json& gain = is_first ? json() : difference(results, *method, at(comparison, {"second"}));
    const std::string range = interval_text(gain);
    std::string answer;
    if (!is_first && range.empty()) answer = "not known";
    if (!range.empty())
      answer = gain[0].get<double>() > 0 ? "yes" : gain[1].get<double>() < 0 ? "no: it is worse" : "not on these test images";
    const double seconds = number_of(at(results.all(), {"run", "seconds"}), method->protocol.c_str());
    table.add(
        {words(method->protocol.empty() ? "" : protocol_title(method->protocol).substr(0, protocol_title(method->protocol).find(':'))),
         words(method->name()), std::isnan(seconds) ? number("–", "not in results.json") : number(figure(seconds)),
         bootstrapped(*method->scores, "balanced_accuracy"),
         range.empty() ? number("–", is_first ? "it is the first" : "no interval") : number(range.substr(1)), words(answer)});
  }
  return seen.size() < 2
             ? Html{}
             : table.html() + element("p", text("Seconds: of the protocol with all its methods and features."), "class=\"soft\"");
}

}  // namespace

Html next_section(const Results& results) {
  std::vector<Html> items;
  repair_splits(results, items);
  repair_labels(results, items);
  repair_classes(results, items);
  more_labels(results, items);
  more_of_a_class(results, items);
  Html body = items.empty() ? paragraph("Nothing in these results asks for a change of labels or splits.") : list(items);
  return body + worth(results);
}

}  // namespace dinoxx::report
