#include "predict.hpp"

#include <ATen/ATen.h>

#include <atomic>
#include <chrono>

#include "base/csv.hpp"
#include "base/files.hpp"
#include "base/json_text.hpp"
#include "comm/agree.hpp"
#include "dinoxx/base/error.hpp"
#include "eval/features/embed_rows.hpp"
#include "eval/features/picture_folder.hpp"
#include "eval/statistics/calibration.hpp"
#include "head_fitting.hpp"

namespace dinoxx::eval {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kKnownRule =
    "distance to the nearest training image, along the principal directions of the training images, each to unit variance; an image is "
    "unknown above the value that 95 of 100 training images keep to those of other folds";

// A disk that is full loses the head for the next call, not the answers of this one.
void keep_head(const HeadFitting& fitting, const Classifier& classifier, json& record) {
  try {
    fitting.keep(classifier);
  } catch (const std::exception& error) {
    record["not_kept"] = error.what();
  }
}

// What is said of each image.
struct Answers {
  std::vector<int32_t> classes;       // by the rule of decision
  std::vector<uint8_t> labels;        // [images, labels]: those that each has, where it may have several; then no classes
  std::vector<double> probabilities;  // [images, classes]
  std::vector<double> distance;       // to the nearest training image
  std::vector<bool> unknown;
};

// Collective.
Answers answer(const Classifier& classifier, const at::Tensor& features, int threads, Communicator& comm) {
  const StoredHead& head = classifier.head;
  const at::Tensor logits = head_logits(head.model, features, threads, comm);
  const json temperature = head.about.value("temperature", json());
  if (classifier.rule.kind == DecisionRule::Kind::kLabels) {
    const at::Tensor shares = at::sigmoid(logits).contiguous();
    Answers answers{{},
                    {},
                    {shares.const_data_ptr<double>(), shares.const_data_ptr<double>() + shares.numel()},
                    distance_to_training(head, features),
                    {}};
    answers.labels = eval::answers(classifier.rule, answers.probabilities);
    for (const double distance : answers.distance) answers.unknown.push_back(head.known_to && distance > *head.known_to);
    return answers;
  }
  Answers answers{predict(logits),
                  {},
                  softmax_rows({logits.data_ptr<double>(), static_cast<size_t>(logits.numel())},
                               static_cast<int>(classifier.classes.size()), temperature.is_number() ? temperature.get<double>() : 1.0),
                  distance_to_training(head, features),
                  {}};
  if (classifier.rule.kind != DecisionRule::Kind::kMostProbable)
    answers.classes = decide(classifier.rule, answers.probabilities, classifier.training_images);
  for (const double distance : answers.distance) answers.unknown.push_back(head.known_to && distance > *head.known_to);
  return answers;
}

// A row of image `i` begun by what it is answered, and ended by what tells whether it is known.
std::string labels_table_of(const PictureFolder& folder, const Classifier& classifier, const Answers& answers) {
  const size_t labels = classifier.classes.size();
  std::vector<std::string> fields{"path", "predicted", "error"};
  for (const std::string& name : classifier.classes) fields.push_back("p:" + name);
  fields.insert(fields.end(), {"unknown", "distance", "closest"});
  std::string text = csv_row(fields);
  for (size_t i = 0; i < static_cast<size_t>(folder.size()); ++i) {
    const bool read = folder.reason(i).empty();
    std::string has;
    for (size_t l = 0; l < labels; ++l)
      if (answers.labels[i * labels + l] != 0) has += (has.empty() ? "" : ";") + classifier.classes[l];
    if (has.empty()) has = "none";
    fields = {folder.key(i), read && !answers.unknown[i] ? has : "", folder.reason(i)};
    for (size_t l = 0; l < labels; ++l) fields.push_back(read ? fmt::format("{:.6g}", answers.probabilities[i * labels + l]) : "");
    fields.insert(fields.end(),
                  {read && answers.unknown[i] ? "yes" : "", read ? fmt::format("{:.4f}", answers.distance[i]) : "", read ? has : ""});
    text += csv_row(fields);
  }
  return text;
}

std::string table_of(const PictureFolder& folder, const Classifier& classifier, const Answers& answers) {
  if (classifier.rule.kind == DecisionRule::Kind::kLabels) return labels_table_of(folder, classifier, answers);
  const size_t classes = classifier.classes.size();
  std::vector<std::string> fields{"path", "predicted", "probability", "training_images", "error"};
  for (const std::string& name : classifier.classes) fields.push_back("p:" + name);
  fields.insert(fields.end(), {"unknown", "distance", "closest"});
  std::string text = csv_row(fields);
  for (size_t i = 0; i < static_cast<size_t>(folder.size()); ++i) {
    const double* row = answers.probabilities.data() + i * classes;
    const auto answer = static_cast<size_t>(answers.classes[i]);
    const bool read = folder.reason(i).empty();
    fields = {folder.key(i), "", "", "", folder.reason(i)};
    if (read && !answers.unknown[i]) {
      fields[1] = classifier.classes[answer];
      fields[2] = fmt::format("{:.6g}", row[answer]);
      fields[3] = std::to_string(classifier.training_images[answer]);
    }
    for (size_t c = 0; c < classes; ++c) fields.push_back(read ? fmt::format("{:.6g}", row[c]) : "");
    fields.push_back(read && answers.unknown[i] ? "yes" : "");
    fields.push_back(read ? fmt::format("{:.4f}", answers.distance[i]) : "");
    fields.push_back(read ? classifier.classes[answer] : "");
    text += csv_row(fields);
  }
  return text;
}

// The part of the summary that is about images, with the numbers of predictions per class.
json describe_answers(const PredictOptions& options, const PictureFolder& folder, const Classifier& classifier, const Answers& answers,
                      std::vector<int64_t>& predicted) {
  json unreadable = json::array(), unknown = json::array();
  for (size_t i = 0; i < static_cast<size_t>(folder.size()); ++i) {
    if (!folder.reason(i).empty())
      unreadable.push_back({{"path", folder.key(i)}, {"error", folder.reason(i)}});
    else if (answers.unknown[i])
      unknown.push_back({{"path", folder.key(i)}, {"distance", answers.distance[i]}});
    else if (answers.labels.empty())
      ++predicted[static_cast<size_t>(answers.classes[i])];
    else
      for (size_t l = 0; l < predicted.size(); ++l) predicted[l] += answers.labels[i * predicted.size() + l];
  }
  return {{"folder", options.images.string()},
          {"transform", describe(classifier.input.transform, classifier.input.whole)},
          {"read", static_cast<size_t>(folder.size()) - unreadable.size()},
          {"unreadable", unreadable},
          {"unknown", unknown}};
}

json describe_classifier(const Classifier& classifier, const std::vector<int64_t>* predicted) {
  json classes = json::array(), untrusted = json::array();
  for (size_t c = 0; c < classifier.classes.size(); ++c) {
    const int64_t images = classifier.training_images[c];
    classes.push_back({{"name", classifier.classes[c]}, {"training_images", images}});
    if (predicted) classes.back()["predicted"] = (*predicted)[c];
    if (images < kFewBelow) untrusted.push_back(classifier.classes[c]);
  }
  const StoredHead& head = classifier.head;
  return {{"format", "dinoxx predictions"},
          {"version", 1},
          {"checkpoint", classifier.checkpoint},
          {"data", classifier.data},
          {"head", head.about},
          {"decision", {{"rule", classifier.rule.about}, {"validation", classifier.rule_in_validation}}},
          {"known",
           {{"up_to_distance", head.known_to ? json(*head.known_to) : json(nullptr)},
            {"training_images", head.reference.size(0)},
            {"rule", kKnownRule}}},
          {"classes", classes},
          {"untrusted", untrusted}};
}

// Of the maker's folders a file for others says nothing.
Classifier without_paths(Classifier classifier) {
  classifier.checkpoint["file"] = fs::path(classifier.checkpoint["file"].get<std::string>()).filename().string();
  classifier.data.erase("path");
  return classifier;
}

void check_places(const PredictOptions& options) {
  if (!options.out.empty()) {
    const fs::path above = fs::absolute(options.out).parent_path();
    if (!fs::is_directory(above)) fail_usage("--out", "a folder that is there", fmt::format("no {}", above.string()), "Make it first.");
  }
  if (!options.save.empty()) check_place_of_classifier(options.save);
}

}  // namespace

