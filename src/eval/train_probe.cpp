#include "dinoxx/eval/train_probe.hpp"

#include <chrono>

#include "dinoxx/core/error.hpp"
#include "dinoxx/eval/knn_suite.hpp"

namespace dinoxx::eval {

using nlohmann::json;

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
  extract_ = {choose_transform(*dataset_, all, config_.image_size), config_.plan, config_.threads};
}

json TrainProbe::operator()(const Backbone& teacher, int64_t step) const {
  json result = {{"suite", "knn"}, {"step", step}};
  if (!data_) {
    result["error"] = off_reason_;
    return result;
  }
  const auto start = std::chrono::steady_clock::now();
  try {
    const Embedder embedder = backbone_embedder("teacher", "teacher of this run", teacher);
    const KnnReport report = run_knn(*dataset_, *data_, {&embedder, 1}, config_.knn, extract_, *comm_);
    const json& scores = report.results.front().scores;
    const json& headline = scores["headline"];
    result["queries"] = data_->query_source;
    for (const char* key : {"k", "accuracy", "balanced_accuracy", "count"}) result[key] = headline[key];
    for (const auto& [k, entry] : scores["by_k"].items()) result["by_k"][k] = entry["accuracy"];
  } catch (const std::exception& e) {
    // All ranks are here together: what can fail alone runs under on_all_ranks().
    result["error"] = e.what();
  }
  result["seconds"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace dinoxx::eval
