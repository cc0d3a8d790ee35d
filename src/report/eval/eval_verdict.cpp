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

// Notes on balanced accuracy's interval: why there is none, and what the evaluation says about it.
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
  const auto is = [](const json& name, const Method& method) { return name == json({method.protocol, method.embedder, method.method}); };
  for (const json& comparison : elements(at(results.all(), {"comparisons"}))) {
    const bool forward = is(at(comparison, {"first"}), chosen) && is(at(comparison, {"second"}), other);
    const bool backward = is(at(comparison, {"first"}), other) && is(at(comparison, {"second"}), chosen);
    const json& interval = at(comparison, {"difference95", "balanced_accuracy"});
    if (!forward && !backward) continue;
    if (interval_text(interval).empty())
      return "; the difference has no interval: " + why_undefined(at(comparison, {"difference95"}), "balanced_accuracy");
    constexpr double kLevel = 0.05;
    const double low = interval[0].get<double>(), high = interval[1].get<double>();
    const json& test = at(comparison, {"mcnemar"});
    if ((low <= 0 && high >= 0) || !(number_of(test, "p") < kLevel)) return "; the difference is not significant on this test set";
    const bool first = low > 0;
    if (first != (number_of(test, "only_first_right") > number_of(test, "only_second_right")))
      return "; undecided: balanced accuracy and accuracy favour different methods";
    return first == forward ? "; the checkpoint is better" : "; the checkpoint is worse";
  }
  return "";
}

// The same method on a network without training and on pixels, k-NN of the checkpoint, the majority class.
Html beside(const Results& results, const Method& chosen) {
  std::vector<Html> items;
  for (const Method& method : results.methods())
    if (method.protocol == chosen.protocol && method.method == chosen.method && method.embedder != chosen.embedder)
      items.push_back(text(
          fmt::format("the same on {}: {}{}", features_name(method.embedder), balanced(*method.scores), against(results, chosen, method))));
  if (chosen.protocol != "knn")
    if (const Method* knn = results.find("knn", chosen.embedder, "vote"))
      items.push_back(text("k-NN without any training: " + balanced(*knn->scores)));
  const json& majority = at(results.all(), {"majority"});
  if (majority.is_object())
    items.push_back(text("always predicting the most frequent class: " + share_text(at(majority, {"balanced_accuracy"}), json())));
  return items.empty() ? Html{} : paragraph("For comparison, balanced accuracy:") + list(items);
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
    items.push_back(
        text(fmt::format("{}: from {} % to {} %; {}", method_name("few", method), percent(a), percent(b),
                         apart ? "a significant gain: more labels still help" : "no significant gain: the intervals over draws overlap")));
  }
  if (items.empty()) return {};
  return element("h3", text(fmt::format("From {} to {} labelled images per class", figure(number_of(before, "shots")),
                                        figure(number_of(last, "shots"))))) +
         list(items) +
         element("p",
                 text("This does not tell how many more images a single class needs: the curve is for all classes together and ends where "
                      "the smaller classes have no more images."),
                 "class=\"soft\"");
}

Html distrusted(const Method& chosen) {
  std::vector<std::pair<Trust, std::vector<std::string>>> lists;
  for (const Trust trust :
       {Trust::kUntrained, Trust::kLowRecall, Trust::kUnsureRecall, Trust::kLowPrecision, Trust::kUnsurePrecision, Trust::kUnmeasured})
    lists.push_back({trust, {}});
  size_t classes = 0, good = 0;
  for (const json& row : elements(at(*chosen.scores, {"classes"}))) {
    ++classes;
    const Trust trust = trust_of(row);
    good += trust == Trust::kGood;
    for (auto& [kind, names] : lists)
      if (kind == trust) names.push_back(text_of(row, "name"));
  }
  if (classes == 0) return paragraph("results.json has no scores per class.");
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
  if (items.empty()) return paragraph("The 95 % interval of recall and precision lies above 50 % for every class.");
  return element("h3", text(fmt::format("Classes with unreliable predictions ({} of {})", classes - good, classes))) + list(items);
}

}  // namespace

Trust trust_of(const json& row) {
  const auto low = [&](const char* key) {
    return at(row, {key}).is_array() && !at(row, {key}).empty() ? number_or_nan(at(row, {key})[0]) : NAN;
  };
  if (number_of(row, "memory") == 0) return Trust::kUntrained;
  const double recall = number_of(row, "recall");
  if (std::isnan(recall)) return Trust::kUnmeasured;
  if (recall < 0.5) return Trust::kLowRecall;
  if (low("interval95") < 0.5) return Trust::kUnsureRecall;
  if (number_of(row, "precision") < 0.5) return Trust::kLowPrecision;
  if (low("precision95") < 0.5) return Trust::kUnsurePrecision;
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
    case Trust::kLowRecall:
      return "recall below 50 %: more than half of its images are missed";
    case Trust::kUnsureRecall:
      return "too few test images: the 95 % interval of recall reaches below 50 %";
    case Trust::kLowPrecision:
      return "precision below 50 %: more than half of the images given this label are wrong";
    case Trust::kUnsurePrecision:
      return "too few predictions: the 95 % interval of precision reaches below 50 %";
  }
  return "";
}

Html verdict_section(const Results& results) {
  const Method* chosen = results.chosen();
  if (!chosen) return paragraph("None of the methods that a verdict is based on was run. The other sections show the results that exist.");
  const json& scores = *chosen->scores;
  std::string headline =
      fmt::format("{} on features of the {}: balanced accuracy {}", chosen->name(), features_name(chosen->embedder), balanced(scores));
  Html body = element("p", element("strong", text(headline)));
  body +=
      paragraph(fmt::format("Accuracy {} on {} test images; macro F1 {}; lowest recall: class {} with {}.",
                            share_text(at(scores, {"accuracy"}), at(scores, {"interval95"})), figure(number_of(scores, "count"), 9),
                            percent(number_of(scores, "macro_f1")),
                            text_of(at(scores, {"worst_class"}), "name").empty() ? "unknown" : text_of(at(scores, {"worst_class"}), "name"),
                            share_text(at(scores, {"worst_class", "recall"}), json())));
  for (const std::string& note : notes_on_interval(scores)) body += paragraph(note);
  body += beside(results, *chosen);
  std::vector<std::string> order;
  for (const auto& [protocol, method] : order_of_choice()) order.push_back(method_name(protocol, method));
  body +=
      element("p",
              text(fmt::format(
                  "The verdict is about the first of these methods that was run: {}. The order is fixed in advance; no test score "
                  "chose the method. "
                  "Intervals are 95 % intervals: bootstrap over test images for balanced accuracy, Wilson for accuracy, recall and "
                  "precision. Better "
                  "or worse means: the interval of the paired difference does not contain 0, and McNemar's exact test gives p below 5 %.",
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
