#include "train_probe.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>

#include "dinoxx/base/error.hpp"
#include "eval/statistics/statistics.hpp"
#include "protocols.hpp"
#include "results/protocol_names.hpp"

namespace dinoxx::eval {

using nlohmann::json;

namespace {

constexpr const char* kKnn = "knn";

// Where a protocol's scores hold what is worth a curve over training.
struct Figure {
  const char *key, *name, *place;  // key of the protocol
};
constexpr Figure kFigures[] = {{"zero", "cluster_accuracy", "/clustering/accuracy"},
                               {"zero", "nmi", "/clustering/nmi"},
                               {"zero", "ari", "/clustering/ari"},
                               {"zero", "map", "/retrieval/map"},
                               {"linseg", "object_miou", "/object/pixel/miou"},
                               {"linseg", "classes_miou", "/classes/pixel/miou"}};

json figures_of(std::string_view key, const ProtocolResult& result, const EvalData& data) {
  json figures = json::object();
  if (result.scores.contains("left_out")) figures["left_out"] = result.scores["left_out"];
  for (const Prediction& prediction : result.predictions) {
    const Tally t = tally(data.query_labels, prediction.classes, data.classes);
    for (const auto& [figure, stat] : {std::pair{"accuracy", accuracy(t)}, std::pair{"balanced_accuracy", balanced_accuracy(t)}})
      if (stat.value) figures[fmt::format("{}_{}", prediction.method, figure)] = *stat.value;
  }
  for (const Figure& figure : kFigures) {
    const json::json_pointer place(figure.place);
    if (key == figure.key && result.scores.contains(place) && result.scores[place].is_number()) figures[figure.name] = result.scores[place];
  }
  if (result.scores.contains("curve")) {
    for (const json& entry : result.scores["curve"])
      figures[fmt::format("simpleshot_accuracy_of_{}", entry["shots"].get<int64_t>())] = entry["methods"]["simpleshot"]["accuracy"]["mean"];
  }
  return figures;
}

}  // namespace

const std::vector<std::string>& probe_names() {
  static const std::vector<std::string> names{kKnn, "clustering", "few_shot", "logistic", "segmentation"};
  return names;
}

TrainProbe::TrainProbe(std::shared_ptr<const Dataset> dataset, std::shared_ptr<Communicator> comm, ProbeConfig config)
    : dataset_(std::move(dataset)), comm_(std::move(comm)), config_(std::move(config)) {
  try {
    data_ = choose_probe_data(*dataset_, config_.seed, config_.held_out, config_.max_memory);
  } catch (const Error& e) {
    off_reason_ = e.what();
    return;
  }
  std::vector<uint64_t> all = data_->memory;
  all.insert(all.end(), data_->queries.begin(), data_->queries.end());
  extract_ = ExtractOptions{choose_transform(*dataset_, all, config_.image_size), config_.normalization, config_.threads};
}

json TrainProbe::operator()(const Backbone& teacher, int64_t step) const {
  std::vector<std::string_view> keys;
  for (const std::string& word : config_.protocols) keys.push_back(protocol_key(word));
  json result = {{"suite", fmt::format("{}", fmt::join(keys, ","))}, {"step", step}};
  if (!data_) {
    result["error"] = off_reason_;
    return result;
  }
  const auto start = std::chrono::steady_clock::now();
  try {
    const Embedder embedder = backbone_embedder("teacher", "teacher of this run", teacher);
    LocalFeatures local = embed_all(*dataset_, *data_, /*with_validation=*/false, {&embedder, 1}, *extract_, *comm_);
    const SplitFeatures features = take_features(local, 0, *data_, *comm_);
    ProtocolInput input{*dataset_, *data_, embedder, features, config_.knn, config_.seed, config_.threads, *comm_, &*extract_};
    input.in_training = true;
    result["queries"] = data_->query_source;
    result["count"] = data_->queries.size();
    for (const Protocol& protocol : protocols()) {
      if (std::find(keys.begin(), keys.end(), protocol.key) == keys.end()) continue;
      const ProtocolResult done = protocol.run(input);
      if (protocol.key != kKnn) {
        result["steps"][std::string(protocol.key)] = figures_of(protocol.key, done, *data_);
        continue;
      }
      const json& headline = done.scores["headline"];
      for (const char* key : {"k", "accuracy", "balanced_accuracy"}) result[key] = headline[key];
      for (const auto& [k, entry] : done.scores["by_k"].items()) result["by_k"][k] = entry["accuracy"];
    }
  } catch (const std::exception& e) {
    // All ranks are here together: what can fail alone runs under on_all_ranks().
    result["error"] = e.what();
  }
  result["seconds"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace dinoxx::eval
