#include "answers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/csv.hpp"
#include "eval/classify/units.hpp"
#include "eval/ordered/ordered.hpp"
#include "eval/statistics/ranking_curves.hpp"
#include "eval/statistics/resampling.hpp"
#include "method_scores.hpp"

namespace dinoxx::eval {

using nlohmann::json;

std::string predictions_csv(const Dataset& dataset, const EvalData& data, std::span<const Subgroups> subgroups,
                            std::span<const Embedder> embedders, const ProtocolAnswers& answers) {
  const bool grouped =
      std::any_of(data.queries.begin(), data.queries.end(), [&](uint64_t id) { return group_of(dataset, id).has_value(); });
  std::string text = grouped ? "id,key,label,group" : "id,key,label";
  for (const Subgroups& by : subgroups) text += "," + csv_field(by.column);
  for (size_t e = 0; e < embedders.size(); ++e)
    for (const Prediction& prediction : answers.predictions[e]) text += "," + embedders[e].name + ":" + prediction.method;
  text += "\n";
  for (size_t q = 0; q < data.queries.size(); ++q) {
    text += fmt::format("{},{},{}", data.queries[q], csv_field(dataset.key(data.queries[q])),
                        csv_field(class_name(dataset, data.query_labels[q])));
    if (grouped) {
      const auto group = group_of(dataset, data.queries[q]);
      text += group ? fmt::format(",{}", *group) : ",";
    }
    for (const Subgroups& by : subgroups) {
      const int32_t value = by.of_queries[q];
      text += "," + (value < 0 ? std::string() : csv_field(by.names[static_cast<size_t>(value)]));
    }
    for (const auto& of_embedder : answers.predictions)
      for (const Prediction& prediction : of_embedder) text += "," + csv_field(class_name(dataset, prediction.classes[q]));
    text += "\n";
  }
  return text;
}

namespace {

// Always the most frequent class, whatever the image.
Prediction majority(const EvalData& data) {
  const std::vector<int64_t> counts = class_counts(data.memory_labels, data.classes);
  const auto most = static_cast<int32_t>(std::max_element(counts.begin(), counts.end()) - counts.begin());
  return {"majority", std::vector<int32_t>(data.queries.size(), most), {}, {}};
}

template <typename T>
std::vector<T> kept(const std::vector<T>& values, const std::vector<bool>& leaked) {
  std::vector<T> rest;
  for (size_t q = 0; q < values.size(); ++q)
    if (!leaked[q]) rest.push_back(values[q]);
  return rest;
}

// Scores of the same answers on the queries that are no leaks.
void add_without_leaks(const Dataset& dataset, const EvalData& data, const std::vector<bool>& leaked,
                       std::span<const std::vector<int32_t>* const> predictions, std::span<json* const> scores,
                       const EvaluateOptions& options, Communicator& comm) {
  if (std::find(leaked.begin(), leaked.end(), true) == leaked.end()) return;
  EvalData clean = data;
  clean.queries = kept(data.queries, leaked);
  clean.query_labels = kept(data.query_labels, leaked);
  if (clean.queries.empty()) {
    for (json* own : scores)
      put(*own, "without_leaks", Stat::undefined("every test image, a copy of it or its group is among those learned from"));
    return;
  }
  std::vector<std::vector<int32_t>> answers;
  answers.reserve(predictions.size());
  for (const std::vector<int32_t>* of_method : predictions) answers.push_back(kept(*of_method, leaked));
  std::vector<const std::vector<int32_t>*> pointers;
  pointers.reserve(answers.size());
  for (const std::vector<int32_t>& of_method : answers) pointers.push_back(&of_method);
  const BootstrapReport report = bootstrap_methods(dataset, clean, pointers, {}, options.seed, options.threads, comm);
  for (size_t i = 0; i < answers.size(); ++i) {
    const json all = method_scores(dataset, clean, {"", answers[i], {}, {}});
    json& own = (*scores[i])["without_leaks"];
    own = {{"bootstrap95", report.intervals[i]}};
    for (const char* key : {"count", "correct", "accuracy", "interval95", "balanced_accuracy", "macro_f1", "undefined"})
      if (all.contains(key)) own[key] = all[key];
  }
}

}  // namespace

void add_intervals(const Dataset& dataset, const EvalData& data, std::span<const Subgroups> subgroups, std::span<const int32_t> ranks,
                   const std::vector<bool>& leaked, std::span<const Embedder> embedders, std::vector<ProtocolAnswers>& answered,
                   json& results, const EvaluateOptions& options, Communicator& comm) {
  struct Place {
    json name;
    json* scores;
  };
  std::vector<Place> places;
  std::vector<const std::vector<int32_t>*> predictions;
  std::vector<MethodPair> pairs;
  const Prediction none = majority(data);
  results["majority"] = method_scores(dataset, data, none);
  places.push_back({"majority", &results["majority"]});
  predictions.push_back(&none.classes);
  size_t first_headline = 0;
  for (ProtocolAnswers& answers : answered) {
    size_t headline = 0;
    std::map<std::string, size_t> of_checkpoint;
    for (size_t e = 0; e < embedders.size(); ++e) {
      for (size_t m = 0; m < answers.predictions[e].size(); ++m) {
        const Prediction& prediction = answers.predictions[e][m];
        json& scores = answers.section["results"][e]["methods"][prediction.method];
        scores = method_scores(dataset, data, prediction);
        if (e == 0 && !prediction.probabilities.empty()) scores["ranking_curves"] = ranking_curves(dataset, data, prediction);
        const size_t place = places.size();
        places.push_back({{answers.protocol->key, embedders[e].name, prediction.method}, &scores});
        predictions.push_back(&prediction.classes);
        if (e > 0) {
          if (of_checkpoint.contains(prediction.method)) pairs.push_back({of_checkpoint[prediction.method], place});
          continue;
        }
        of_checkpoint[prediction.method] = place;
        if (m > 0) {
          pairs.push_back({place, headline});
        } else {
          headline = place;
          pairs.push_back({place, first_headline});  // the majority class at first
          if (first_headline == 0) first_headline = place;
        }
      }
    }
  }
  const BootstrapReport report = bootstrap_methods(dataset, data, predictions, pairs, options.seed, options.threads, comm);
  results["bootstrap"] = report.protocol;
  for (size_t i = 0; i < places.size(); ++i) {
    (*places[i].scores)["bootstrap95"] = report.intervals[i];
    if (!report.interval_notes[i].empty()) (*places[i].scores)["bootstrap95_note"] = report.interval_notes[i];
    for (const Subgroups& by : subgroups) (*places[i].scores)["subgroups"].push_back(subgroup_scores(by, data, *predictions[i]));
  }
  std::vector<json*> scores;
  scores.reserve(places.size());
  for (const Place& place : places) scores.push_back(place.scores);
  add_without_leaks(dataset, data, leaked, predictions, scores, options, comm);
  if (!ranks.empty())
    add_ordered_scores(Resampler(data.query_labels, groups_of(dataset, data.queries), data.classes, options.seed), data.query_labels, ranks,
                       predictions, scores, options.threads, comm);
  results["comparisons"] = json::array();
  for (size_t i = 0; i < pairs.size(); ++i) {
    const auto [first, second] = pairs[i];
    const McNemar test = mcnemar(data.query_labels, *predictions[first], *predictions[second]);
    json row = {{"first", places[first].name},
                {"second", places[second].name},
                {"mcnemar", {{"only_first_right", test.only_first}, {"only_second_right", test.only_second}, {"p", test.p}}},
                {"difference95", report.differences[i]}};
    if (!report.difference_notes[i].empty()) row["difference95_note"] = report.difference_notes[i];
    if (report.by_group)
      row["mcnemar"]["note"] = "takes test images for independent, those of a group too: its p may be too small; the interval is by groups";
    results["comparisons"].push_back(std::move(row));
  }
}

}  // namespace dinoxx::eval
