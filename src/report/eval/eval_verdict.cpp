#include <fmt/ranges.h>

#include <cmath>
#include <map>

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

// "; always predicting the most frequent class: 80.00 %" of the same score, or nothing.
std::string majority_text(const json& majority, const char* score) {
  const json& value = at(majority, {score});
  return value.is_number() ? fmt::format(" (always predicting the most frequent class: {} %)", percent(value.get<double>())) : "";
}

// Cross-validation of the method's protocol on the checkpoint's features, or null.
const json& folds_of(const Results& results, const Method& method) {
  static const json none;
  for (const json& result : elements(at(results.all(), {"suites", method.protocol.c_str(), "results"})))
    if (text_of(result, "name") == method.embedder) return at(result, {"repeated_folds"});
  return none;
}

// Classes that cross-validation could not hold an image out of: its figures are of the others alone.
std::string without_classes(const json& folds) {
  std::vector<std::string> names;
  for (const json& name : elements(at(folds, {"classes_left_out"})))
    if (name.is_string()) names.push_back(name);
  return names.empty() ? ""
                       : fmt::format("; without {} of the classes, which have not two training images or groups to hold one out: {}",
                                     names.size(), fmt::join(names, ", "));
}

std::string folds_text(const json& folds, const json& method) {
  const auto value = [&](const char* score) {
    return share_text(at(method, {score, "mean"}), at(method, {score, "interval95"})) +
           fmt::format(" (majority class: {})", share_text(at(folds, {"majority", score, "mean"}), json()));
  };
  return fmt::format("balanced accuracy {}, accuracy {} in {} x {}-fold cross-validation of the {} training images{}",
                     value("balanced_accuracy"), value("accuracy"), figure(number_of(folds, "repeats")), figure(number_of(folds, "folds")),
                     figure(number_of(folds, "images"), 9), text_of(folds, "units") == "groups" ? ", by whole groups" : "") +
         without_classes(folds);
}

Html headline(const Results& results, const Method& chosen) {
  const json &scores = *chosen.scores, &majority = at(results.all(), {"majority"});
  const std::string what = fmt::format("{} on features of the {}: ", chosen.name(), features_name(chosen.embedder));
  if (const std::string only = only_tested_class(scores); !only.empty())
    return element("p",
                   element("strong", text(what + fmt::format("no verdict, because all {} test images are of one class, {}. A program that "
                                                             "always says {} would be right every time",
                                                             figure(number_of(scores, "count"), 9), only, only)))) +
           paragraph(fmt::format("{} of them were predicted as {}. Test images of the other classes are needed.",
                                 figure(number_of(scores, "correct"), 9), only));
  const std::string worst = text_of(at(scores, {"worst_class"}), "name");
  const json& folds = folds_of(results, chosen);
  const json& folded = at(folds, {"methods", chosen.method.c_str()});
  const bool by_folds = at(results.all(), {"checks", "test_size", "few"}) == true && at(folded, {"balanced_accuracy", "mean"}).is_number();
  const std::string on_test = "balanced accuracy " + balanced(scores);
  Html body = element("p", element("strong", text(what + (by_folds ? folds_text(folds, folded) : on_test))));
  if (by_folds)
    body += paragraph(fmt::format("The {} test images ({} a class) are too few for a headline. On them: {}.",
                                  figure(number_of(scores, "count"), 9),
                                  figure(number_of(at(results.all(), {"checks", "test_size"}), "per_class"), 3), on_test));
  body += paragraph(fmt::format("Accuracy {} on {} test images{}; macro F1 {}; lowest recall: class {} with {}.",
                                share_text(at(scores, {"accuracy"}), at(scores, {"interval95"})), figure(number_of(scores, "count"), 9),
                                majority_text(majority, "accuracy"), percent(number_of(scores, "macro_f1")),
                                worst.empty() ? "unknown" : worst, share_text(at(scores, {"worst_class", "recall"}), json())));
  const json& leaks = at(results.all(), {"checks", "leaks"});
  if (!(number_of(leaks, "queries") > 0)) return body;
  const json& clean = at(scores, {"without_leaks"});
  const std::string without = fmt::format("Without the {} test images that are leaks (of which training images have a copy or the group): ",
                                          figure(number_of(leaks, "queries"), 9));
  return body + element("p", element("strong",
                                     text(without + (clean.is_object()
                                                         ? fmt::format("balanced accuracy {}, accuracy {} on {} images{}.", balanced(clean),
                                                                       share_text(at(clean, {"accuracy"}), at(clean, {"interval95"})),
                                                                       figure(number_of(clean, "count"), 9),
                                                                       majority_text(at(majority, {"without_leaks"}), "accuracy"))
                                                         : why_undefined(scores, "without_leaks") + "."))));
}

// Did the last doubling of the labels still help?
Html more_labels(const Results& results) {
  const LabelGains gains = label_gains(results);
  std::vector<Html> items;
  for (const LabelGain& gain : gains.methods)
    items.push_back(text(fmt::format(
        "{}: from {} % to {} %; {}", gain.method, percent(gain.before), percent(gain.after),
        gain.significant ? "a significant gain: more labels still help" : "no significant gain: the intervals over draws overlap")));
  if (items.empty()) return {};
  return element("h3",
                 text(fmt::format("From {} to {} labelled images per class", figure(gains.shots_before), figure(gains.shots_after)))) +
         list(items) +
         element(
             "p",
             text("The curve is for all classes together and ends where the smaller classes have no more images; what more images of one "
                  "class would bring stands under \"Few-shot\"."),
             "class=\"soft\"");
}

