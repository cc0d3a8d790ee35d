#include "head_fitting.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "dinoxx/base/error.hpp"
#include "eval/decision/decision_scores.hpp"
#include "eval/features/embed_rows.hpp"
#include "eval/multi_label/label_head.hpp"
#include "eval/multi_label/multi_label.hpp"
#include "eval/protocols/logistic_trial.hpp"
#include "eval/run/asked.hpp"
#include "eval/statistics/statistics.hpp"
#include "model/weights/facts.hpp"
#include "validation_scores.hpp"

namespace dinoxx::eval {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

void labelled_of(const Dataset& dataset, Split split, std::vector<uint64_t>& ids, std::vector<int32_t>& labels) {
  for (const uint64_t id : dataset.ids(split)) {
    if (dataset.meta(id).label < 0) continue;
    ids.push_back(id);
    labels.push_back(dataset.meta(id).label);
  }
}

// What the head learns from. There are no queries.
EvalData head_data(const Dataset& dataset) {
  EvalData data;
  labelled_of(dataset, Split::kTrain, data.memory, data.memory_labels);
  labelled_of(dataset, Split::kVal, data.validation, data.validation_labels);
  drop_unseen_validation(data);
  const std::set<int32_t> seen(data.memory_labels.begin(), data.memory_labels.end());
  if (seen.size() < 2) {
    fail_usage("--data", "labelled train images of at least two classes",
               fmt::format("{} labelled train images of {} classes", data.memory.size(), seen.size()),
               "Pack class folders (\"dinoxx pack --help\").");
  }
  data.classes = std::max(static_cast<int>(dataset.class_names().size()), *seen.rbegin() + 1);
  data.memory_source = "train";
  data.query_source = "images without labels";
  return data;
}

// That of the protocol logistic. Collective.
StoredHead fit_head(const ProtocolInput& input, const std::string& method) {
  ProtocolResult fitted = logistic_protocol(input);
  if (fitted.scores.contains("left_out"))
    fail_usage("the head", "one that can be fitted in reasonable time", fitted.scores["left_out"].get<std::string>(), "Use fewer classes.");
  const auto chosen = std::find_if(fitted.predictions.begin(), fitted.predictions.end(),
                                   [&](const Prediction& prediction) { return prediction.method == method; });
  if (chosen == fitted.predictions.end())
    fail_usage("--method", fmt::format("one of {}", fmt::join(predict_methods(), ", ")), method, "Change it.");
  const auto place = static_cast<size_t>(chosen - fitted.predictions.begin());
  StoredHead head;
  head.model = fitted.models.at(place);
  head.held_out = std::move(fitted.held_out.at(place));
  head.about = chosen->details;
  head.about.erase("calibration");  // these images have no labels
  if (head.about.contains("selection")) head.about["mean_recall_by_C"] = head.about["selection"];
  head.about.update(fitted.scores);
  return head;
}

// That of the file, tuned together with the network.
StoredHead tuned_head(const FinetunedHead& tuned) {
  StoredHead head;
  head.model = tuned.model;
  head.about["finetuned"] = tuned.about;
  put(head.about["validation"], "accuracy", Stat::undefined("results.json of the fine-tuning has the scores of this head"));
  put(head.about, "temperature",
      tuned.temperature.is_number() ? Stat::of(tuned.temperature.get<double>())
                                    : Stat::undefined("none fitted the validation images of the tuning"));
  return head;
}

std::optional<DecisionPlan> decision_of(const PredictOptions& options, const Dataset& dataset, const EvalData& data) {
  if (options.decision.empty()) return std::nullopt;
  if (options.method == kFinetunedMethod && options.decision.costs.empty())
    fail_usage("--recall", "a method whose threshold can be chosen on images that it has not learned from",
               fmt::format("--method {}, which has none here", kFinetunedMethod), "Choose another method, or say costs: --cost.");
  return plan_decision(options.decision, names_of_classes(dataset, data.classes), class_counts(data.memory_labels, data.classes),
                       plan_trial(dataset, data, options.seed).support);
}

json describe_weights(const LoadedModel& model) {
  return {{"file", model.file.string()},
          {"crc32c", fmt::format("{:08x}", model.crc32c)},
          {"step", model.step ? json(*model.step) : json(nullptr)},
          {"input", describe(model.normalization.value())},
          {"facts", describe(model.facts)},
          {"notes", model.notes}};
}

ClassifierInput input_of(const PredictOptions& options, const LoadedModel& model, const Dataset& dataset) {
  std::vector<uint64_t> all(dataset.size());
  std::iota(all.begin(), all.end(), uint64_t{0});
  return {transform_of(options, dataset, all, network_side(model, options.image_size)), options.whole, model.normalization.value().values,
          dataset.used_bits()};
}

std::shared_ptr<const Dataset> open_data(const PredictOptions& options, std::vector<BinaryLabel>& labels) {
  if (!fs::exists(options.data))
    fail_usage("--data", "a folder made by \"dinoxx pack\"", fmt::format("no {}", options.data.string()), "Pack the images first.");
  auto dataset = labels_asked(options.labels, Dataset::open(options.data), labels);
  if (labels.empty()) return dataset;
  if (options.method != kPlainMethod)
    fail_usage("--method", fmt::format("{} for images with several labels", kPlainMethod), options.method,
               "Leave it out, or ask about one label: --label NAME.");
  if (!options.decision.empty())
    fail_usage("--recall and --cost", "one class an image", "several labels an image",
               "Leave them out, or ask about one label: --label NAME.");
  if (options.labels.merge_names) fail_usage("--merge-class-names", "one class an image", "several labels an image", "Leave it out.");
  return dataset;
}

// How many images have each label, or are of each class.
std::vector<int64_t> training_counts(const EvalData& data, const LabelTable& table) {
  if (table.names.empty()) return class_counts(data.memory_labels, data.classes);
  std::vector<int64_t> counts;
  for (size_t l = 0; l < table.labels(); ++l) counts.push_back(count_labels(table.column(table.memory, l)).yes);
  return counts;
}

}  // namespace

