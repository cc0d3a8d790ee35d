// Fine-tuning of a network that costs nothing, on images that it can learn.
#pragma once
#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "base/rng.hpp"
#include "dinoxx/comm/self_communicator.hpp"
#include "eval/run/protocols.hpp"
#include "model/backbones/resnet.hpp"
#include "support/memory_dataset.hpp"

namespace nlohmann {
/// googletest would print a value as a container of values, without end.
inline void PrintTo(const json& value, std::ostream* out) {
  *out << value.dump();
}
}  // namespace nlohmann

namespace dinoxx::testing_support {

using namespace eval;
using nlohmann::json;

inline constexpr int kSize = 16, kClasses = 3;

/// Class c: a tint that noise hides in part. A long tail: class c has 1 / (c + 1) of the images of class 0.
inline MemoryDataset tinted(int train, int val, int test, int shift_test_labels = 0) {
  MemoryDataset data;
  data.set_class_names({"red", "green", "blue"});
  const auto add = [&](Split split, int of_first, int shift) {
    for (int label = 0; label < kClasses; ++label) {
      for (int i = 0; i < std::max(of_first > 0 ? 1 : 0, of_first / (label + 1)); ++i) {
        CounterRng rng(9, data.size(), 0, Purpose::kEval);
        Image image{kSize, kSize, std::vector<uint8_t>(kSize * kSize * 3)};
        for (int p = 0; p < kSize * kSize; ++p)
          for (int c = 0; c < 3; ++c) image.data[3 * p + c] = static_cast<uint8_t>((c == label ? 60 : 20) + rng.below(160));
        data.add_image(split, (label + shift) % kClasses, image);
      }
    }
  };
  add(Split::kTrain, train, 0);
  add(Split::kVal, val, 0);
  add(Split::kTest, test, shift_test_labels);
  return data;
}

/// No published one: who forgets it falls back to another.
inline const Normalization kInput{{0.6f, 0.4f, 0.3f}, {0.2f, 0.3f, 0.25f}};

inline FinetuneOptions quick(const std::vector<std::string>& methods) {
  FinetuneOptions options;
  options.methods = methods;
  options.epochs = 3;
  options.batch = 8;
  options.rank = 2;
  options.alpha = 4;
  return options;
}

inline ProtocolResult run(const Dataset& dataset, const FinetuneOptions& options, Communicator& comm, const Embedder& embedder,
                          std::optional<FinetuneOffer>* offer = nullptr) {
  const EvalData data = choose_eval_data(dataset, std::nullopt, 0);
  const ExtractOptions images{{0, kSize}, kInput, 1};
  LocalFeatures local = embed_all(dataset, data, true, {&embedder, 1}, images, comm);
  const SplitFeatures features = take_features(local, 0, data, comm);
  const KnnConfig knn;
  ProtocolInput input{dataset, data, embedder, features, knn, 0, 1, comm, &images};
  input.finetune = &options;
  input.finetune_offer = offer;
  return finetune_protocol(input);
}

inline ProtocolResult run(const Dataset& dataset, const FinetuneOptions& options, const Backbone& network, const char* name = "teacher") {
  const auto comm = make_self_communicator();
  return run(dataset, options, *comm, backbone_embedder(name, "", network));
}

inline std::map<std::string, at::Tensor> values(const Backbone& network) {
  std::map<std::string, at::Tensor> result;
  for (const auto& [name, tensor] : stored_state(network)) result[name] = tensor.detach().clone();
  return result;
}

inline std::unique_ptr<Backbone> convolutional_backbone() {
  ResNetConfig config = resnet_config("resnet18");
  config.width = 8;
  config.small_image_stem = true;
  auto network = make_backbone(config, at::kFloat);
  network->initialize(4);
  return network;
}

}  // namespace dinoxx::testing_support
