#include "validation_scores.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "eval/classify/logistic.hpp"
#include "eval/run/method_scores.hpp"
#include "eval/statistics/statistics.hpp"

namespace dinoxx::eval {

using nlohmann::json;

namespace {

// Some of the scores, each with its reason where it is undefined.
void take(const json& from, std::initializer_list<const char*> keys, json& to) {
  for (const char* key : keys) {
    if (from.contains(key)) to[key] = from[key];
    if (from.contains("undefined") && from["undefined"].contains(key)) to["undefined"][key] = from["undefined"][key];
  }
}

}  // namespace

json validation_scores(const Dataset& dataset, const EvalData& data, const HeldOutAnswers& held_out, uint64_t seed, int threads,
                       Communicator& comm) {
  json result = {{"images", held_out.ids.size()}};
  if (held_out.ids.empty()) {
    put(result, "accuracy", Stat::undefined("there are no validation images"));
    return result;
  }
  const EvalData tried = as_queries(data, held_out);
  const auto images = static_cast<int64_t>(held_out.ids.size());
  const std::vector<int32_t> answers =
      predict(at::from_blob(const_cast<double*>(held_out.logits.data()), {images, data.classes}, at::kDouble));
  const json scores = method_scores(dataset, tried, {"validation", answers, {}, {}});
  take(scores, {"correct", "accuracy", "interval95", "balanced_accuracy"}, result);
  const std::vector<const std::vector<int32_t>*> all{&answers};
  const BootstrapReport report = bootstrap_methods(dataset, tried, all, {}, seed, threads, comm);
  result["bootstrap95"] = report.intervals[0];
  if (!report.interval_notes[0].empty()) result["bootstrap95_note"] = report.interval_notes[0];
  for (const json& row : scores["classes"]) {
    json of_class = {{"name", row["name"]}, {"images", row["queries"]}};
    take(row, {"correct", "recall", "interval95"}, of_class);
    result["classes"].push_back(std::move(of_class));
  }
  result["note"] = "C and temperature were chosen on the same images";
  return result;
}

std::string validation_text(const json& scores) {
  if (!scores.is_object()) return "";
  if (const json map = scores.value("mean_average_precision", json()); map.is_number())  // several labels an image
    return fmt::format("validation ({}): mean average precision {:.1f} % of {} images, on which C and thresholds were chosen",
                       scores.value("by", ""), 100 * map.get<double>(), scores.value("images", int64_t{0}));
  if (!scores.contains("balanced_accuracy"))
    return "validation: not known: " +
           scores.value("undefined", json::object())
               .value(scores.contains("mean_average_precision") ? "mean_average_precision" : "accuracy", "no reason is given");
  const auto percent = [](const json& value) {
    return value.is_number() ? fmt::format("{:.1f}", 100 * value.get<double>()) : std::string("-");
  };
  const auto range = [&](const json& interval) {
    return interval.is_array() ? fmt::format(" ({} to {})", percent(interval[0]), percent(interval[1])) : std::string();
  };
  const std::string by = scores.value("by", "");
  return fmt::format("validation{}: accuracy {} %{}, balanced accuracy {} %{} of {} images, on which C and temperature were chosen",
                     by.empty() ? by : " (" + by + ")", percent(scores["accuracy"]), range(scores.value("interval95", json())),
                     percent(scores["balanced_accuracy"]),
                     range(scores.value("bootstrap95", json::object()).value("balanced_accuracy", json())),
                     scores["images"].get<int64_t>());
}

}  // namespace dinoxx::eval
