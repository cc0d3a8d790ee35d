#include "predict.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <numeric>
#include <set>

#include "base/csv.hpp"
#include "base/files.hpp"
#include "base/json_text.hpp"
#include "comm/agree.hpp"
#include "dinoxx/base/error.hpp"
#include "eval/evidence/label_checks.hpp"
#include "eval/features/blocks.hpp"
#include "eval/features/embed_rows.hpp"
#include "eval/features/picture_folder.hpp"
#include "eval/finetune/finetuned_head.hpp"
#include "eval/statistics/calibration.hpp"
#include "model/weights/facts.hpp"
#include "protocols.hpp"
#include "stored_head.hpp"

namespace dinoxx::eval {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr size_t kListed = 10;  // unreadable images on the terminal
constexpr const char* kFinetuned = "finetuned";
constexpr const char* kKnownRule =
    "distance to the nearest training image, along the principal directions of the training images, each to unit variance; an image is "
    "unknown above the value that 95 of 100 training images keep to those of other folds";

void labelled_of(const Dataset& dataset, Split split, std::vector<uint64_t>& ids, std::vector<int32_t>& labels) {
  for (const uint64_t id : dataset.ids(split)) {
    if (dataset.meta(id).label < 0) continue;
    ids.push_back(id);
    labels.push_back(dataset.meta(id).label);
  }
}

// What the head learns from; the queries have no labels.
EvalData head_data(const Dataset& dataset, size_t images) {
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
  data.queries.resize(images);
  std::iota(data.queries.begin(), data.queries.end(), uint64_t{0});
  return data;
}

// That of the protocol logistic. Collective.
StoredHead fit_head(const ProtocolInput& input, const std::string& method) {
  const ProtocolResult fitted = logistic_protocol(input);
  if (fitted.scores.contains("left_out"))
    fail_usage("the head", "one that can be fitted in reasonable time", fitted.scores["left_out"].get<std::string>(), "Use fewer classes.");
  const auto chosen = std::find_if(fitted.predictions.begin(), fitted.predictions.end(),
                                   [&](const Prediction& prediction) { return prediction.method == method; });
  if (chosen == fitted.predictions.end())
    fail_usage("--method", fmt::format("one of {}", fmt::join(predict_methods(), ", ")), method, "Change it.");
  StoredHead head;
  head.model = fitted.models.at(static_cast<size_t>(chosen - fitted.predictions.begin()));
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
  put(head.about, "temperature",
      tuned.temperature.is_number() ? Stat::of(tuned.temperature.get<double>())
                                    : Stat::undefined("none fitted the validation images of the tuning"));
  return head;
}

// A disk that is full loses the head for the next call, not the answers of this one.
void keep_head(const fs::path& file, const json& key, const StoredHead& head, json& record) {
  try {
    write_head(file, key, head);
  } catch (const std::exception& error) {
    record["not_kept"] = error.what();
  }
}

// What is said of each image.
struct Answers {
  std::vector<int32_t> classes;
  std::vector<double> probabilities;  // [images, classes]
  std::vector<double> distance;       // to the nearest training image
  std::vector<bool> unknown;
};

// Collective.
Answers answer(const StoredHead& head, const at::Tensor& features, int classes, int threads, Communicator& comm) {
  const at::Tensor logits = head_logits(head.model, features, threads, comm);
  const json temperature = head.about.value("temperature", json());
  Answers answers{predict(logits),
                  softmax_rows({logits.data_ptr<double>(), static_cast<size_t>(logits.numel())}, classes,
                               temperature.is_number() ? temperature.get<double>() : 1.0),
                  distance_to_training(head, features),
                  {}};
  for (const double distance : answers.distance) answers.unknown.push_back(head.known_to && distance > *head.known_to);
  return answers;
}

std::string table_of(const PictureFolder& folder, const Dataset& dataset, const EvalData& data, const Answers& answers,
                     std::span<const int64_t> training_images) {
  std::vector<std::string> fields{"path", "predicted", "probability", "training_images", "error"};
  for (int c = 0; c < data.classes; ++c) fields.push_back("p:" + class_name(dataset, c));
  fields.insert(fields.end(), {"unknown", "distance", "closest"});
  std::string text = csv_row(fields);
  for (size_t i = 0; i < data.queries.size(); ++i) {
    const double* row = answers.probabilities.data() + i * static_cast<size_t>(data.classes);
    const int32_t answer = answers.classes[i];
    const bool read = folder.reason(i).empty();
    fields = {folder.key(i), "", "", "", folder.reason(i)};
    if (read && !answers.unknown[i]) {
      fields[1] = class_name(dataset, answer);
      fields[2] = fmt::format("{:.6g}", row[answer]);
      fields[3] = std::to_string(training_images[static_cast<size_t>(answer)]);
    }
    for (int c = 0; c < data.classes; ++c) fields.push_back(read ? fmt::format("{:.6g}", row[c]) : "");
    fields.push_back(read && answers.unknown[i] ? "yes" : "");
    fields.push_back(read ? fmt::format("{:.4f}", answers.distance[i]) : "");
    fields.push_back(read ? class_name(dataset, answer) : "");
    text += csv_row(fields);
  }
  return text;
}

}  // namespace

