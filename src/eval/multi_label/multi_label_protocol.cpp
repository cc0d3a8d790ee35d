// Images with several labels: k-NN votes and a logistic regression for each label, scored label by label.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "base/csv.hpp"
#include "base/files.hpp"
#include "dinoxx/base/error.hpp"
#include "eval/classify/knn.hpp"
#include "eval/classify/units.hpp"
#include "eval/features/blocks.hpp"
#include "eval/protocols/logistic_parts.hpp"
#include "eval/run/protocols.hpp"
#include "eval/statistics/resampling.hpp"
#include "label_head.hpp"
#include "label_scores.hpp"
#include "multi_label.hpp"

namespace dinoxx::eval {
namespace {

using nlohmann::json;

// Fewer test images with a label than this say little of it.
constexpr int64_t kFewYes = 20;

// Answers of one way to all queries.
struct Method {
  const char* name;
  at::Tensor probabilities;        // [queries, labels] float64 on every rank
  std::vector<double> thresholds;  // [labels]; empty: no answers, only an order
};

// Rows that `answer` gives for each block of queries, on every rank.
at::Tensor answers_of(const ProtocolInput& input, int64_t labels, const std::function<at::Tensor(const at::Tensor& queries)>& answer) {
  return map_rows(input.comm, input.features.queries, labels, at::kDouble, input.threads, answer);
}

// The share of the votes of the nearest images that have the label, among those of which it is known; 0 where it is known of none.
Method by_neighbours(const ProtocolInput& input, const LabelTable& table) {
  const KnnPlan plan = plan_knn(input.knn, static_cast<int64_t>(input.data.memory.size()));
  const size_t labels = table.labels();
  const auto votes = [&](const at::Tensor& queries) {
    const Neighbors neighbors = nearest_neighbors(queries, input.features.memory, plan.headline_k);
    const at::Tensor shares = at::zeros({queries.size(0), static_cast<int64_t>(labels)}, at::kDouble);
    double* row = shares.data_ptr<double>();
    std::vector<double> known(labels);
    for (int64_t q = 0; q < queries.size(0); ++q, row += labels) {
      std::ranges::fill(known, 0.0);
      for (int n = 0; n < neighbors.k; ++n) {
        const auto at = static_cast<size_t>(q * neighbors.k + n);
        const double weight = std::exp(neighbors.similarity[at] / plan.temperature);
        const int8_t* truth = table.memory.data() + static_cast<size_t>(neighbors.rows[at]) * labels;
        for (size_t l = 0; l < labels; ++l) {
          known[l] += truth[l] < 0 ? 0 : weight;
          row[l] += truth[l] == 1 ? weight : 0;
        }
      }
      for (size_t l = 0; l < labels; ++l) row[l] = known[l] > 0 ? row[l] / known[l] : 0;
    }
    return shares;
  };
  return {"knn", answers_of(input, static_cast<int64_t>(labels), votes), {}};
}

Method by_head(const ProtocolInput& input, const LabelHead& head) {
  return {"logistic", answers_of(input, head.weight.size(0), [&](const at::Tensor& queries) { return head.probabilities(queries); }),
          head.thresholds};
}

std::span<const double> values_of(const at::Tensor& tensor) {
  return {tensor.const_data_ptr<double>(), static_cast<size_t>(tensor.numel())};
}

Stat defined(double value, const char* why) {
  return Stat::unless_nan(value, why);
}

constexpr const char *kNoRanking = "no label has both images with it and images without it", *kNoAnswers = "k-NN has no thresholds here",
                     *kOneSided = "the test images all have the label, or none has it", *kNeverYes = "no image is answered yes",
                     *kNoYes = "no test image has the label", *kNeither = "no test image has the label and none is answered yes",
                     *kNotLearned = "the label was not learned";

// The figures that have intervals, in this order; then average precision and F1 of each label.
constexpr std::array<const char*, 5> kFigures{"map", "macro_auroc", "macro_f1", "micro_f1", "exact"};
constexpr std::array<const char*, 5> kFigureNames{"mAP", "macro AUROC", "macro F1", "micro F1", "all labels right"};

void write_figures(const MultiLabelScores& scores, double* row) {
  for (const double value : {scores.map, scores.macro_auroc, scores.macro_f1, scores.micro_f1, scores.exact}) *row++ = value;
  row = std::ranges::copy(scores.average_precision, row).out;
  std::ranges::copy(scores.f1, row);
}

// One method's scores, with intervals over the same resamples for all methods and features.
class Scoring {
 public:
  Scoring(const ProtocolInput& input, const LabelTable& table, std::vector<uint8_t> scored)
      : input_(input),
        table_(table),
        scored_(std::move(scored)),
        resampler_(input.data.query_labels, groups_of(input.dataset, input.data.queries), input.data.classes, input.seed) {}

