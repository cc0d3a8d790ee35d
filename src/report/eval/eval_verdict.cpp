#include <fmt/ranges.h>

#include <cmath>

#include "eval_sections.hpp"
#include "report/run/run_figures.hpp"

namespace dinoxx::report {
namespace {

using nlohmann::json;

const json& balanced_interval(const json& scores) {
  return at(scores, {"bootstrap95", "balanced_accuracy"});
}

std::string balanced(const json& scores) {
  return share_text(at(scores, {"balanced_accuracy"}), balanced_interval(scores));
}

// What is said of balanced accuracy's interval: why there is none, and what the evaluation notes about it.
std::vector<std::string> notes_on_interval(const json& scores) {
  std::vector<std::string> notes;
  if (const json& why = at(scores, {"bootstrap95", "undefined", "balanced_accuracy"}); why.is_string())
    notes.push_back("Balanced accuracy has no interval: " + why.get<std::string>());
  if (const std::string note = text_of(scores, "bootstrap95_note"); !note.empty()) notes.push_back("Its interval: " + note);
  return notes;
}

// What the paired tests say of two methods, in words. The bootstrap is too sure of itself where few images differ, McNemar's test looks at
// accuracy alone: a difference is what both see, in the same direction.
std::string against(const Results& results, const Method& chosen, const Method& other) {
  const auto is = [](const json& name, const Method& method) { return name == json({method.step, method.embedder, method.method}); };
  for (const json& comparison : elements(at(results.all(), {"comparisons"}))) {
    const bool forward = is(at(comparison, {"first"}), chosen) && is(at(comparison, {"second"}), other);
    const bool backward = is(at(comparison, {"first"}), other) && is(at(comparison, {"second"}), chosen);
    const json& interval = at(comparison, {"difference95", "balanced_accuracy"});
    if (!forward && !backward) continue;
    if (interval_text(interval).empty())
      return "; whether that is a difference cannot be said: " + why_undefined(at(comparison, {"difference95"}), "balanced_accuracy");
    constexpr double kLevel = 0.05;
    const double low = interval[0].get<double>(), high = interval[1].get<double>();
    const json& test = at(comparison, {"mcnemar"});
    if ((low <= 0 && high >= 0) || !(number_of(test, "p") < kLevel)) return "; no difference that this test set can show";
    const bool first = low > 0;
    if (first != (number_of(test, "only_first_right") > number_of(test, "only_second_right")))
      return "; balanced accuracy and accuracy speak for different ones";
    return first == forward ? "; the checkpoint is better" : "; the checkpoint is worse";
  }
  return "";
}

// The same method on a network without training and on pixels, k-NN of the checkpoint, the majority class.
Html beside(const Results& results, const Method& chosen) {
  std::vector<Html> items;
  for (const Method& method : results.methods())
    if (method.step == chosen.step && method.method == chosen.method && method.embedder != chosen.embedder)
      items.push_back(text(
          fmt::format("the same on {}: {}{}", features_name(method.embedder), balanced(*method.scores), against(results, chosen, method))));
  if (chosen.step != "knn")
    if (const Method* knn = results.find("knn", chosen.embedder, "vote"))
      items.push_back(text("k-NN without any training: " + balanced(*knn->scores)));
  const json& majority = at(results.all(), {"majority"});
  if (majority.is_object())
    items.push_back(text("always the most frequent class: " + share_text(at(majority, {"balanced_accuracy"}), json())));
  return items.empty() ? Html{} : paragraph("Beside it, balanced accuracy:") + list(items);
}

// Did the last doubling of the labels still help?
Html more_labels(const Results& results) {
  const json& curve = elements(at(results.all(), {"suites", "few", "results"}));
  const json& points = elements(curve.empty() ? curve : at(curve[0], {"curve"}));
  if (points.size() < 2) return {};
  const json &last = points[points.size() - 1], &before = points[points.size() - 2];
  std::vector<Html> items;
  for (const char* method : {"simpleshot", "nearest_mean", "logistic"}) {
    const json& now = at(last, {"methods", method, "balanced_accuracy"});
    const json& then = at(before, {"methods", method, "balanced_accuracy"});
    const double a = number_of(then, "mean"), b = number_of(now, "mean");
    const json &above = at(now, {"interval95"}), &below = at(then, {"interval95"});
    if (std::isnan(a) || std::isnan(b) || interval_text(above).empty() || interval_text(below).empty()) continue;
    const bool apart = above[0].get<double>() > below[1].get<double>();
    items.push_back(text(fmt::format("{}: from {} % to {} %; {}", method_name("few", method), percent(a), percent(b),
                                     apart ? "more labels still help" : "within the intervals over draws")));
  }
  if (items.empty()) return {};
  return element("h3", text(fmt::format("From {} to {} labelled images per class", figure(number_of(before, "shots")),
                                        figure(number_of(last, "shots"))))) +
         list(items) +
         element("p",
                 text("How many more images a single class needs is not said: the curve is of all classes together, ends where the "
                      "smaller ones have no more images, and says nothing of what lies behind its end."),
                 "class=\"soft\"");
}

Html distrusted(const Method& chosen) {
  std::vector<std::pair<Trust, std::vector<std::string>>> lists;
  for (const Trust trust : {Trust::kUntrained, Trust::kMissed, Trust::kUnsure, Trust::kWrong, Trust::kUnmeasured})
    lists.push_back({trust, {}});
  size_t classes = 0, good = 0;
  for (const json& row : elements(at(*chosen.scores, {"classes"}))) {
    ++classes;
    const Trust trust = trust_of(row);
    good += trust == Trust::kGood;
    for (auto& [kind, names] : lists)
      if (kind == trust) names.push_back(text_of(row, "name"));
  }
  if (classes == 0) return paragraph("No scores per class: nothing can be said of single classes.");
  constexpr size_t kNamed = 30;
  std::vector<Html> items;
  for (auto& [kind, names] : lists) {
    if (names.empty()) continue;
    const size_t all = names.size();
    if (all > kNamed) names.resize(kNamed);
    items.push_back(
        element("strong", text(trust_text(kind) + ": ")) +
        text(fmt::format("{}{}", fmt::join(names, ", "), all > kNamed ? fmt::format(" and {} more (table below)", all - kNamed) : "")));
  }
  if (items.empty()) return paragraph("Every class is found more often than not, also at the lower end of its interval.");
  return element("h3", text(fmt::format("Classes that cannot be trusted ({} of {})", classes - good, classes))) + list(items);
}

}  // namespace

Trust trust_of(const json& row) {
  const auto low = [&](const char* key) {
    return at(row, {key}).is_array() && !at(row, {key}).empty() ? number_or_nan(at(row, {key})[0]) : NAN;
  };
  if (number_of(row, "memory") == 0) return Trust::kUntrained;
  const double recall = number_of(row, "recall");
  if (std::isnan(recall)) return Trust::kUnmeasured;
  if (recall < 0.5) return Trust::kMissed;
  if (low("interval95") < 0.5) return Trust::kUnsure;
  if (low("precision95") < 0.5) return Trust::kWrong;
  return Trust::kGood;
}

std::string trust_text(Trust trust) {
  switch (trust) {
    case Trust::kGood:
      return "yes";
    case Trust::kUntrained:
      return "no training image";
    case Trust::kUnmeasured:
      return "no test image";
    case Trust::kMissed:
      return "fewer than half found";
    case Trust::kUnsure:
      return "too few test images to rule out that half is missed";
    case Trust::kWrong:
      return "its name may be wrong every second time it is given";
  }
  return "";
}

Html verdict_section(const Results& results) {
  const Method* chosen = results.chosen();
  if (!chosen)
    return paragraph("No method that a verdict could speak of was run: there is no verdict. The other sections show what there is.");
  const json& scores = *chosen->scores;
  std::string headline =
      fmt::format("{} on features of the {}: balanced accuracy {}", chosen->name(), features_name(chosen->embedder), balanced(scores));
  Html body = element("p", element("strong", text(headline)));
  body +=
      paragraph(fmt::format("Accuracy {} on {} test images; macro F1 {}; worst class {} with {} found.",
                            share_text(at(scores, {"accuracy"}), at(scores, {"interval95"})), figure(number_of(scores, "count"), 9),
                            percent(number_of(scores, "macro_f1")),
                            text_of(at(scores, {"worst_class"}), "name").empty() ? "unknown" : text_of(at(scores, {"worst_class"}), "name"),
                            share_text(at(scores, {"worst_class", "recall"}), json())));
  for (const std::string& note : notes_on_interval(scores)) body += paragraph(note);
  body += beside(results, *chosen);
  std::vector<std::string> order;
  for (const auto& [step, method] : order_of_choice()) order.push_back(method_name(step, method));
  body += element(
      "p",
      text(fmt::format(
          "The method is the first that was run out of: {}. The order is fixed beforehand; no test score chose it. Intervals are at 95 %: "
          "bootstrap over test images for balanced accuracy, Wilson for accuracy and recall. Better or worse: the interval of the paired "
          "difference does not hold 0 and McNemar's exact test has a p below 5 %.",
          fmt::join(order, "; "))),
      "class=\"soft\"");
  body = element("div", body, "class=\"verdict\"");
  std::vector<Html> warnings;
  for (const json& warning : elements(at(results.all(), {"checks", "warnings"}))) warnings.push_back(value_text(warning));
  if (!warnings.empty())
    body += element("div", element("strong", text("Before you believe these numbers")) + list(warnings), "class=\"verdict warn\"");
  return body + distrusted(*chosen) + more_labels(results);
}

}  // namespace dinoxx::report