const std::vector<std::string>& predict_methods() {
  static const std::vector<std::string> names{"plain", "class_weighted", "logit_adjusted", kFinetuned};
  return names;
}

json predict_folder(const PredictOptions& options, Communicator& comm) {
  const auto start = std::chrono::steady_clock::now();
  std::shared_ptr<const Dataset> dataset;
  LoadedModel model;
  EvalData data;
  EvalTransform transform;
  std::optional<PictureFolder> folder;
  std::optional<AtomicFile> table;
  std::optional<FinetunedHead> tuned;  // the file's own head; else one is fitted
  on_all_ranks(comm, [&] {
    if (!fs::exists(options.data))
      fail_usage("--data", "a folder made by \"dinoxx pack\"", fmt::format("no {}", options.data.string()), "Pack the images first.");
    const fs::path above = fs::absolute(options.out).parent_path();
    if (!fs::is_directory(above)) fail_usage("--out", "a folder that is there", fmt::format("no {}", above.string()), "Make it first.");
    dataset = Dataset::open(options.data);
    if (options.merge_class_names) dataset = merge_class_names(std::move(dataset));
    model = load_model(options.model);
    std::vector<uint64_t> all(dataset->size());
    std::iota(all.begin(), all.end(), uint64_t{0});
    transform = transform_of(options, *dataset, all, network_side(model, options.image_size));
    folder.emplace(options.images, transform, options.whole, model.normalization.value().values, dataset->used_bits());
    data = head_data(*dataset, static_cast<size_t>(folder->size()));
    if (options.method == kFinetuned) tuned = read_finetuned_head(model.file, *dataset, data.classes);
    if (comm.rank() == 0) table.emplace(options.out);
  });

  const Normalization normalization = model.normalization.value().values;
  const json key =
      head_key(*dataset, data, model, {transform, normalization, 1, options.whole}, options.model.dtype, options.method, options.seed);
  const fs::path file = options.cache.empty() ? fs::path() : head_file(options.cache, key);
  std::optional<StoredHead> head;
  if (!file.empty()) head = read_head(file, key, comm);
  const bool stored = head.has_value();
  // what has to be embedded besides FOLDER: all of train and val for a head that is to be fitted, references for one that is there
  std::vector<uint64_t> learned;
  if (!stored && !tuned) learned = data.memory;
  if (!stored && tuned)
    for (const int64_t row : reference_rows(data, options.seed)) learned.push_back(data.memory[static_cast<size_t>(row)]);
  const std::vector<uint64_t> validation = stored || tuned ? std::vector<uint64_t>{} : data.validation;

  const Embedder embedder = backbone_embedder("teacher", "", *model.network);
  const int64_t total = static_cast<int64_t>(learned.size() + validation.size() + data.queries.size());
  std::atomic<int64_t> of_this_rank{0};
  const auto embedded = [&](int64_t count, const std::function<void(int64_t, float*)>& input) {
    return embed_rows(
        count, transform.crop, embedder, /*normalize=*/true, options.threads, input,
        [&](int64_t items) {
          const int64_t done = std::min(total, (of_this_rank += items) * comm.size());
          if (options.progress) options.progress(done, total);
        },
        comm);
  };
  const auto of_data = [&](const std::vector<uint64_t>& ids) {
    return embedded(static_cast<int64_t>(ids.size()), [&](int64_t item, float* input) {
      make_input(*dataset, ids[static_cast<size_t>(item)], transform, normalization, input);
    });
  };
  SplitFeatures features;
  if (!learned.empty()) features.memory = of_data(learned);
  if (!validation.empty()) features.validation = of_data(validation);
  features.queries = embedded(folder->size(), [&](int64_t item, float* input) { folder->make_input(item, input); });
  folder->share_reasons(comm);

  if (!stored) {
    head = tuned ? tuned_head(*tuned)
                 : fit_head({*dataset, data, embedder, features, KnnConfig{}, options.seed, options.threads, comm}, options.method);
    head->about["method"] = options.method;
    head->about["training_images"] = data.memory.size();
    if (tuned) {
      take_references(*head, *dataset, learned, features.memory);
    } else {
      std::vector<uint64_t> ids;
      const std::vector<int64_t> rows = reference_rows(data, options.seed);
      for (const int64_t row : rows) ids.push_back(data.memory[static_cast<size_t>(row)]);
      take_references(*head, *dataset, ids, features.memory.index_select(0, at::tensor(rows, at::kLong)));
    }
  }
  const Answers answers = answer(*head, features.queries, data.classes, options.threads, comm);

  const std::vector<int64_t> training_images = class_counts(data.memory_labels, data.classes);
  std::vector<int64_t> predicted(static_cast<size_t>(data.classes));
  json unreadable = json::array(), unknown = json::array();
  for (size_t i = 0; i < data.queries.size(); ++i) {
    if (!folder->reason(i).empty())
      unreadable.push_back({{"path", folder->key(i)}, {"error", folder->reason(i)}});
    else if (answers.unknown[i])
      unknown.push_back({{"path", folder->key(i)}, {"distance", answers.distance[i]}});
    else
      ++predicted[static_cast<size_t>(answers.classes[i])];
  }
  json classes = json::array(), untrusted = json::array();
  for (int c = 0; c < data.classes; ++c) {
    const int64_t images = training_images[static_cast<size_t>(c)];
    classes.push_back({{"name", class_name(*dataset, c)}, {"training_images", images}, {"predicted", predicted[static_cast<size_t>(c)]}});
    if (images < kFewBelow) untrusted.push_back(class_name(*dataset, c));
  }
  json summary = {{"format", "dinoxx predictions"},
                  {"version", 1},
                  {"checkpoint",
                   {{"file", model.file.string()},
                    {"crc32c", fmt::format("{:08x}", model.crc32c)},
                    {"step", model.step ? json(*model.step) : json(nullptr)},
                    {"input", describe(model.normalization.value())},
                    {"facts", describe(model.facts)},
                    {"notes", model.notes}}},
                  {"data", {{"path", options.data.string()}, {"fingerprint", dataset->fingerprint()}}},
                  {"images",
                   {{"folder", options.images.string()},
                    {"transform", describe(transform, options.whole)},
                    {"read", data.queries.size() - unreadable.size()},
                    {"unreadable", unreadable},
                    {"unknown", unknown}}},
                  {"head", head->about},
                  {"known",
                   {{"up_to_distance", head->known_to ? json(*head->known_to) : json(nullptr)},
                    {"training_images", head->reference.size(0)},
                    {"rule", kKnownRule}}},
                  {"classes", classes},
                  {"untrusted", untrusted},
                  {"run",
                   {{"command", options.command_line},
                    {"ranks", comm.size()},
                    {"threads", options.threads},
                    {"build", options.build},
                    {"head", {{"file", file.empty() ? json(nullptr) : json(file.string())}, {"stored_before", stored}}},
                    {"seconds", std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()}}}};
  on_all_ranks(comm, [&] {
    if (!table) return;
    if (!stored && !file.empty()) keep_head(file, key, *head, summary["run"]["head"]);
    table->write(table_of(*folder, *dataset, data, answers, training_images));
    write_file_atomically(fs::path(options.out).replace_extension(".json"), json_text(summary, 2) + "\n");
    table->commit();
  });
  return summary;
}