HeadFitting::HeadFitting(const PredictOptions& options, const LoadedModel& model)
    : options_(options),
      model_(model),
      dataset_(open_data(options, labels_)),
      data_(head_data(*dataset_)),
      table_(label_table(*dataset_, data_, labels_)),
      method_(labels_.empty() ? options.method : kMultiLabelKey),
      input_(input_of(options, model, *dataset_)),
      decision_(decision_of(options, *dataset_, data_)) {
  if (options.method == kFinetunedMethod && !options.readout.plain())
    fail_usage("--feature-stages and --feature-whiten", "a head that is fitted", fmt::format("--method {}", kFinetunedMethod),
               "Leave them out: the file's head is of the network's own feature.");
  if (options.method == kFinetunedMethod) tuned_ = read_finetuned_head(model.file, *dataset_, data_.classes);
  key_ = head_key(*dataset_, data_, model, {input_.transform, input_.normalization, 1, input_.whole}, options.readout, options.model.dtype,
                  method_, options.seed);
  if (!options.cache.empty()) file_ = head_file(options.cache, key_);
}

void HeadFitting::begin(Communicator& comm) {
  if (!file_.empty()) stored_ = read_head(file_, key_, comm);
  if (stored_) return;
  // all of train and val for a head that is to be fitted, references for one that is there
  if (!tuned_) {
    learned_ = data_.memory;
    validation_ = data_.validation;
    return;
  }
  for (const int64_t row : reference_rows(data_, options_.seed)) learned_.push_back(data_.memory[static_cast<size_t>(row)]);
}

StoredHead HeadFitting::fitted(const Embedder& embedder, const EmbedImages& embed, Communicator& comm) const {
  const auto of_data = [&](const std::vector<uint64_t>& ids) {
    return embed(static_cast<int64_t>(ids.size()), [&](int64_t item, float* input) {
      make_input(*dataset_, ids[static_cast<size_t>(item)], input_.transform, input_.normalization, input);
    });
  };
  SplitFeatures features;
  features.memory = of_data(learned_);
  if (!validation_.empty()) features.validation = of_data(validation_);
  features.queries = at::empty({0, embedder.dim}, at::kFloat);
  std::optional<Whitening> whitening;
  if (options_.readout.whiten)
    whitening = whiten({&features.memory, &features.validation}, *options_.readout.whiten, options_.threads, comm);
  StoredHead head;
  if (tuned_) {
    head = tuned_head(*tuned_);
    take_references(head, *dataset_, learned_, features.memory);
  } else {
    const KnnConfig none;
    ProtocolInput input{*dataset_, data_, embedder, features, none, options_.seed, options_.threads, comm};
    if (labels_.empty()) {
      input.keep_held_out = true;
      head = fit_head(input, options_.method);
      head.about["validation"] = validation_scores(*dataset_, data_, head.held_out, options_.seed, options_.threads, comm);
      head.about["validation"]["by"] = head.about["selection"]["by"];
    } else {
      head = fitted_labels(input);
    }
    std::vector<uint64_t> ids;
    const std::vector<int64_t> rows = reference_rows(data_, options_.seed);
    ids.reserve(rows.size());
    for (const int64_t row : rows) ids.push_back(data_.memory[static_cast<size_t>(row)]);
    take_references(head, *dataset_, ids, features.memory.index_select(0, at::tensor(rows, at::kLong)));
  }
  head.whitening = std::move(whitening);
  if (!options_.readout.plain()) head.about["features"] = describe(options_.readout);
  head.about["method"] = method_;
  head.about["training_images"] = data_.memory.size();
  return head;
}

