// Logistic regression on all of the memory. Its settings are chosen inside the training part; the labels of the queries are looked at by
// nothing here.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "eval/classify/logistic.hpp"
#include "eval/decision/decision_scores.hpp"
#include "eval/features/blocks.hpp"
#include "eval/run/protocols.hpp"
#include "eval/statistics/calibration.hpp"
#include "logistic_trial.hpp"
#include "repeated_folds.hpp"

namespace dinoxx::eval {
namespace {

using nlohmann::json;

// Numbers that a fold sends to the other ranks, and probabilities of all queries (8 bytes each).
constexpr double kLargestRow = 2.5e7, kMostProbabilities = 5e7;
// What is fitted: plain and logit_adjusted differ in how logits are read, not in the fit, but may choose another C.
constexpr int kVariants = 3;
struct Variant {
  const char* name;
  ClassWeight weight;
  bool adjusted;
};
constexpr Variant kVariant[kVariants] = {{"plain", ClassWeight::kPlain, false},
                                         {"class_weighted", ClassWeight::kBalanced, false},
                                         {"logit_adjusted", ClassWeight::kPlain, true}};
constexpr ClassWeight kWeights[] = {ClassWeight::kPlain, ClassWeight::kBalanced};

at::Tensor scores_of(const LinearModel& model, const at::Tensor& features, const Variant& variant, std::span<const int64_t> train_counts) {
  const at::Tensor logits = model.logits(features);
  return variant.adjusted ? adjust_logits(logits, train_counts) : logits;
}

// A model as a row of numbers, to send it to the other ranks.
void write_model(const LinearModel& model, double* row) {
  const int64_t n = model.weight.numel();
  std::copy_n(model.weight.contiguous().data_ptr<double>(), n, row);
  std::copy_n(model.bias.contiguous().data_ptr<double>(), model.bias.numel(), row + n);
}

LinearModel read_model(const double* row, int64_t classes, int64_t dim) {
  const auto copy = [](const double* from, at::IntArrayRef shape) {
    return at::from_blob(const_cast<double*>(from), shape, at::kDouble).clone();
  };
  return {copy(row, {classes, dim}), copy(row + classes * dim, {classes})};
}

struct Choice {
  std::vector<double> scores;  // mean recall per C; empty when there was nothing to choose on
  int place = 0;               // in values_of_c()
  Stat temperature;
  HeldOutAnswers held_out;  // where ProtocolInput asks for them
};

// A row of a fold: for each way of weighting and each C the model, then for each variant and C the right answers of each class.
struct RowLayout {
  int64_t classes, dim;
  int64_t model() const { return classes * (dim + 1); }
  int64_t model_at(int weight, int step) const { return (weight * kSteps + step) * model(); }
  int64_t correct_at(int variant, int step) const { return 2 * kSteps * model() + (variant * kSteps + step) * classes; }
  int64_t width() const { return 2 * kSteps * model() + kVariants * kSteps * classes; }
};

int weight_place(const Variant& variant) {
  return variant.weight == ClassWeight::kPlain ? 0 : 1;
}

// The path over C of one part.
void try_part(const Part& part, const RowLayout& layout, double* row) {
  if (part.test_labels.empty()) return;
  const std::vector<double> cs = values_of_c();
  LogisticRegression regression(part.train, part.train_labels, static_cast<int>(layout.classes));
  for (int w = 0; w < 2; ++w) {
    regression.start(kWeights[w]);
    for (int step = 0; step < kSteps; ++step) {
      const LinearModel model = regression.fit(cs[step], {.tolerance = kPathTolerance}).model;
      write_model(model, row + layout.model_at(w, step));
      for (int v = 0; v < kVariants; ++v) {
        if (kVariant[v].weight != kWeights[w]) continue;
        count_correct(part.test_labels, predict(scores_of(model, part.test, kVariant[v], part.train_counts)),
                      row + layout.correct_at(v, step));
      }
    }
  }
}

std::vector<double> recall_path(const at::Tensor& rows, const RowLayout& layout, int variant, std::span<const int64_t> support) {
  std::vector<double> path;
  for (int step = 0; step < kSteps; ++step) {
    std::vector<double> correct(layout.classes);
    for (int64_t fold = 0; fold < rows.size(0); ++fold) {
      const double* of_fold = rows.data_ptr<double>() + fold * layout.width() + layout.correct_at(variant, step);
      for (int64_t c = 0; c < layout.classes; ++c) correct[c] += of_fold[c];
    }
    path.push_back(mean_recall(correct, support));
  }
  return path;
}

std::vector<Choice> choose(const ProtocolInput& input, const Trial& trial) {
  std::vector<Choice> choices(kVariants);
  if (!trial.none.empty()) {
    const std::vector<double> cs = values_of_c();
    for (Choice& choice : choices) {
      while (cs[choice.place] < 0.99) ++choice.place;  // C = 1
      choice.temperature = Stat::undefined(trial.none);
    }
    return choices;
  }
  const RowLayout layout{input.data.classes, input.embedder.dim};
  const at::Tensor rows = run_tasks(input.comm, trial.folds, layout.width(), input.threads, [&](int64_t fold, double* row) {
    try_part(part_of_trial(input, trial, static_cast<int>(fold)), layout, row);
  });
  for (int v = 0; v < kVariants; ++v) {
    choices[v].scores = recall_path(rows, layout, v, trial.support);
    choices[v].place = best_of(choices[v].scores);
  }
  // the temperature of each variant, on logits of images that their model has not seen
  const HeldOutAnswers tried = tried_images(input.data, trial);
  const auto numbers = static_cast<int64_t>(tried.ids.size()) * input.data.classes;
  const int64_t kept = input.keep_held_out || input.decision ? numbers : 0;
  const at::Tensor answers = run_tasks(input.comm, kVariants, 1 + kept, input.threads, [&](int64_t v, double* out) {
    std::vector<double> logits;
    logits.reserve(static_cast<size_t>(numbers));
    for (int fold = 0; fold < trial.folds; ++fold) {
      const Part part = part_of_trial(input, trial, fold);
      if (part.test_labels.empty()) continue;
      const double* row = rows.data_ptr<double>() + fold * layout.width();
      const LinearModel model = read_model(row + layout.model_at(weight_place(kVariant[v]), choices[v].place), layout.classes, layout.dim);
      const at::Tensor scores = scores_of(model, part.test, kVariant[v], part.train_counts).contiguous();
      logits.insert(logits.end(), scores.data_ptr<double>(), scores.data_ptr<double>() + scores.numel());
    }
    *out = fit_temperature(tried.labels, logits, input.data.classes).value.value_or(std::numeric_limits<double>::quiet_NaN());
    std::copy_n(logits.begin(), kept, out + 1);
  });
  for (int v = 0; v < kVariants; ++v) {
    const double* row = answers.const_data_ptr<double>() + v * (1 + kept);
    const double t = row[0];
    if (kept > 0) choices[v].held_out = {tried.ids, tried.labels, {row + 1, row + 1 + kept}};
    choices[v].temperature =
        std::isnan(t)
            ? Stat::undefined(
                  "no finite temperature fits the images that C was chosen on (all classified correctly, or no better than chance)")
            : Stat::of(t);
  }
  return choices;
}

// Logits of all queries on every rank.
at::Tensor query_scores(const ProtocolInput& input, const LinearModel& model, const Variant& variant, std::span<const int64_t> counts) {
  return map_rows(input.comm, input.features.queries, input.data.classes, at::kDouble, input.threads,
                  [&](const at::Tensor& rows) { return scores_of(model, rows, variant, counts); });
}

Prediction conclude(const ProtocolInput& input, const Variant& variant, const Choice& choice, const at::Tensor& scores, int iterations,
                    bool converged) {
  const EvalData& data = input.data;
  const std::span<const double> logits(scores.data_ptr<double>(), static_cast<size_t>(scores.numel()));
  Prediction prediction{variant.name, predict(scores), softmax_rows(logits, data.classes), {}};
  json& details = prediction.details;
  const std::vector<double> cs = values_of_c();
  details["C"] = cs[choice.place];
  details["C_at_the_edge"] = !choice.scores.empty() && (choice.place == 0 || choice.place == kSteps - 1);
  details["iterations"] = iterations;
  details["converged"] = converged;
  if (!choice.scores.empty()) details["selection"] = choice.scores;
  put(details, "temperature", choice.temperature);
  std::vector<double> scaled;
  if (choice.temperature.value) scaled = softmax_rows(logits, data.classes, *choice.temperature.value);
  details["calibration"] = describe_calibration(data.query_labels, prediction.probabilities, scaled, choice.temperature, data.classes);
  return prediction;
}

// The user's rule: chosen on the held-out answers, tried on the queries.
json decided(const ProtocolInput& input, const Choice& choice, const std::string& chosen_on, const at::Tensor& scores,
             const std::vector<int32_t>& argmax) {
  const EvalData& data = input.data;
  const DecisionRule rule = choose_rule(*input.decision, input.dataset, data.classes, choice.held_out, choice.temperature, chosen_on);
  const std::vector<double> probabilities = softmax_rows({scores.const_data_ptr<double>(), static_cast<size_t>(scores.numel())},
                                                         data.classes, choice.temperature.value.value_or(1.0));
  return {{"rule", rule.about},
          {"validation",
           decision_in_validation(input.dataset, data, rule, choice.held_out, choice.temperature, input.seed, input.threads, input.comm)},
          {"test", decision_scores(input.dataset, data, rule, probabilities, argmax, input.seed, input.threads, input.comm)}};
}

std::string why_too_large(const ProtocolInput& input) {
  const double classes = input.data.classes, dim = static_cast<double>(input.embedder.dim),
               images = static_cast<double>(input.data.memory.size()), asked = static_cast<double>(input.data.queries.size());
  const double row = 2.0 * kSteps * classes * (dim + 1), fit = size_of_fit(images, classes, dim);
  if (asked * classes > kMostProbabilities)
    return fmt::format("the queries have {:.1e} probabilities, more than {:.1e}", asked * classes, kMostProbabilities);
  if (row > kLargestRow) return fmt::format("the models of a path over C would be {:.1e} numbers, more than {:.1e}", row, kLargestRow);
  if (fit > kLargestFit) return fmt::format("an iteration of a fit would take {:.1e} multiplications, more than {:.1e}", fit, kLargestFit);
  return "";
}

}  // namespace

json logistic_settings(const EvalData&, const KnnConfig&) {
  return {{"suite", "linear"},
          {"method", "multinomial logistic regression, L2, free intercept, on normalised features of the memory"},
          {"C", values_of_c()},
          {"criterion", "mean recall of the images that C is tried on; equal: the smaller C"},
          {"class_weighted", "each class counts the same in the loss"},
          {"logit_adjusted", "the plain fit, minus the logarithm of each class's share of the training images"},
          {"temperature", "fitted on the images that C was chosen on"},
          {"calibration_bins", kCalibrationBins},
          {"notes", json::array()}};
}

ProtocolResult logistic_protocol(const ProtocolInput& input) {
  const EvalData& data = input.data;
  ProtocolResult result;
  result.scores = json::object();
  if (const std::string why = why_too_large(input); !why.empty()) {
    result.scores["left_out"] = why;
    return result;
  }
  const Trial trial = plan_trial(input.dataset, data, input.seed);
  json& selection = result.scores["selection"];
  selection = {{"by", trial.by}};
  selection["images"] = trial.images();
  selection["classes"] = std::count_if(trial.support.begin(), trial.support.end(), [](int64_t n) { return n > 0; });
  if (!trial.none.empty()) selection["not_chosen"] = trial.none + ": C = 1";
  const std::vector<Choice> choices = choose(input, trial);

  const RowLayout layout{data.classes, input.embedder.dim};
  const std::vector<double> cs = values_of_c();
  const at::Tensor models = run_tasks(input.comm, kVariants, layout.model() + 2, input.threads, [&](int64_t v, double* row) {
    LogisticRegression regression(input.features.memory, data.memory_labels, data.classes);
    regression.start(kVariant[v].weight);
    const LogisticFit fit = regression.fit(cs[choices[v].place], {.tolerance = kTolerance});
    write_model(fit.model, row);
    row[layout.model()] = fit.iterations;
    row[layout.model() + 1] = fit.converged;
  });
  const std::vector<int64_t> counts = class_counts(data.memory_labels, data.classes);
  for (int v = 0; v < kVariants; ++v) {
    const double* row = models.data_ptr<double>() + v * (layout.model() + 2);
    const LinearModel model = read_model(row, layout.classes, layout.dim);
    result.models.push_back(
        {model.weight, scores_of({at::zeros_like(model.weight), model.bias}, at::zeros({1, layout.dim}), kVariant[v], counts)[0]});
    if (input.keep_held_out) result.held_out.push_back(choices[v].held_out);
    const at::Tensor scores = query_scores(input, model, kVariant[v], counts);
    result.predictions.push_back(
        conclude(input, kVariant[v], choices[v], scores, static_cast<int>(row[layout.model()]), row[layout.model() + 1] != 0));
    Prediction& prediction = result.predictions.back();
    if (input.decision) prediction.details["decision"] = decided(input, choices[v], trial.by, scores, prediction.classes);
  }
  // 25 parts with 3 inner folds take eight times the fits above
  constexpr double kFolded = kLargestFit / 8;
  const bool affordable =
      size_of_fit(static_cast<double>(data.memory.size()), data.classes, static_cast<double>(input.embedder.dim)) <= kFolded;
  if (wants_repeated_folds(input) && affordable) result.scores["repeated_folds"] = repeated_folds_of_logistic(input);
  return result;
}

}  // namespace dinoxx::eval