std::string prediction_text(const json& summary) {
  const json& head = summary["head"];
  const std::string by = head.contains("finetuned")
                             ? fmt::format("the head that {} tuned with the network", head["finetuned"]["method"].get<std::string>())
                             : fmt::format("logistic regression ({}) on {} training images, C = {:g}", head["method"].get<std::string>(),
                                           head["training_images"].get<int64_t>(), head["C"].get<double>());
  std::string text = fmt::format("{} images classified by {}", summary["images"]["read"].get<int64_t>(), by);
  if (head["temperature"].is_number()) {
    text += fmt::format(", probabilities calibrated by temperature {:.3g}\n", head["temperature"].get<double>());
  } else {
    text += fmt::format("\nprobabilities are not calibrated: {}\n", head["undefined"]["temperature"].get<std::string>());
  }
  if (head.contains("repeated_folds") && head["repeated_folds"]["interval95"].is_array()) {
    const json& range = head["repeated_folds"]["interval95"];
    text += fmt::format("balanced accuracy in cross-validation of these training images: {:.1f} % ({:.1f} to {:.1f})\n",
                        100 * head["repeated_folds"]["mean"].get<double>(), 100 * range[0].get<double>(), 100 * range[1].get<double>());
  }
  text += fmt::format("facts of the network and its input: {}\n", facts_text(summary["checkpoint"]["facts"]));
  for (const json& note : summary["checkpoint"]["notes"]) text += fmt::format("note: {}\n", note.get<std::string>());
  if (summary["run"]["head"]["stored_before"] == true)
    text += fmt::format("the head is that of an earlier call: {}\n", summary["run"]["head"]["file"].get<std::string>());
  if (summary["run"]["head"].contains("not_kept"))
    text += fmt::format("the head is not kept for the next call: {}\n", summary["run"]["head"]["not_kept"].get<std::string>());
  const json& unknown = summary["images"]["unknown"];
  for (size_t i = 0; i < std::min(kListed, unknown.size()); ++i)
    text += fmt::format("unknown: {}: unlike every training image (distance {:.3g}), not answered\n", unknown[i]["path"].get<std::string>(),
                        unknown[i]["distance"].get<double>());
  if (unknown.size() > kListed) text += fmt::format("unknown: {} more, in the table\n", unknown.size() - kListed);
  if (summary["known"]["up_to_distance"].is_null()) text += "unknown images are not recognised: too few training images to tell by\n";
  const json& unreadable = summary["images"]["unreadable"];
  for (size_t i = 0; i < std::min(kListed, unreadable.size()); ++i)
    text += fmt::format("unreadable: {}: {}\n", unreadable[i]["path"].get<std::string>(), unreadable[i]["error"].get<std::string>());
  if (unreadable.size() > kListed) text += fmt::format("unreadable: {} more, in the table\n", unreadable.size() - kListed);
  for (const json& of_class : summary["classes"]) {
    const int64_t images = of_class["training_images"].get<int64_t>();
    if (images >= kFewBelow) continue;
    text += fmt::format("unreliable: {}: {} training images{}, {} predicted\n", of_class["name"].get<std::string>(), images,
                        images == 0 ? " (never predicted)" : "", of_class["predicted"].get<int64_t>());
  }
  return text;
}

}  // namespace dinoxx::eval