// That of the protocol multi_label. Collective.
StoredHead HeadFitting::fitted_labels(const ProtocolInput& input) const {
  if (const std::string why = why_too_large(input, table_); !why.empty())
    fail_usage("the head", "one that can be fitted in reasonable time", why, "Use fewer labels: --labels.");
  const LabelHead fitted = fit_label_head(input, table_);
  StoredHead head;
  head.model = {fitted.weight, fitted.bias};
  head.about = {{"C", fitted.c},
                {"C_at_the_edge", fitted.c_at_the_edge},
                {"selection", {{"by", fitted.chosen_on}, {"images", fitted.tried}}},
                {"thresholds", fitted.thresholds}};
  put(head.about, "temperature", Stat::undefined("each label has a probability of its own, that of its logistic regression"));
  json& validation = head.about["validation"];
  validation = {{"by", fitted.chosen_on}, {"images", fitted.tried}};
  put(validation, "mean_average_precision",
      Stat::unless_nan(fitted.map_of_tried, fitted.not_chosen.empty() ? "no threshold could be chosen" : fitted.not_chosen));
  for (size_t l = 0; l < table_.labels(); ++l) {
    if (!fitted.left_out[l].empty())
      head.about["not_learned"][table_.names[l]] = fitted.left_out[l];
    else if (!fitted.chosen[l])
      head.about["threshold_not_chosen"].push_back(table_.names[l]);
  }
  return head;
}

void HeadFitting::decide_by(Classifier& classifier, Communicator& comm) const {
  if (!labels_.empty())
    classifier.rule = rule_from_json(
        {{"kind", "labels"},
         {"thresholds", classifier.head.about.at("thresholds")},
         {"chosen_on", fmt::format("that of largest F1 on: {}", classifier.head.about.at("selection").at("by").get<std::string>())}},
        classifier.classes);
  if (!decision_) return;
  const StoredHead& head = classifier.head;
  const json fitted = head.about.value("temperature", json());
  const Stat temperature = fitted.is_number() ? Stat::of(fitted.get<double>()) : Stat::undefined("none fits");
  const std::string by = head.about.value("selection", json::object()).value("by", "");
  classifier.rule = choose_rule(*decision_, *dataset_, data_.classes, head.held_out, temperature, by);
  classifier.rule_in_validation =
      decision_in_validation(*dataset_, data_, classifier.rule, head.held_out, temperature, options_.seed, options_.threads, comm);
}

Classifier HeadFitting::fit(const Embedder& embedder, const EmbedImages& embed, Communicator& comm) {
  Classifier classifier{.readout = options_.readout,
                        .head = stored_ ? *stored_ : fitted(embedder, embed, comm),
                        .classes = labels_.empty() ? names_of_classes(*dataset_, data_.classes) : table_.names,
                        .training_images = training_counts(data_, table_),
                        .rule = {},
                        .rule_in_validation = nullptr,
                        .input = input_,
                        .precision = options_.model.dtype,
                        .checkpoint = describe_weights(model_),
                        .data = {{"path", options_.data.string()}, {"fingerprint", dataset_->fingerprint()}}};
  decide_by(classifier, comm);
  return classifier;
}

void HeadFitting::keep(const Classifier& classifier) const {
  if (!stored_ && !file_.empty()) write_head(file_, key_, classifier.head);
}

}  // namespace dinoxx::eval
