#include "decision_scores.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "eval/classify/logistic.hpp"
#include "eval/classify/units.hpp"
#include "eval/features/blocks.hpp"
#include "eval/statistics/calibration.hpp"
#include "eval/statistics/metrics.hpp"
#include "eval/statistics/resampling.hpp"
#include "threshold.hpp"

namespace dinoxx::eval {
namespace {

using nlohmann::json;

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

enum Figure { kAccuracy, kBalanced, kRecallOf, kPrecisionOf, kAnsweredShare, kMeanCost, kFigures };
constexpr const char* kFigureNames[kFigures] = {"accuracy", "balanced_accuracy", "recall", "precision", "answered_share", "mean_cost"};
constexpr bool kOfClass[kFigures] = {false, false, true, true, true, false};

struct Decided {
  const std::vector<int32_t>& labels;
  const std::vector<int32_t>& answers;
  const DecisionRule& rule;
  int classes;
};

bool is_figure_of(const DecisionRule& rule, int figure) {
  if (kOfClass[figure]) return rule.kind == DecisionRule::Kind::kThreshold;
  return figure != kMeanCost || rule.kind == DecisionRule::Kind::kLeastCost;
}

// Part and whole of the figures that are shares of images.
struct Shares {
  int64_t part[kFigures] = {}, whole[kFigures] = {};
};

Shares shares_of(const Decided& decided, std::span<const uint32_t> counts) {
  Shares s;
  for (size_t i = 0; i < decided.labels.size(); ++i) {
    const int64_t n = counts[i];
    const bool positive = decided.labels[i] == decided.rule.positive, answered = decided.answers[i] == decided.rule.positive;
    s.whole[kAccuracy] += n;
    s.whole[kAnsweredShare] += n;
    if (decided.labels[i] == decided.answers[i]) s.part[kAccuracy] += n;
    if (positive) s.whole[kRecallOf] += n;
    if (answered) s.whole[kPrecisionOf] += n;
    if (answered) s.part[kAnsweredShare] += n;
    if (positive && answered) s.part[kRecallOf] += n;
  }
  s.part[kPrecisionOf] = s.part[kRecallOf];
  return s;
}

// NaN where undefined.
void figures_of(const Decided& decided, std::span<const uint32_t> counts, double* out) {
  const auto scores = resampled_scores(decided.labels, decided.answers, counts, decided.classes);
  const Shares shares = shares_of(decided, counts);
  std::fill_n(out, kFigures, kNone);
  out[kBalanced] = scores[1];
  for (const int figure : {kAccuracy, kRecallOf, kPrecisionOf, kAnsweredShare})
    if (shares.whole[figure] > 0) out[figure] = static_cast<double>(shares.part[figure]) / static_cast<double>(shares.whole[figure]);
  if (decided.rule.kind != DecisionRule::Kind::kLeastCost || shares.whole[kAccuracy] == 0) return;
  double cost = 0;
  for (size_t i = 0; i < decided.labels.size(); ++i)
    cost += counts[i] * decided.rule.costs[static_cast<size_t>(decided.labels[i]) * decided.classes + decided.answers[i]];
  out[kMeanCost] = cost / static_cast<double>(shares.whole[kAccuracy]);
}

std::string why_undefined(int figure) {
  return figure == kPrecisionOf ? "no image is answered so" : figure == kRecallOf ? "no image of the class" : "no images";
}

// Of one of the two ways to answer. `column`: its figure in the resamples.
json describe_figures(const Decided& decided, bool by_group, const std::function<std::vector<double>(int figure)>& column) {
  const std::vector<uint32_t> once(decided.labels.size(), 1);
  double values[kFigures];
  figures_of(decided, once, values);
  const Shares shares = shares_of(decided, once);
  json result = json::object();
  json& intervals = result["interval95"] = json::object();
  for (int figure = 0; figure < kFigures; ++figure) {
    if (!is_figure_of(decided.rule, figure)) continue;
    const char* name = kFigureNames[figure];
    put(result, name, Stat::unless_nan(values[figure], why_undefined(figure)));
    if (std::isnan(values[figure])) continue;
    const bool share = figure != kBalanced && figure != kMeanCost;
    if (share && !by_group) {
      const auto [low, high] = wilson_interval(shares.part[figure], shares.whole[figure]);
      intervals[name] = {low, high};
    } else {
      put(intervals, name, percentile_interval(column(figure)));
    }
  }
  if (decided.rule.kind == DecisionRule::Kind::kThreshold) {
    result["found"] = shares.part[kRecallOf];
    result["answered"] = shares.whole[kPrecisionOf];
  }
  return result;
}

json class_rows(const Dataset& dataset, const EvalData& data, const std::vector<int32_t>& answers, const std::vector<int32_t>& argmax) {
  const Tally by_rule = tally(data.query_labels, answers, data.classes), plain = tally(data.query_labels, argmax, data.classes);
  json rows = json::array();
  for (int c = 0; c < data.classes; ++c) {
    json row = {{"name", class_name(dataset, c)},
                {"images", by_rule.support[static_cast<size_t>(c)]},
                {"answered", by_rule.predicted[static_cast<size_t>(c)]},
                {"argmax_answered", plain.predicted[static_cast<size_t>(c)]}};
    put(row, "recall", recall(by_rule, c));
    put(row, "precision", precision(by_rule, c));
    put(row, "argmax_recall", recall(plain, c));
    put(row, "argmax_precision", precision(plain, c));
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace

DecisionRule choose_rule(const DecisionPlan& plan, const Dataset& dataset, int classes, const HeldOutAnswers& held_out,
                         const Stat& temperature, const std::string& chosen_on) {
  DecisionRule rule;
  const std::vector<std::string> names = names_of_classes(dataset, classes);
  const bool calibrated = temperature.value.has_value();
  if (!plan.costs.empty()) {
    rule.kind = DecisionRule::Kind::kLeastCost;
    rule.costs = plan.costs;
    json costs = json::array();
    for (int c = 0; c < classes; ++c)
      costs.push_back(std::vector<double>(plan.costs.begin() + c * classes, plan.costs.begin() + (c + 1) * classes));
    rule.about = {{"kind", "cost"}, {"classes", names}, {"costs", costs}, {"calibrated", calibrated}};
    if (!calibrated) rule.about["note"] = "the probabilities are not calibrated, and expected costs are no better than they are";
    return rule;
  }
  const std::vector<double> probabilities = softmax_rows(held_out.logits, classes, temperature.value.value_or(1.0));
  std::vector<double> of_class;
  std::vector<uint64_t> ids;
  for (size_t i = 0; i < held_out.labels.size(); ++i) {
    if (held_out.labels[i] != plan.positive) continue;
    of_class.push_back(probabilities[i * static_cast<size_t>(classes) + static_cast<size_t>(plan.positive)]);
    ids.push_back(held_out.ids[i]);
  }
  const auto images = static_cast<int64_t>(of_class.size());
  const int64_t wanted = images_to_find(images, plan.recall, plan.confidence).value();
  rule.kind = DecisionRule::Kind::kThreshold;
  rule.positive = plan.positive;
  rule.threshold = highest_threshold(of_class, wanted);
  const int64_t found = std::count_if(of_class.begin(), of_class.end(), [&](double p) { return p >= rule.threshold; });
  const double bound = recall_at_least(found, images);
  rule.about = {{"kind", "recall"},
                {"class", names[static_cast<size_t>(plan.positive)]},
                {"wanted_recall", plan.recall},
                {"confidence", plan.confidence ? json(*plan.confidence) : json(nullptr)},
                {"threshold", rule.threshold},
                {"images", images},
                {"found", found},
                {"recall", static_cast<double>(found) / static_cast<double>(images)},
                {"recall_at_least", bound},
                {"confidence_of_bound", kRecallConfidence},
                {"images_to_show", images_to_show(plan.recall)},
                {"chosen_on", chosen_on},
                {"calibrated", calibrated}};
  std::string note;
  if (!plan.confidence && bound < plan.recall && images < images_to_show(plan.recall))
    note = fmt::format("{} images cannot show a recall of {:.4g} %: that takes {} of them, all found", images, 100 * plan.recall,
                       images_to_show(plan.recall));
  else if (!plan.confidence && bound < plan.recall)
    note = fmt::format("new images may have a lower recall than {:.4g} %; --recall-confidence 0.95 takes a lower threshold",
                       100 * plan.recall);
  const std::vector<uint64_t> groups = groups_of(dataset, ids);
  std::set<uint64_t> units;
  for (size_t i = 0; i < ids.size(); ++i) units.insert(groups[i] != 0 ? groups[i] : ~ids[i]);
  if (units.size() < ids.size())
    note += fmt::format("{}the {} images are of {} groups, and the bound takes them for independent: it is too high",
                        note.empty() ? "" : "; ", images, units.size());
  if (!note.empty()) rule.about["note"] = note;
  return rule;
}

json decision_scores(const Dataset& dataset, const EvalData& data, const DecisionRule& rule, std::span<const double> probabilities,
                     const std::vector<int32_t>& argmax, uint64_t seed, int threads, Communicator& comm) {
  const std::vector<int32_t> answers = decide(rule, probabilities, class_counts(data.memory_labels, data.classes));
  const Decided both[2] = {{data.query_labels, answers, rule, data.classes}, {data.query_labels, argmax, rule, data.classes}};
  const Resampler resampler(data.query_labels, groups_of(dataset, data.queries), data.classes, seed);
  const at::Tensor rows = run_tasks(comm, kResamples, 2 * kFigures, threads, [&](int64_t task, double* row) {
    const std::vector<uint32_t> counts = resampler.counts(task);
    for (int way = 0; way < 2; ++way) figures_of(both[way], counts, row + way * kFigures);
  });
  const auto column = [&](int way, int figure) {
    std::vector<double> values;
    for (int64_t r = 0; r < rows.size(0); ++r) values.push_back(rows.const_data_ptr<double>()[r * 2 * kFigures + way * kFigures + figure]);
    return values;
  };
  json result = {{"images", data.queries.size()}};
  for (int way = 0; way < 2; ++way)
    result[way == 0 ? "rule" : "argmax"] =
        describe_figures(both[way], resampler.by_group(), [&](int figure) { return column(way, figure); });
  result["difference95"] = json::object();
  for (int figure = 0; figure < kFigures; ++figure) {
    if (!is_figure_of(rule, figure)) continue;
    std::vector<double> difference = column(0, figure);
    const std::vector<double> second = column(1, figure);
    for (size_t r = 0; r < difference.size(); ++r) difference[r] -= second[r];
    put(result["difference95"], kFigureNames[figure], percentile_interval(std::move(difference)));
  }
  result["intervals"] =
      resampler.by_group() ? "bootstrap of whole groups" : "shares: Wilson; balanced accuracy, costs and differences: bootstrap";
  result["classes"] = class_rows(dataset, data, answers, argmax);
  return result;
}

json decision_in_validation(const Dataset& dataset, const EvalData& data, const DecisionRule& rule, const HeldOutAnswers& held_out,
                            const Stat& temperature, uint64_t seed, int threads, Communicator& comm) {
  if (held_out.ids.empty()) return nullptr;
  const at::Tensor logits =
      at::from_blob(const_cast<double*>(held_out.logits.data()), {static_cast<int64_t>(held_out.ids.size()), data.classes}, at::kDouble);
  return decision_scores(dataset, as_queries(data, held_out), rule,
                         softmax_rows(held_out.logits, data.classes, temperature.value.value_or(1.0)), predict(logits), seed, threads,
                         comm);
}

std::vector<std::string> decision_lines(const json& scores, const json& rule, const std::string& where) {
  if (!scores.is_object()) return {};
  const auto number = [](const json& figures, const char* key, double scale) {
    if (!figures.contains(key) || !figures[key].is_number()) return std::string("-");
    std::string text = fmt::format("{:.4g}", scale * figures[key].get<double>());
    const json interval = figures.value("interval95", json::object()).value(key, json());
    if (interval.is_array())
      text += fmt::format(" ({:.4g} to {:.4g})", scale * interval[0].get<double>(), scale * interval[1].get<double>());
    return text;
  };
  std::vector<std::string> lines;
  for (const auto& [key, name] : {std::pair("rule", "this rule"), std::pair("argmax", "most probable class")}) {
    const json figures = scores.value(key, json::object());
    std::string line = fmt::format("{}, {} images, {}: ", where, scores.value("images", int64_t{0}), name);
    if (rule.value("kind", "") == "recall")
      line += fmt::format("{} found {} %, precision {} %, share of images {} %; ", rule.value("class", ""), number(figures, "recall", 100),
                          number(figures, "precision", 100), number(figures, "answered_share", 100));
    if (rule.value("kind", "") == "cost") line += fmt::format("mean cost {}; ", number(figures, "mean_cost", 1));
    lines.push_back(
        line + fmt::format("accuracy {} %, balanced {} %", number(figures, "accuracy", 100), number(figures, "balanced_accuracy", 100)));
  }
  return lines;
}

}  // namespace dinoxx::eval
