// Images with several labels (protocol multi_label).
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>

#include "base/csv.hpp"
#include "dinoxx/base/error.hpp"
#include "report/eval/eval_sections.hpp"
#include "report/run/run_figures.hpp"

namespace dinoxx::report {
namespace {

using nlohmann::json;

constexpr const char *kKey = "multi_label", *kHead = "logistic", *kNeighbours = "knn";

const json& results_of(const Results& results) {
  return elements(at(results.all(), {"suites", kKey, "results"}));
}

// Of the checkpoint, or null.
const json& of_checkpoint(const Results& results) {
  static const json none;
  for (const json& result : results_of(results))
    if (text_of(result, "name") == results.checkpoint() && at(result, {"scores"}).is_object()) return result;
  return none;
}

std::string way(const std::string& method) {
  return method_name(kKey, method);
}

Html all_labels(const Results& results) {
  Table table("All labels together, in % with 95 % bootstrap intervals",
              {"method", "features", "mAP", "macro AUROC", "macro F1", "micro F1", "all labels of an image right"});
  for (const json& result : results_of(results)) {
    const json& scores = at(result, {"scores"});
    if (!scores.is_object()) continue;
    for (const auto& [method, of] : scores.items())
      table.add({words(way(method)), words(features_name(text_of(result, "name"))), bootstrapped(of, "map"),
                 bootstrapped(of, "macro_auroc"), bootstrapped(of, "macro_f1"), bootstrapped(of, "micro_f1"), bootstrapped(of, "exact")});
  }
  table.add({words("an order that is drawn"), words(""), share(at(of_checkpoint(results), {"chance"}), "map"), words(""), words(""),
             words(""), words("")});
  return table.html();
}

Html each_label(const json& result) {
  Table table(fmt::format("Each label: {} on features of the {}, in %", way(kHead), features_name(text_of(result, "name"))),
              {"label", "training images with it", "test images with it", "share of the test images", "average precision", "AUROC",
               "k-NN, average precision", "yes from", "precision", "recall", "F1"});
  for (const json& row : elements(at(result, {"labels"}))) {
    const json &head = at(row, {kHead}), &neighbours = at(row, {kNeighbours});
    table.add({words(text_of(row, "name")), count(at(row, {"memory"}), "yes"), count(at(row, {"queries"}), "yes"), share(row, "share"),
               bootstrapped(head, "average_precision"), share(head, "auroc"), bootstrapped(neighbours, "average_precision"),
               plain(row, "threshold"), share(head, "precision"), share(head, "recall"), bootstrapped(head, "f1")});
  }
  return table.html();
}

Html differences(const Results& results) {
  Table table("Do features differ? First minus second in points [95 % interval], on the same resamples of the test images",
              {"figure", "first", "second", "difference"});
  for (const json& row : elements(at(results.all(), {"suites", kKey, "paired"}))) {
    const double difference = number_of(row, "difference");
    if (std::isnan(difference)) continue;
    table.add({words(text_of(row, "figure")), words(features_name(text_of(row, "first"))), words(features_name(text_of(row, "second"))),
               number(percent(difference) + interval_text(at(row, {"interval95"})))});
  }
  return table.empty() ? Html{} : table.html();
}

// "; the checkpoint is better" of the mean average precision of the head.
std::string against(const Results& results, const std::string& other) {
  for (const json& row : elements(at(results.all(), {"suites", kKey, "paired"}))) {
    if (text_of(row, "figure") != std::string(kHead) + " mAP" || text_of(row, "second") != other) continue;
    const json& interval = at(row, {"interval95"});
    if (interval_text(interval).empty()) return "";
    return interval[0].get<double>() > 0   ? "; the checkpoint is better"
           : interval[1].get<double>() < 0 ? "; the checkpoint is worse"
                                           : "; the difference is not significant on this test set";
  }
  return "";
}

// One image of the table of predictions that is wrong about a label.
struct Mistake {
  std::string key;
  double probability;
};

// Of each label the surest mistakes: answered yes and not labelled so, and the other way round; `predictions`: the text of the table.
Html mistakes_of(const json& result, const Thumbnails& pictures, const std::string& predictions) {
  constexpr size_t kLabels = 30, kPictures = 6;
  CsvTable table;
  try {
    table = parse_csv(predictions, "predictions");
  } catch (const Error&) {  // a file that was cut off: the page does without it
  }
  if (table.rows.size() < 2) return {};
  const std::vector<std::string>& heading = table.rows.front();
  const auto column = [&](const std::string& name) { return static_cast<size_t>(std::ranges::find(heading, name) - heading.begin()); };
  const size_t key = column("key"), has = column("labels"), unknown = column("unknown"), answer = column("predicted");
  if (std::max({key, has, unknown, answer}) >= heading.size()) return {};
  const auto lists = [](const std::string& list, const std::string& label) {
    return (";" + list + ";").find(";" + label + ";") != std::string::npos;
  };
  Html body;
  size_t shown = 0;
  for (const json& row : elements(at(result, {"labels"}))) {
    const std::string label = text_of(row, "name");
    const size_t probability = column("p:" + label);
    if (probability >= heading.size() || shown == kLabels) continue;
    std::vector<Mistake> wrong, missed;
    for (size_t r = 1; r < table.rows.size(); ++r) {
      const std::vector<std::string>& fields = table.rows[r];
      if (fields.size() != heading.size() || fields[probability].empty() || lists(fields[unknown], label)) continue;
      const bool truth = lists(fields[has], label), answered = lists(fields[answer], label);
      if (truth != answered) (answered ? wrong : missed).push_back({fields[key], std::strtod(fields[probability].c_str(), nullptr)});
    }
    if (wrong.empty() && missed.empty()) continue;
    ++shown;
    std::ranges::stable_sort(wrong, std::greater(), &Mistake::probability);
    std::ranges::stable_sort(missed, std::less(), &Mistake::probability);
    Html inside;
    for (const auto& [what, mistakes] :
         {std::pair("answered yes, not labelled so", &wrong), std::pair("labelled so, not answered", &missed)}) {
      Html items;
      for (size_t i = 0; i < std::min(kPictures, mistakes->size()); ++i) {
        const Mistake& mistake = (*mistakes)[i];
        const Html caption = text(fmt::format("{}, {} %", mistake.key, figure(100 * mistake.probability, 3)));
        items += pictures.available() ? pictures.item(mistake.key, caption) : element("li", caption);
      }
      if (!items.code.empty()) inside += paragraph(fmt::format("{} ({}), the surest first", what, mistakes->size())) + gallery(items);
    }
    body += details(fmt::format("{}: {} answered yes and not labelled so, {} missed", label, wrong.size(), missed.size()), inside);
  }
  if (body.code.empty()) return {};
  return element("h3", text("Test images that are wrong about a label")) + paragraph("Look for labels that are wrong themselves.") + body;
}

}  // namespace

Html multi_label_verdict(const Results& results) {
  const json& result = of_checkpoint(results);
  if (result.is_null()) return {};
  const auto map_of = [](const json& of, const char* method) {
    return share_text(at(of, {"scores", method, "map"}), at(of, {"scores", method, "bootstrap95", "map"}));
  };
  const json& scores = at(result, {"scores", kHead});
  const json* lowest = nullptr;
  for (const json& row : elements(at(result, {"labels"}))) {
    const double value = number_of(at(row, {kHead}), "average_precision");
    if (!std::isnan(value) && (!lowest || value < number_of(at(*lowest, {kHead}), "average_precision"))) lowest = &row;
  }
  Html body = element("p", element("strong", text(fmt::format("{} on features of the {}: mAP {} over {} labels, of which an image may have "
                                                              "several",
                                                              way(kHead), features_name(text_of(result, "name")), map_of(result, kHead),
                                                              elements(at(result, {"labels"})).size()))));
  std::string more =
      fmt::format("Macro F1 {}, micro F1 {}; all labels right for {} of the images", share_text(at(scores, {"macro_f1"}), json()),
                  share_text(at(scores, {"micro_f1"}), json()), share_text(at(scores, {"exact"}), json()));
  if (lowest)
    more += fmt::format("; lowest average precision: {} with {} ({} test images with it)", text_of(*lowest, "name"),
                        share_text(at(*lowest, {kHead, "average_precision"}), at(*lowest, {kHead, "bootstrap95", "average_precision"})),
                        figure(number_of(at(*lowest, {"queries"}), "yes"), 9));
  body += paragraph(more + ".");
  std::vector<Html> items;
  for (const json& other : results_of(results))
    if (const std::string name = text_of(other, "name"); name != results.checkpoint())
      items.push_back(text(fmt::format("the same on {}: {}{}", features_name(name), map_of(other, kHead), against(results, name))));
  items.push_back(text("k-NN without any training: " + map_of(result, kNeighbours)));
  items.push_back(text("an order that is drawn: " + share_text(at(result, {"chance", "map"}), json())));
  body += paragraph("For comparison, mAP:") + list(items);
  body +=
      element("p",
              text("mAP is the mean over the labels of the average precision, in which every label counts the same. Intervals are 95 % "
                   "bootstrap intervals over test images. Better or worse means: the interval of the paired difference does not contain "
                   "0."),
              "class=\"soft\"");
  return element("div", body, "class=\"verdict\"");
}

Html multi_label_section(const Results& results, const Thumbnails& pictures, const std::string& predictions) {
  const json& result = of_checkpoint(results);
  if (result.is_null()) return {};
  Html body = all_labels(results) + each_label(result) + differences(results);
  std::vector<Html> notes;
  for (const json& note : elements(at(result, {"notes"}))) notes.push_back(value_text(note));
  if (!notes.empty()) body += list(notes);
  return body + mistakes_of(result, pictures, predictions) +
         paragraph(
             fmt::format("C and thresholds were chosen on: {} ({} images), C = {}. A threshold is the probability of largest F1 there. "
                         "An order that is drawn has the share of the images with the label as its average precision. {} has a line "
                         "for each test image.",
                         text_of(at(result, {"selection"}), "by"), figure(number_of(at(result, {"selection"}), "images"), 9),
                         figure(number_of(at(result, {"selection"}), "C")), text_of(result, "predictions")));
}

}  // namespace dinoxx::report