  // Fills in result.scores["scores"][method], the rows of "labels", and figures.
  void add(const Method& method, ProtocolResult& result) const {
    const LabelAnswers answers(values_of(method.probabilities), table_.queries, method.thresholds, scored_);
    const size_t labels = table_.labels(), width = kFigures.size() + 2 * labels;
    const at::Tensor columns = run_tasks(input_.comm, kResamples, static_cast<int64_t>(width), input_.threads,
                                         [&](int64_t task, double* row) { write_figures(answers.scores(resampler_.counts(task)), row); })
                                   .t()
                                   .contiguous();
    const auto values = [&](size_t column) {
      const double* begin = columns.const_data_ptr<double>() + static_cast<int64_t>(column) * kResamples;
      return std::vector<double>(begin, begin + kResamples);
    };
    const MultiLabelScores whole = answers.scores();
    std::vector<double> figures(width);
    write_figures(whole, figures.data());
    json& scores = result.scores["scores"][method.name];
    for (size_t f = 0; f < kFigures.size(); ++f) {
      const bool ranking = f < 2;
      put(scores, kFigures[f], defined(figures[f], ranking ? kNoRanking : method.thresholds.empty() ? kNoAnswers : kNeither));
      if (std::isnan(figures[f])) continue;
      put(scores["bootstrap95"], kFigures[f], percentile_interval(values(f)));
      result.figures.push_back({fmt::format("{} {}", method.name, kFigureNames[f]), figures[f], values(f)});
    }
    for (size_t l = 0; l < labels; ++l)
      add_label(method, answers, whole, l, values(kFigures.size() + l), values(kFigures.size() + labels + l), result);
  }

  json about() const {
    return {{"resamples", kResamples},
            {"seed", input_.seed},
            {"drawn", resampler_.by_group() ? "whole groups of test images" : "test images, as many of each rarest label"}};
  }

 private:
  void add_label(const Method& method, const LabelAnswers& answers, const MultiLabelScores& whole, size_t label, std::vector<double> ap,
                 std::vector<double> f1, ProtocolResult& result) const {
    json& row = result.scores["labels"][label][method.name];
    const char* why = scored_[label] ? kOneSided : kNotLearned;
    put(row, "average_precision", defined(whole.average_precision[label], why));
    put(row, "auroc", defined(whole.auroc[label], why));
    if (!std::isnan(whole.average_precision[label])) put(row["bootstrap95"], "average_precision", percentile_interval(std::move(ap)));
    if (method.thresholds.empty() || !scored_[label]) return;
    const LabelTally tally = answers.tally(label);
    put(row, "precision", defined(tally.precision(), kNeverYes));
    put(row, "recall", defined(tally.recall(), kNoYes));
    put(row, "f1", defined(tally.f1(), kNeither));
    if (!std::isnan(tally.f1())) put(row["bootstrap95"], "f1", percentile_interval(std::move(f1)));
    row["answered_yes"] = tally.true_yes + tally.false_yes;
    row["found"] = tally.true_yes;
  }

