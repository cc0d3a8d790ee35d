// Sets of features by hand, and the steps of the ladder on them.
#pragma once
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "base/rng.hpp"
#include "dinoxx/comm/self_communicator.hpp"
#include "eval/run/method_scores.hpp"
#include "eval/run/protocols.hpp"
#include "support/memory_dataset.hpp"

namespace dinoxx::testing_support {

using namespace eval;
using nlohmann::json;

// Features by hand: class c of `dim` dimensions, with noise. What the images show does not matter here.
inline at::Tensor features(const std::vector<uint64_t>& ids, const std::vector<int32_t>& labels, double noise, int64_t dim = 12) {
  at::Tensor rows = at::zeros({static_cast<int64_t>(ids.size()), dim}, at::kFloat);
  for (size_t i = 0; i < ids.size(); ++i) {
    CounterRng rng(7, ids[i], 0, Purpose::kEval);
    float* row = rows.data_ptr<float>() + static_cast<int64_t>(i) * dim;
    for (int64_t j = 0; j < dim; ++j) row[j] = static_cast<float>(noise * rng.normal() + 0.3);
    row[labels[i] % dim] += 1;
  }
  return normalize_rows(rows);
}

struct Set {
  MemoryDataset dataset;
  EvalData data;
};

// train[c] and test[c] images of class c, val of each class.
inline Set make_set(const std::vector<int>& train, const std::vector<int>& test, int val = 0) {
  Set set;
  std::vector<std::string> names;
  for (size_t c = 0; c < train.size(); ++c) names.push_back("class" + std::to_string(c));
  set.dataset.set_class_names(names);
  const auto add = [&](Split split, const std::vector<int>& counts) {
    for (size_t c = 0; c < counts.size(); ++c)
      for (int i = 0; i < counts[c]; ++i) set.dataset.add(split, static_cast<int32_t>(c));
  };
  add(Split::kTrain, train);
  add(Split::kVal, std::vector<int>(train.size(), val));
  add(Split::kTest, test);
  set.data = choose_eval_data(set.dataset, std::nullopt, 0);
  return set;
}

inline SplitFeatures features_of(const EvalData& data, double noise) {
  return {features(data.memory, data.memory_labels, noise), features(data.queries, data.query_labels, noise),
          data.validation.empty() ? at::Tensor() : features(data.validation, data.validation_labels, noise)};
}

inline const Embedder kEmbedder{"teacher", "", 12, {}};

struct Outcome {
  std::map<std::string, json> scores;  // by the protocol's key in results.json, with those of its methods
  std::map<std::string, std::vector<int32_t>> predictions;
};

inline Outcome climb(const Dataset& dataset, const EvalData& data, const SplitFeatures& f, Communicator& comm, int threads = 1,
                     const std::string& only = "") {
  Outcome outcome;
  for (const Protocol& protocol : protocols()) {
    if (!only.empty() && only != protocol.key) continue;
    const KnnConfig knn;
    const ProtocolResult result = protocol.run({dataset, data, kEmbedder, f, knn, 0, threads, comm});
    json& scores = outcome.scores[std::string(protocol.key)];
    scores = result.scores;
    for (const Prediction& prediction : result.predictions) {
      scores["methods"][prediction.method] = method_scores(dataset, data, prediction);
      outcome.predictions[std::string(protocol.key) + "." + prediction.method] = prediction.classes;
    }
    EXPECT_FALSE(protocol.settings(data, knn).empty());
  }
  return outcome;
}

inline Outcome climb(const Set& set, double noise, const std::string& only = "") {
  const auto comm = make_self_communicator();
  return climb(set.dataset, set.data, features_of(set.data, noise), *comm, 1, only);
}

}  // namespace dinoxx::testing_support
