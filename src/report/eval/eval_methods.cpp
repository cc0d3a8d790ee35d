#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/json_text.hpp"
#include "eval_sections.hpp"
#include "report/run/run_figures.hpp"

namespace dinoxx::report {
namespace {

using nlohmann::json;

// What a method was told or chose, beside its scores.
std::string settings(const json& scores) {
  std::string text;
  for (const char* key : {"k", "C", "shots", "temperature", "epoch", "epochs", "lr"}) {
    const json& value = at(scores, {key});
    if (value.is_number()) text += fmt::format("{}{} = {}", text.empty() ? "" : ", ", key, figure(value.get<double>()));
    if (value.is_string()) text += fmt::format("{}{} = {}", text.empty() ? "" : ", ", key, value.get<std::string>());
  }
  if (at(scores, {"C_at_the_edge"}) == true) text += " (the largest or smallest value that was tried)";
  if (at(scores, {"converged"}) == false) text += " (not converged)";
  for (const char* key : {"note", "diverged"})
    if (const std::string words = text_of(scores, key); !words.empty()) text += (text.empty() ? "" : "; ") + words;
  return text;
}

// Seconds of the method where results.json has them, else of its protocol: methods of a protocol and the features share work.
Cell cost(const Results& results, const Method& method) {
  const json& run = at(results.all(), {"run"});
  const double own = number_of(at(run, {"steps", method.protocol.c_str(), method.embedder.c_str(), method.method.c_str()}), "seconds");
  if (!std::isnan(own)) return number(figure(own));
  const double whole = number_of(at(run, {"seconds"}), method.protocol.c_str());
  return std::isnan(whole) ? number("–", "not in results.json") : number("protocol: " + figure(whole));
}

std::vector<Cell> scores_row(const std::string& name, const std::string& embedder, const json& scores, const Cell& seconds) {
  return {words(name),
          words(embedder),
          bootstrapped(scores, "balanced_accuracy"),
          share(scores, "accuracy", at(scores, {"interval95"})),
          bootstrapped(scores, "macro_f1"),
          plain(scores, "mcc"),
          share(scores, "auroc"),
          share(scores, "auprc"),
          share(scores, "recall_many"),
          share(scores, "recall_medium"),
          share(scores, "recall_few"),
          seconds,
          {text(settings(scores)), false, "wide"}};
}

std::string name_of(const json& method) {
  if (method.is_string()) return method == "majority" ? "majority class" : method.get<std::string>();
  if (elements(method).size() == 3 && method[0].is_string() && method[1].is_string() && method[2].is_string())
    return method_name(method[0], method[2]) + " on " + features_name(method[1]);
  std::string name;
  for (const json& part : elements(method))
    name += (name.empty() ? "" : ", ") + (part.is_string() ? part.get<std::string>() : json_text(part));
  return name;
}

Html costs(const Results& results) {
  const json& seconds = at(results.all(), {"run", "seconds"});
  if (!seconds.is_object()) return {};
  Table table("Cost in seconds, all features together", {"part", "seconds"});
  for (const auto& [part, value] : seconds.items())
    if (value.is_number()) table.add({words(part), number(figure(value.get<double>()))});
  Html body = table.html();
  if (const double bytes = number_of(at(results.all(), {"run"}), "peak_memory_bytes"); !std::isnan(bytes))
    body += paragraph(fmt::format("Peak memory of rank 0 over the whole evaluation: {:.2f} GiB.", bytes / (1 << 30)));
  return body;
}

// What the evaluation notes about intervals and tests, each note once with what it is about.
Html notes_of(const std::vector<std::pair<std::string, std::string>>& notes_and_names) {
  std::map<std::string, std::vector<std::string>> about;
  for (const auto& [note, name] : notes_and_names) {
    if (note.empty()) continue;
    std::vector<std::string>& names = about[note];
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  std::vector<Html> items;
  for (const auto& [note, names] : about)
    items.push_back(element("strong", text(fmt::format("{}: ", fmt::join(names, "; ")))) + text(note));
  return items.empty() ? Html{} : details(fmt::format("Limits of these intervals and tests ({})", items.size()), list(items));
}

}  // namespace

Html methods_section(const Results& results) {
  if (results.methods().empty()) return {};
  Table table("Predictions for all test images, learned from all training images; scores in %, [95 % interval]; MCC from -1 to 1",
              {"method", "features", "balanced accuracy", "accuracy", "macro F1", "MCC", "AUROC", "AUPRC", "recall, many", "medium", "few",
               "seconds", "settings"});
  const json& majority = at(results.all(), {"majority"});
  if (majority.is_object()) table.add(scores_row("majority class", "none", majority, number("–", "nothing to learn")));
  // the same method on all features, one below the other
  std::vector<const Method*> left;
  for (const Method& method : results.methods()) left.push_back(&method);
  while (!left.empty()) {
    const Method& first = *left.front();
    for (const Method* method : left)
      if (method->protocol == first.protocol && method->method == first.method)
        table.add(scores_row(method->name(), features_name(method->embedder), *method->scores, cost(results, *method)));
    std::erase_if(
        left, [protocol = first.protocol, name = first.method](const Method* m) { return m->protocol == protocol && m->method == name; });
  }
  Html body = table.html();
  body += element(
      "p",
      text(
          "many, medium, few: mean recall of the classes with more than 100, 20 to 100 and fewer than 20 training images. – : not defined; "
          "hover over it for the reason. Seconds: of the method itself, or of the whole protocol with all its methods and features, which "
          "share work; embedding the images is counted separately."),
      "class=\"soft\"");
  std::vector<std::pair<std::string, std::string>> notes;
  for (const Method& method : results.methods())
    notes.emplace_back(text_of(*method.scores, "bootstrap95_note"), method.name() + " on " + features_name(method.embedder));
  body += notes_of(notes);
  std::vector<Html> embedders;
  for (const json& result : elements(at(results.all(), {"suites", results.protocols().front().c_str(), "results"})))
    embedders.push_back(element("strong", text(features_name(text_of(result, "name")) + ": ")) + text(text_of(result, "description")));
  if (!embedders.empty()) body += list(embedders);
  return body + costs(results);
}

Html comparisons_section(const Results& results) {
  Table table("Differences between methods: first minus second in percentage points with 95 % interval; McNemar's exact test",
              {"first", "second", "balanced accuracy", "accuracy", "only first right", "only second right", "p"});
  const auto difference = [](const json& comparison, const char* score) {
    const std::string text = interval_text(at(comparison, {"difference95", score}));
    return text.empty() ? number("–", why_undefined(at(comparison, {"difference95"}), score)) : number(text.substr(1));
  };
  std::vector<std::pair<std::string, std::string>> notes;
  for (const json& comparison : elements(at(results.all(), {"comparisons"}))) {
    const json& test = at(comparison, {"mcnemar"});
    notes.emplace_back(text_of(comparison, "difference95_note"),
                       name_of(at(comparison, {"first"})) + " against " + name_of(at(comparison, {"second"})));
    notes.emplace_back(text_of(test, "note"), "McNemar's test");
    table.add({words(name_of(at(comparison, {"first"}))), words(name_of(at(comparison, {"second"}))),
               difference(comparison, "balanced_accuracy"), difference(comparison, "accuracy"), count(test, "only_first_right"),
               count(test, "only_second_right"), number_of(test, "p") == 0 ? number("< 1e-300") : plain(test, "p", 2)});
  }
  if (table.empty()) return {};
  return table.html() +
         element("p", text("Where the interval contains 0, the difference is not significant on this test set."), "class=\"soft\"") +
         notes_of(notes);
}

Html knn_section(const Results& results) {
  const json& knn = at(results.all(), {"suites", "knn"});
  std::vector<std::string> headings{"features", "vote"};
  const json& ks = elements(at(knn, {"protocol", "k"}));
  for (const json& k : ks) headings.push_back("k = " + json_text(k));
  if (ks.empty()) return {};
  Table table(fmt::format("k-NN accuracy in % for each number of neighbours k; the reported one, fixed in advance, is k = {}",
                          figure(number_of(at(knn, {"protocol"}), "headline_k"))),
              headings);
  for (const json& result : elements(at(knn, {"results"}))) {
    const auto row = [&](const char* vote, const json& by_k) {
      std::vector<Cell> cells{words(features_name(text_of(result, "name"))), words(vote)};
      for (const json& k : ks) {
        const json& entry = at(by_k, {json_text(k).c_str()});
        cells.push_back(share(entry, "accuracy", at(entry, {"interval95"})));
      }
      table.add(cells);
    };
    row("plain", at(result, {"by_k"}));
    if (at(result, {"balanced_vote", "by_k"}).is_object()) row("balanced", at(result, {"balanced_vote", "by_k"}));
  }
  if (const json& majority = at(results.all(), {"majority"}); majority.is_object()) {
    std::vector<Cell> cells{words("majority class"), words("")};
    for (size_t i = 0; i < ks.size(); ++i) cells.push_back(share(majority, "accuracy", at(majority, {"interval95"})));
    table.add(cells);
  }
  return table.html();
}

Html clustering_section(const Results& results) {
  const json& zero = at(results.all(), {"suites", "zero"});
  Table table("Learned without labels, in %: clusters matched to classes, and retrieval by cosine",
              {"features", "matched accuracy", "NMI", "ARI", "mAP", "mAP, mean of classes"});
  for (const json& result : elements(at(zero, {"results"}))) {
    const json &clusters = at(result, {"clustering"}), &retrieval = at(result, {"retrieval"});
    table.add({words(features_name(text_of(result, "name"))), share(clusters, "accuracy"), share(clusters, "nmi"), share(clusters, "ari"),
               share(retrieval, "map"), share(retrieval, "map_of_classes")});
  }
  if (table.empty()) return {};
  Html body = table.html();
  for (const char* key : {"clustering", "retrieval"})
    if (const std::string protocol = text_of(at(zero, {"protocol"}), key); !protocol.empty())
      body += element("p", text(protocol), "class=\"soft\"");
  return body;
}

}  // namespace dinoxx::report
