#include <fmt/ranges.h>

#include <algorithm>

#include "eval/correspondence/match.hpp"
#include "eval/decision/decision_scores.hpp"
#include "eval/multi_label/multi_label.hpp"
#include "eval/ordered/ordered.hpp"
#include "eval/protocols/more_images.hpp"
#include "eval/statistics/paired.hpp"
#include "eval/subgroups/subgroups.hpp"
#include "evaluate.hpp"
#include "model/weights/facts.hpp"
#include "results/protocol_names.hpp"

namespace dinoxx::eval {
namespace {

using nlohmann::json;

// More classes than this are left to results.json.
constexpr size_t kClassesShown = 30;

std::string percent(const json& value) {
  return value.is_null() ? "-" : fmt::format("{:.2f}", 100.0 * value.get<double>());
}

std::string interval(const json& value) {
  return fmt::format("{}-{}", percent(value[0]), percent(value[1]));
}

std::string knn_table(const json& knn, const json& majority) {
  const json& protocol = knn["protocol"];
  const auto count = [](const json& part) {
    return fmt::format("{} ({} images)", part["source"].get<std::string>(), part["images"].get<int64_t>());
  };
  std::string text = fmt::format("k-NN accuracy in %, queries {}, memory {}, {} classes, images {}\n", count(protocol["queries"]),
                                 count(protocol["memory"]), protocol["classes"].get<int>(), protocol["transform"].get<std::string>());
  const std::string headline = std::to_string(protocol["headline_k"].get<int>());
  text += fmt::format("  {:<12}", "");
  for (const json& k : protocol["k"])
    text += fmt::format("{:>9}", fmt::format("{}k={}", std::to_string(k.get<int>()) == headline ? "*" : "", k.get<int>()));
  text += fmt::format("{:>16}{:>12}\n", "95 %", "balanced");
  for (const json& result : knn["results"]) {
    text += fmt::format("  {:<12}", result["name"].get<std::string>());
    for (const json& k : protocol["k"]) text += fmt::format("{:>9}", percent(result["by_k"][std::to_string(k.get<int>())]["accuracy"]));
    text += fmt::format("{:>16}{:>12}\n", interval(result["headline"]["interval95"]), percent(result["headline"]["balanced_accuracy"]));
  }
  if (majority.is_object()) text += fmt::format("  always predicting the most frequent class: {}\n", percent(majority["accuracy"]));
  text += fmt::format("  * headline; its 95 % interval and its mean over classes follow\n");

  const json& classes = knn["results"][0]["classes"];
  if (classes.size() <= kClassesShown) {
    size_t width = 5;
    for (const json& row : classes) width = std::max(width, row["name"].get<std::string>().size());
    text += fmt::format("  {:<{}}{:>9}{:>9}{:>9}{:>16}   ({}, k={})\n", "class", width, "memory", "queries", "recall", "95 %",
                        knn["results"][0]["name"].get<std::string>(), headline);
    for (const json& row : classes) {
      text += fmt::format("  {:<{}}{:>9}{:>9}{:>9}{:>16}\n", row["name"].get<std::string>(), width, row["memory"].get<int64_t>(),
                          row["queries"].get<int64_t>(), percent(row["recall"]),
                          row.contains("interval95") ? interval(row["interval95"]) : "-");
    }
  }
  return text;
}

// A mean over draws with half the width of its interval.
std::string mean_and_half(const json& score) {
  if (!score.contains("mean") || score["mean"].is_null()) return "-";
  if (!score.contains("interval95") || score["interval95"].is_null()) return percent(score["mean"]);
  return fmt::format("{} +-{:.2f}", percent(score["mean"]),
                     50.0 * (score["interval95"][1].get<double>() - score["interval95"][0].get<double>()));
}

std::string clustering_table(const json& clustering) {
  std::string text = fmt::format(
      "without labels, in %: clusters of the memory against classes, retrieval by cosine\n  {:<12}{:>10}{:>9}{:>9}{:>9}{:>14}\n", "",
      "matched", "NMI", "ARI", "mAP", "mAP, classes");
  for (const json& result : clustering["results"]) {
    const json &clusters = result["clustering"], &retrieval = result["retrieval"];
    const auto of = [](const json& object, const char* key) { return percent(object.value(key, json(nullptr))); };
    text += fmt::format("  {:<12}{:>10}{:>9}{:>9}{:>9}{:>14}\n", result["name"].get<std::string>(), of(clusters, "accuracy"),
                        of(clusters, "nmi"), of(clusters, "ari"), of(retrieval, "map"), of(retrieval, "map_of_classes"));
  }
  return text;
}

std::string few_shot_table(const json& few) {
  std::string text = "few-shot: balanced accuracy in %, K images per class, mean of the draws and half its 95 % interval\n";
  text += fmt::format("  {:<26}", "");
  for (const json& entry : few["results"][0]["curve"]) text += fmt::format("{:>14}", fmt::format("K={}", entry["shots"].get<int>()));
  text += "\n";
  for (const json& result : few["results"]) {
    for (const char* method : {"nearest_mean", "simpleshot", "logistic"}) {
      text += fmt::format("  {:<12}{:<14}", result["name"].get<std::string>(), method);
      for (const json& entry : result["curve"]) {
        const json& scores = entry["methods"][method];
        text += fmt::format("{:>14}", scores.contains("balanced_accuracy") ? mean_and_half(scores["balanced_accuracy"]) : "-");
      }
      text += "\n";
    }
  }
  for (const json& result : few["results"]) {
    for (const json& episode : result["episodes"]) {
      const json& method = episode["methods"]["simpleshot"];
      if (method["accuracy"].is_null()) continue;
      text +=
          fmt::format("  {:<12}{}-way {}-shot episodes, simpleshot: {} ({})\n", result["name"].get<std::string>(),
                      episode["ways"].get<int>(), episode["shots"].get<int>(), percent(method["accuracy"]), interval(method["interval95"]));
    }
  }
  return text;
}

// Apart from all other methods: these are told more.
std::string transductive_table(const json& few) {
  std::string text;
  for (const json& result : few["results"]) {
    for (const json& episodes : result.value("transductive", json::array())) {
      if (episodes["methods"]["simpleshot"]["accuracy"].is_null()) continue;
      if (text.empty()) {
        text =
            "transductive few-shot, not comparable with the rest: all queries of an episode are seen together; accuracy in %. Equally "
            "many\n"
            "queries of each class flatter these methods; with unequal shares (dirichlet) they can fall behind simpleshot\n";
        text += fmt::format("  {:<12}{:<16}{:<12}", "", "episodes", "queries");
        for (const auto& [method, scores] : episodes["methods"].items()) text += fmt::format("{:>24}", method);
        text += "\n";
      }
      text += fmt::format("  {:<12}{:<16}{:<12}", result["name"].get<std::string>(),
                          fmt::format("{}-way {}-shot", episodes["ways"].get<int>(), episodes["shots"].get<int>()),
                          episodes["query_shares"].get<std::string>());
      for (const auto& [method, scores] : episodes["methods"].items())
        text += fmt::format("{:>24}", fmt::format("{} ({})", percent(scores["accuracy"]), interval(scores["interval95"])));
      text += "\n";
    }
  }
  return text;
}

std::string copy_detection_table(const json& clustering) {
  std::string text;
  for (const json& result : clustering["results"]) {
    const json copies = result.value("copies", json::object());
    if (!copies.contains("distortions")) continue;
    if (text.empty())
      text = fmt::format(
          "copy detection in %: {} distorted test images look for their originals among {} images\n  {:<12}{:<8}{:>10}{:>16}{:>9}\n",
          copies["images"].get<int64_t>(), copies["database"].get<int64_t>(), "", "copies", "found", "95 %", "muAP");
    for (const auto& [name, scores] : copies["distortions"].items())
      text += fmt::format("  {:<12}{:<8}{:>10}{:>16}{:>9}\n", result["name"].get<std::string>(), name, percent(scores["recall_at_1"]),
                          interval(scores["interval95"]), percent(scores["muap"]));
  }
  return text;
}

std::string segmentation_table(const json& segmentation) {
  std::string text;
  for (const json& result : segmentation["results"]) {
    if (!result.contains("object")) continue;
    if (text.empty()) {
      text += "dense: linear segmentation of patch features in %, at pixels with its bootstrap interval; attention of CLS: Jaccard index\n";
      text += fmt::format("  {:<12}{:>10}{:>16}{:>10}{:>16}{:>12}{:>10}{:>13}\n", "", "classes", "95 %", "object or", "95 %", "object IoU",
                          "attention", "best head");
      text +=
          fmt::format("  {:<12}{:>10}{:>16}{:>10}{:>16}{:>12}{:>10}{:>13}\n", "", "mIoU", "", "not, mIoU", "", "", "mean map", "by oracle");
    }
    const auto miou = [&](const char* question) {
      const json& of = result[question];
      return of.contains("pixel") ? percent(of["pixel"]["miou"]) : std::string("-");
    };
    const auto interval95 = [&](const std::string& name) {
      const json& of = result["bootstrap95"];
      return of.contains(name) && !of[name].is_null() ? interval(of[name]) : std::string("-");
    };
    const json& attention = result["attention"];
    const bool attends = attention.contains("mean_map");
    text += fmt::format("  {:<12}{:>10}{:>16}{:>10}{:>16}{:>12}{:>10}{:>13}\n", result["name"].get<std::string>(), miou("classes"),
                        interval95("classes_miou"), miou("object"), interval95("object_miou"),
                        percent(result["object"]["pixel"]["iou"][1]["iou"]), attends ? percent(attention["mean_map"]) : "-",
                        attends ? percent(attention["oracle_head_of_each_image"]) : "-");
  }
  for (const json& result : segmentation["results"]) {
    if (!result.contains("object")) continue;
    const json &classes = result["classes"], &attention = result["attention"];
    text += fmt::format("  {:<12}{:>10}{:>16}{:>10}{:>16}{:>12}{:>10}\n", "background",
                        classes.contains("pixel") ? percent(classes["all_background"]["miou"]) : "-", "",
                        percent(result["object"]["all_background"]["miou"]), "",
                        percent(result["object"]["all_background"]["iou"][1]["iou"]), "");
    const json& all_object = result["object"]["all_object"];
    text += fmt::format("  {:<12}{:>10}{:>16}{:>10}{:>16}{:>12}{:>10}\n", "all object", "", "", percent(all_object["miou"]), "",
                        percent(all_object["iou"][1]["iou"]), attention.contains("all_object") ? percent(attention["all_object"]) : "-");
    break;
  }
  return text;
}

std::string methods_table(const json& results) {
  std::string text = fmt::format("predictions for all queries, trained on all of the memory; {}\n",
                                 "scores in %, balanced accuracy with its bootstrap interval");
  text += fmt::format("  {:<13}{:<16}{:<12}{:>10}{:>10}{:>16}{:>10}{:>8}{:>9}{:>9}\n", "protocol", "method", "", "accuracy", "balanced",
                      "95 %", "macro F1", "MCC", "AUROC", "AUPRC");
  const auto line = [&](const std::string& protocol, const std::string& method, const std::string& embedder, const json& s) {
    const json& of_balanced = s["bootstrap95"]["balanced_accuracy"];
    text += fmt::format("  {:<13}{:<16}{:<12}{:>10}{:>10}{:>16}{:>10}{:>8}{:>9}{:>9}\n", protocol, method, embedder, percent(s["accuracy"]),
                        percent(s["balanced_accuracy"]), of_balanced.is_null() ? "-" : interval(of_balanced), percent(s["macro_f1"]),
                        percent(s["mcc"]), percent(s["auroc"]), percent(s["auprc"]));
  };
  line("", "majority class", "", results["majority"]);
  for (const char* key : {"knn", "few", "linear", "sweep", "finetune"}) {
    if (!results["suites"].contains(key)) continue;
    const json& of_protocol = results["suites"][key]["results"];
    if (!of_protocol[0].contains("methods")) continue;
    for (const auto& [method, scores] : of_protocol[0]["methods"].items()) {
      for (const json& result : of_protocol)
        if (result.contains("methods") && result["methods"].contains(method))
          line(protocol_word(key), method, result["name"].get<std::string>(), result["methods"][method]);
    }
  }
  return text;
}

// Cross-validation of the memory, where there is any: what it says beside few test images.
std::string folds_table(const json& results) {
  std::string text;
  const bool few = results.value("checks", json::object()).value("test_size", json::object()).value("few", false);
  for (const auto& [key, suite] : results["suites"].items()) {
    for (const json& result : suite["results"]) {
      const json folds = result.value("repeated_folds", json::object());
      if (!folds.contains("methods")) continue;
      if (text.empty()) {
        text = fmt::format("{} x {}-fold cross-validation of the {} training images{}, in %{}\n", folds["repeats"].get<int>(),
                           folds["folds"].get<int>(), folds["images"].get<int64_t>(), folds["units"] == "groups" ? " by whole groups" : "",
                           few ? ": the headline, because the test images are few" : "");
        if (const json& without = folds.value("classes_left_out", json::array()); !without.empty())
          text += fmt::format("  without {} of the classes, which have not two training images or groups to hold one out: {}\n",
                              without.size(), fmt::join(without.get<std::vector<std::string>>(), ", "));
        text += fmt::format("  {:<13}{:<16}{:<12}{:>10}{:>10}{:>16}\n", "protocol", "method", "", "accuracy", "balanced", "95 %");
      }
      const std::string protocol = protocol_word(key);
      const auto line = [&](const std::string& method, const std::string& name, const json& of) {
        const json range = of["balanced_accuracy"].value("interval95", json());
        text += fmt::format("  {:<13}{:<16}{:<12}{:>10}{:>10}{:>16}\n", protocol, method, name, percent(of["accuracy"]["mean"]),
                            percent(of["balanced_accuracy"]["mean"]), range.is_array() ? interval(range) : "-");
      };
      const std::string name = result["name"].get<std::string>();
      if (name == suite["results"][0]["name"]) line("majority class", "", folds["majority"]);
      for (const auto& [method, scores] : folds["methods"].items()) line(method, name, scores);
    }
  }
  return text;
}

// The checkpoint's methods once more, on the test images that are nowhere in the memory.
std::string leak_free_table(const json& results) {
  const json leaks = results.value("checks", json::object()).value("leaks", json::object());
  if (leaks.value("queries", int64_t{0}) == 0) return "";
  std::string text = fmt::format("without the {} of {} test images that are leaks (leaks.csv lists them), in %\n",
                                 leaks["queries"].get<int64_t>(), leaks["of"].get<int64_t>());
  text += fmt::format("  {:<13}{:<16}{:<12}{:>10}{:>10}{:>10}{:>16}\n", "protocol", "method", "", "images", "accuracy", "balanced", "95 %");
  const auto line = [&](const std::string& protocol, const std::string& method, const json& scores) {
    const json own = scores.value("without_leaks", json());
    if (!own.is_object()) return;
    const json range = own["bootstrap95"]["balanced_accuracy"];
    text += fmt::format("  {:<13}{:<16}{:<12}{:>10}{:>10}{:>10}{:>16}\n", protocol, method, "", own["count"].get<int64_t>(),
                        percent(own["accuracy"]), percent(own["balanced_accuracy"]), range.is_null() ? "-" : interval(range));
  };
  line("", "majority class", results["majority"]);
  for (const auto& [key, suite] : results["suites"].items()) {
    const json methods = suite["results"][0].value("methods", json::object());
    for (const auto& [method, scores] : methods.items()) line(protocol_word(key), method, scores);
  }
  return text;
}

// That some intervals of the first embedder's methods are known to be too narrow.
json interval_notes(const json& suites) {
  for (const json& suite : suites)
    for (const json& scores : suite["results"][0].value("methods", json::object()))
      if (scores.contains("bootstrap95_note"))
        return json::array(
            {"intervals of balanced accuracy are too narrow for classes whose test images are all correct, or all wrong; "
             "bootstrap95_note in results.json says by how much"});
  return json::array();
}

// What each way of fine-tuning learned and when it was best; or what it would cost.
std::string finetune_table(const json& finetune, const json& run) {
  std::string text;
  for (const json& result : finetune["results"]) {
    const std::string name = result["name"].get<std::string>();
    const json& of_run = run.value("steps", json::object()).value("finetune", json::object()).value(name, json::object());
    if (result.contains("offered"))
      text += fmt::format("fine-tuning of {} was not run: about {:.0f} minutes on this machine; \"--protocol finetune\" runs it\n", name,
                          of_run.value("estimate_minutes", 0.0));
    if (!result.contains("methods")) continue;
    text += fmt::format("fine-tuning of {}, epoch and rate chosen on {}\n", name, result["selection"]["by"].get<std::string>());
    text +=
        fmt::format("  {:<8}{:>12}{:>9}{:>10}{:>8}{:>12}{:>10}\n", "method", "learns", "share", "rate", "epoch", "validation", "minutes");
    for (const auto& [method, scores] : result["methods"].items())
      text += fmt::format("  {:<8}{:>12}{:>9}{:>10.3g}{:>8}{:>12}{:>10.1f}\n", method, scores["trainable"].get<int64_t>(),
                          percent(scores["trainable_share"]), scores["lr"].get<double>(), scores["epoch"].get<int>(),
                          percent(scores["validation"]["mean_recall"]), of_run.value(method, json::object()).value("seconds", 0.0) / 60);
  }
  return text;
}

// What the user's rule does to the test images, of the checkpoint's methods.
std::string decision_table(const json& logistic) {
  std::string text, rules;
  const json methods = logistic["results"][0].value("methods", json::object());
  for (const auto& [method, scores] : methods.items()) {
    if (!scores.contains("decision")) continue;
    const json &rule = scores["decision"]["rule"], &test = scores["decision"]["test"];
    const bool recall = rule["kind"] == "recall";
    if (text.empty())
      text =
          fmt::format("rule of decision and most probable class on the test images{}\n  {:<16}{:<14}{:>10}{:>16}{:>11}{:>10}{:>10}{:>10}\n",
                      recall ? ": " + rule["class"].get<std::string>() + ", in %" : "; accuracies in %", "method", "answer",
                      recall ? "recall" : "mean cost", "95 %", recall ? "precision" : "", recall ? "answered" : "", "accuracy", "balanced");
    for (const char* answer : {"rule", "argmax"}) {
      const json& of = test[answer];
      const char* figure = recall ? "recall" : "mean_cost";
      const json range = of["interval95"].value(figure, json());
      text += fmt::format("  {:<16}{:<14}{:>10}{:>16}{:>11}{:>10}{:>10}{:>10}\n", method,
                          answer == std::string("rule") ? "rule" : "most probable",
                          recall ? percent(of[figure]) : fmt::format("{:.4f}", of[figure].get<double>()),
                          !range.is_array() ? "-"
                          : recall          ? interval(range)
                                            : fmt::format("{:.4f}-{:.4f}", range[0].get<double>(), range[1].get<double>()),
                          recall ? percent(of["precision"]) : "", recall ? percent(of["answered_share"]) : "", percent(of["accuracy"]),
                          percent(of["balanced_accuracy"]));
    }
    for (const std::string& line : rule_lines(rule)) rules += fmt::format("  {}: {}\n", method, line);
  }
  return text + rules;
}

}  // namespace

std::string results_table(const json& results) {
  const json& suites = results["suites"];
  std::string text;
  if (suites.contains("knn")) text += knn_table(suites["knn"], results.value("majority", json()));
  if (suites.contains("zero")) text += clustering_table(suites["zero"]) + copy_detection_table(suites["zero"]);
  if (suites.contains("few")) text += few_shot_table(suites["few"]) + more_images_table(suites["few"]["results"][0]);
  if (results.contains("majority"))
    text += methods_table(results) + leak_free_table(results) + folds_table(results) + ordered_table(results) + subgroup_table(results);
  if (suites.contains("linear")) text += decision_table(suites["linear"]);
  if (suites.contains("few")) text += transductive_table(suites["few"]);
  if (suites.contains("finetune")) text += finetune_table(suites["finetune"], results["run"]);
  if (suites.contains(kMultiLabelKey)) text += multi_label_table(suites[kMultiLabelKey]);
  if (suites.contains("linseg")) text += segmentation_table(suites["linseg"]);
  if (suites.contains("match")) text += match_table(suites["match"]["results"]);
  for (const json& suite : suites) text += paired_lines(suite.value("paired", json::array()));
  std::vector<std::string> notes;
  const auto add = [&](const json& list) {
    for (const json& note : list)
      if (std::find(notes.begin(), notes.end(), note.get<std::string>()) == notes.end()) notes.push_back(note.get<std::string>());
  };
  if (results.contains("checks")) {
    add(results["checks"]["warnings"]);
    for (const char* check : {"near_identical", "near_copies", "near_copies_validation", "near_copies_validation_queries"})
      add(results["checks"].value(check, json::object()).value("notes", json::array()));
  }
  add(interval_notes(suites));
  for (const auto& [key, suite] : suites.items()) {
    add(suite["protocol"]["notes"]);
    for (const json& result : suite["results"])
      if (result.contains("left_out") && result["left_out"].is_string())
        add(json::array({fmt::format("{} of {} left out: {}", protocol_word(key), result["name"].get<std::string>(),
                                     result["left_out"].get<std::string>())}));
    for (const json& result : suite["results"])
      if (result.contains("left_out_methods"))
        for (const auto& [method, why] : result["left_out_methods"].items())
          add(json::array({fmt::format("{} of {} left out: {}", method, result["name"].get<std::string>(), why.get<std::string>())}));
  }
  add(results["checkpoint"]["notes"]);
  if (const std::string features = results.value("features", ""); !features.empty() && features != describe(Readout{}))
    text += "  features: " + features + "\n";
  if (const std::string facts = facts_text(results["checkpoint"].value("facts", json::array())); !facts.empty())
    text += "  facts of the network and its input: " + facts + "\n";
  for (const std::string& note : notes) text += "  note: " + note + "\n";
  return text;
}

}  // namespace dinoxx::eval