  const ProtocolInput& input_;
  const LabelTable& table_;
  std::vector<uint8_t> scored_;
  Resampler resampler_;
};

json describe_count(const LabelCount& count) {
  return {{"yes", count.yes}, {"no", count.no}, {"unknown", count.unknown}};
}

// What is known of each label, before any score.
json describe_labels(const LabelTable& table, const LabelHead& head) {
  json rows = json::array();
  for (size_t l = 0; l < table.labels(); ++l) {
    const LabelCount queries = count_labels(table.column(table.queries, l));
    json row = {{"name", table.names[l]},
                {"memory", describe_count(count_labels(table.column(table.memory, l)))},
                {"queries", describe_count(queries)}};
    put(row, "share",
        queries.yes + queries.no > 0 ? Stat::of(static_cast<double>(queries.yes) / static_cast<double>(queries.yes + queries.no))
                                     : Stat::undefined("it is known of no test image"));
    if (head.left_out[l].empty()) {
      row["threshold"] = head.thresholds[l];
      row["threshold_chosen"] = head.chosen[l] != 0;
    } else {
      row["left_out"] = head.left_out[l];
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

// An order that is drawn has the share of the images with the label as its average precision.
json chance(const json& labels, const std::vector<uint8_t>& scored) {
  double sum = 0, count = 0;
  for (size_t l = 0; l < labels.size(); ++l) {
    const json& queries = labels[l]["queries"];
    if (!scored[l] || queries["yes"] == 0 || queries["no"] == 0) continue;
    sum += labels[l]["share"].get<double>();
    ++count;
  }
  json row;
  put(row, "map", count > 0 ? Stat::of(sum / count) : Stat::undefined(kNoRanking));
  return row;
}

json notes_of(const LabelTable& table, const LabelHead& head, const json& labels) {
  std::vector<std::string> few, left_out, unchosen;
  for (size_t l = 0; l < table.labels(); ++l) {
    if (!head.left_out[l].empty()) {
      left_out.push_back(fmt::format("{} ({})", table.names[l], head.left_out[l]));
      continue;
    }
    if (labels[l]["queries"]["yes"].get<int64_t>() < kFewYes) few.push_back(table.names[l]);
    if (!head.chosen[l] && head.not_chosen.empty()) unchosen.push_back(table.names[l]);
  }
  json notes = json::array();
  const auto list = [](const std::vector<std::string>& names) {
    constexpr size_t kShown = 8;
    return fmt::format("{}{}", fmt::join(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(std::min(kShown, names.size())), ", "),
                       names.size() > kShown ? fmt::format(" and {} more", names.size() - kShown) : "");
  };
  if (!left_out.empty())
    notes.push_back(fmt::format("{} labels cannot be learned and are not scored: {}", left_out.size(), list(left_out)));
  if (!few.empty())
    notes.push_back(
        fmt::format("{} labels have fewer than {} test images with them, and their scores say little: {}", few.size(), kFewYes, list(few)));
  if (!head.not_chosen.empty()) notes.push_back(head.not_chosen);
  if (!unchosen.empty())
    notes.push_back(
        fmt::format("{} labels have no images to choose a threshold on, which is one half: {}", unchosen.size(), list(unchosen)));
  if (head.not_converged > 0) notes.push_back(fmt::format("the fits of {} labels ended at the limit of iterations", head.not_converged));
  return notes;
}

std::string names_where(const LabelTable& table, const std::function<bool(size_t)>& has) {
  std::vector<std::string> names;
  for (size_t l = 0; l < table.labels(); ++l)
    if (has(l)) names.push_back(table.names[l]);
  return fmt::format("{}", fmt::join(names, ";"));
}

// A line for each query: its labels, the answers, and the probability of each label.
std::string predictions_csv_of(const ProtocolInput& input, const LabelTable& table, const Method& method,
                               const std::vector<uint8_t>& scored) {
  std::vector<std::string> fields{"id", "key", "labels", "unknown", "predicted"};
  for (const std::string& name : table.names) fields.push_back("p:" + name);
  std::string text = csv_row(fields);
  const double* row = method.probabilities.const_data_ptr<double>();
  for (size_t q = 0; q < input.data.queries.size(); ++q, row += table.labels()) {
    const int8_t* truth = table.queries.data() + q * table.labels();
    fields = {std::to_string(input.data.queries[q]), input.dataset.key(input.data.queries[q]),
              names_where(table, [&](size_t l) { return truth[l] == 1; }), names_where(table, [&](size_t l) { return truth[l] < 0; }),
              names_where(table, [&](size_t l) { return scored[l] && row[l] >= method.thresholds[l]; })};
    for (size_t l = 0; l < table.labels(); ++l) fields.push_back(scored[l] ? fmt::format("{:.6g}", row[l]) : "");
    text += csv_row(fields);
  }
  return text;
}

}  // namespace

json multi_label_settings(const EvalData& data, const KnnConfig& knn) {
  return {{"suite", kMultiLabelKey},
          {"method", "a logistic regression of yes and no for each label, L2, free intercept, on normalised features of the memory"},
          {"C", values_of_c()},
          {"criterion",
           "mean over the labels of the log loss, as a share of that of knowing the label's share alone, on the images that C is tried on; "
           "equal: the smaller C; one C for all labels"},
          {"threshold", "of each label, of largest F1 on the images that C was chosen on"},
          {"knn", "share of the votes exp(similarity / temperature) of the k nearest images that have the label"},
          {"k", plan_knn(knn, static_cast<int64_t>(data.memory.size())).headline_k},
          {"temperature", knn.temperature},
          {"notes", json::array()}};
}

ProtocolResult multi_label_protocol(const ProtocolInput& input) {
  ProtocolResult result;
  result.scores = json::object();
  if (!input.labels) {
    result.scores["left_out"] = "an image has one class here";
    return result;
  }
  const LabelTable& table = *input.labels;
  if (const std::string why = why_too_large(input, table); !why.empty()) {
    result.scores["left_out"] = why;
    return result;
  }
  const LabelHead head = fit_label_head(input, table);
  const std::vector<uint8_t> learned = head.learned();
  json& scores = result.scores;
  scores["selection"] = {{"by", head.chosen_on}, {"images", head.tried}, {"C", head.c}, {"C_at_the_edge", head.c_at_the_edge}};
  if (!head.selection.empty()) scores["selection"]["relative_log_loss"] = head.selection;
  put(scores["selection"], "map", defined(head.map_of_tried, kNoRanking));
  if (!head.not_chosen.empty()) scores["selection"]["not_chosen"] = head.not_chosen;
  scores["labels"] = describe_labels(table, head);
  scores["chance"] = chance(scores["labels"], learned);
  scores["notes"] = notes_of(table, head, scores["labels"]);
  const Scoring scoring(input, table, learned);
  scores["bootstrap"] = scoring.about();
  scoring.add(by_neighbours(input, table), result);
  const Method logistic = by_head(input, head);
  scoring.add(logistic, result);
  if (input.embedder.name != "teacher") return result;
  const std::string file = fmt::format("predictions_{}.csv", kMultiLabelKey);
  scores["predictions"] = file;
  const std::string text = predictions_csv_of(input, table, logistic, learned);
  result.files.push_back({file, [text](const std::filesystem::path& path) { write_file_atomically(path, text); }});
  return result;
}

}  // namespace dinoxx::eval