Html distrusted(const Method& chosen) {
  std::map<Doubt, std::vector<std::string>> lists;
  size_t classes = 0, good = 0;
  for (const json& row : elements(at(*chosen.scores, {"classes"}))) {
    ++classes;
    const std::vector<Doubt> doubts = doubts_of(row);
    good += doubts.empty();
    for (const Doubt doubt : doubts) lists[doubt].push_back(text_of(row, "name"));
  }
  if (classes == 0) return paragraph("results.json has no scores per class.");
  constexpr size_t kNamed = 30;
  std::vector<Html> items;
  for (auto& [kind, names] : lists) {
    const size_t all = names.size();
    if (all > kNamed) names.resize(kNamed);
    items.push_back(
        element("strong", text(doubt_text(kind) + ": ")) +
        text(fmt::format("{}{}", fmt::join(names, ", "), all > kNamed ? fmt::format(" and {} more (table below)", all - kNamed) : "")));
  }
  if (items.empty()) return paragraph("The 95 % interval of recall and precision lies above 50 % for every class.");
  return element("h3", text(fmt::format("Classes with unreliable predictions ({} of {})", classes - good, classes))) + list(items);
}

// What speaks against all numbers of the page.
Html doubts_of_numbers(const Results& results) {
  std::vector<Html> warnings;
  for (const json& warning : elements(at(results.all(), {"checks", "warnings"}))) warnings.push_back(value_text(warning));
  for (const json& health : elements(at(results.all(), {"feature_health"})))
    if (const std::string alarm = health_alarm(health); !alarm.empty() && text_of(health, "name") == results.checkpoint())
      warnings.push_back(text("features of the checkpoint: " + alarm));
  if (warnings.empty()) return {};
  return element("div", element("strong", text("Before you believe these numbers")) + list(warnings), "class=\"verdict warn\"");
}

}  // namespace

LabelGains label_gains(const Results& results) {
  const json& curve = elements(at(results.all(), {"suites", "few", "results"}));
  const json& points = elements(curve.empty() ? curve : at(curve[0], {"curve"}));
  if (points.size() < 2) return {};
  const json &last = points[points.size() - 1], &before = points[points.size() - 2];
  LabelGains gains{number_of(before, "shots"), number_of(last, "shots"), {}};
  for (const char* method : {"simpleshot", "nearest_mean", "logistic"}) {
    const json& now = at(last, {"methods", method, "balanced_accuracy"});
    const json& then = at(before, {"methods", method, "balanced_accuracy"});
    const double a = number_of(then, "mean"), b = number_of(now, "mean");
    const json &above = at(now, {"interval95"}), &below = at(then, {"interval95"});
    if (std::isnan(a) || std::isnan(b) || interval_text(above).empty() || interval_text(below).empty()) continue;
    gains.methods.push_back({method_name("few", method), a, b, above[0].get<double>() > below[1].get<double>()});
  }
  return gains;
}

std::vector<Doubt> doubts_of(const json& row) {
  const auto low = [&](const char* key) {
    return at(row, {key}).is_array() && !at(row, {key}).empty() ? number_or_nan(at(row, {key})[0]) : NAN;
  };
  if (number_of(row, "memory") == 0) return {Doubt::kUntrained};  // it is never predicted: the rest follows
  std::vector<Doubt> doubts;
  const double recall = number_of(row, "recall"), precision = number_of(row, "precision");
  if (recall < 0.5) doubts.push_back(Doubt::kLowRecall);
  if (precision < 0.5) doubts.push_back(Doubt::kLowPrecision);
  if (std::isnan(recall)) doubts.push_back(Doubt::kUnmeasured);
  if (recall >= 0.5 && low("interval95") < 0.5) doubts.push_back(Doubt::kUnsureRecall);
  if (precision >= 0.5 && low("precision95") < 0.5) doubts.push_back(Doubt::kUnsurePrecision);
  return doubts;
}

std::string doubt_text(Doubt doubt) {
  switch (doubt) {
    case Doubt::kUntrained:
      return "no training image";
    case Doubt::kUnmeasured:
      return "no test image";
    case Doubt::kLowRecall:
      return "recall below 50 %: more than half of its images are missed";
    case Doubt::kUnsureRecall:
      return "too few test images: the 95 % interval of recall reaches below 50 %";
    case Doubt::kLowPrecision:
      return "precision below 50 %: more than half of the images given this label are wrong";
    case Doubt::kUnsurePrecision:
      return "too few predictions: the 95 % interval of precision reaches below 50 %";
  }
  return "";
}

std::string doubts_text(const json& row) {
  std::vector<std::string> words;
  for (const Doubt doubt : doubts_of(row)) words.push_back(doubt_text(doubt));
  return words.empty() ? "yes" : fmt::format("{}", fmt::join(words, "; "));
}

std::string only_tested_class(const json& scores) {
  std::string name;
  int64_t tested = 0;
  for (const json& row : elements(at(scores, {"classes"}))) {
    if (!(number_of(row, "queries") > 0)) continue;
    name = text_of(row, "name");
    ++tested;
  }
  return tested == 1 ? name : "";
}

Html verdict_section(const Results& results) {
  const Method* chosen = results.chosen();
  if (const Html several = multi_label_verdict(results); !chosen && !several.code.empty()) return several + doubts_of_numbers(results);
  if (!chosen) return paragraph("None of the methods that a verdict is based on was run. The other sections show the results that exist.");
  const json& scores = *chosen->scores;
  Html body = headline(results, *chosen);
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
  return element("div", body, "class=\"verdict\"") + doubts_of_numbers(results) + distrusted(*chosen) + more_labels(results);
}

}  // namespace dinoxx::report