const std::vector<std::string>& predict_methods() {
  static const std::vector<std::string> names{"plain", "class_weighted", "logit_adjusted", kFinetunedMethod};
  return names;
}

json predict_folder(const PredictOptions& options, Communicator& comm) {
  const auto start = std::chrono::steady_clock::now();
  LoadedModel model;
  std::optional<LoadedClassifier> from_file;
  std::optional<HeadFitting> fitting;
  std::optional<PictureFolder> folder;
  std::optional<AtomicFile> table;
  on_all_ranks(comm, [&] {
    check_places(options);
    if (!options.classifier.empty()) {
      from_file = load_classifier(options.classifier, options.model.device);
      model = std::move(from_file->model);
    } else {
      model = load_model(options.model);
      fitting.emplace(options, model);
    }
    const ClassifierInput& input = from_file ? from_file->classifier.input : fitting->input();
    if (!options.images.empty()) folder.emplace(options.images, input.transform, input.whole, input.normalization, input.used_bits);
    if (folder && comm.rank() == 0) table.emplace(options.out);
  });
  if (fitting) fitting->begin(comm);

  const ClassifierInput input = from_file ? from_file->classifier.input : fitting->input();
  const Readout& readout = from_file ? from_file->classifier.readout : options.readout;
  Embedder embedder;
  on_all_ranks(comm, [&] { embedder = read_stages(backbone_embedder("teacher", "", *model.network), readout, input.transform.crop); });
  const int64_t total = (fitting ? fitting->images() : 0) + (folder ? folder->size() : 0);
  std::atomic<int64_t> of_this_rank{0};
  const EmbedImages embed = [&](int64_t count, const std::function<void(int64_t, float*)>& network_input) {
    return embed_rows(
        count, input.transform.crop, embedder, /*normalize=*/true, options.threads, network_input,
        [&](int64_t items) {
          const int64_t done = std::min(total, (of_this_rank += items) * comm.size());
          if (options.progress) options.progress(done, total);
        },
        comm);
  };
  const Classifier classifier = from_file ? from_file->classifier : fitting->fit(embedder, embed, comm);

  json summary = describe_classifier(classifier, nullptr);
  std::optional<Answers> answers;
  if (folder) {
    at::Tensor features = embed(folder->size(), [&](int64_t item, float* pixels) { folder->make_input(item, pixels); });
    folder->share_reasons(comm);
    if (const auto& whitening = classifier.head.whitening) features = whitening->rows(features, options.threads, comm);
    answers = answer(classifier, features, options.threads, comm);
    std::vector<int64_t> predicted(classifier.classes.size());
    const json images = describe_answers(options, *folder, classifier, *answers, predicted);
    summary = describe_classifier(classifier, &predicted);
    summary["images"] = images;
  }
  if (from_file)
    summary["classifier"] = {
        {"file", options.classifier.string()}, {"crc32c", fmt::format("{:08x}", model.crc32c)}, {"build", from_file->build}};
  summary["run"] = {{"command", options.command_line},
                    {"ranks", comm.size()},
                    {"threads", options.threads},
                    {"build", options.build},
                    {"seconds", std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()}};
  if (fitting)
    summary["run"]["head"] = {{"file", fitting->file().empty() ? json(nullptr) : json(fitting->file().string())},
                              {"stored_before", fitting->stored()}};
  on_all_ranks(comm, [&] {
    if (comm.rank() != 0) return;
    if (fitting) keep_head(*fitting, classifier, summary["run"]["head"]);
    if (!options.save.empty()) write_classifier(options.save, without_paths(classifier), *model.network, options.build);
    if (!table) return;
    table->write(table_of(*folder, classifier, *answers));
    write_file_atomically(fs::path(options.out).replace_extension(".json"), json_text(summary, 2) + "\n");
    table->commit();
  });
  return summary;
}

}  // namespace dinoxx::eval
