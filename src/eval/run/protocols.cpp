#include "protocols.hpp"

#include <ATen/ATen.h>

#include "dinoxx/base/error.hpp"
#include "eval/features/blocks.hpp"
#include "eval/features/feature_cache.hpp"
#include "progress.hpp"
#include "results/protocol_names.hpp"

namespace dinoxx::eval {

using nlohmann::json;

namespace {

// What the ranks say they have embedded, gathered, must be the list that was asked for: each id once, none twice, none left out.
void check_exactly_once(const std::vector<uint64_t>& ids, const at::Tensor& embedded, const char* what, Communicator& comm) {
  const at::Tensor all = gather_blocks(comm, embedded, static_cast<int64_t>(ids.size()));
  for (int64_t i = 0; i < all.size(0); ++i) {
    const int64_t id = all.data_ptr<int64_t>()[i];
    if (id != static_cast<int64_t>(ids[i]) || (i > 0 && ids[i] <= ids[i - 1])) {
      fail("evaluation", fmt::format("each {} image exactly once over {} ranks, here id {}", what, comm.size(), ids[i]),
           fmt::format("id {}", id), "The ranks see different data sets; give all of them the same --data.");
    }
  }
}

// Also frees this rank's part.
at::Tensor take(FeatureSet& local, size_t e, const std::vector<uint64_t>& ids, Communicator& comm) {
  const at::Tensor part = std::exchange(local.rows[e], at::Tensor());
  return gather_blocks(comm, part, static_cast<int64_t>(ids.size()));
}

}  // namespace

const std::vector<Protocol>& protocols() {
  static const std::vector<Protocol> all = [] {
    std::vector<Protocol> list{
        {"knn",
         {},
         "weighted k-nearest neighbours, plain and class-balanced vote",
         "one product of test and training images",
         false,
         false,
         knn_settings,
         knn_protocol},
        {"clustering",
         {},
         "no labels used to fit: spherical k-means against the classes, retrieval, copy detection",
         "10 restarts of k-means, one sorted product, at most 1,000 distorted images through the network",
         false,
         false,
         clustering_settings,
         clustering_protocol},
        {"few_shot",
         {},
         "K images per class (1 to 32, all): nearest class mean, SimpleShot, logistic regression; episodes, also transductive",
         "10 draws for each K",
         false,
         false,
         few_shot_settings,
         few_shot_protocol},
        {"logistic",
         {},
         "logistic regression on all of train, C chosen inside it: plain, class-weighted, logit-adjusted; calibration",
         "12 values of C on 5 folds",
         true,
         false,
         logistic_settings,
         logistic_protocol},
        {"multi_label",
         {},
         "images with several labels: yes or no for each, k-NN and logistic regression; mAP, F1 at thresholds of their own",
         "12 values of C on 5 folds, for each label",
         true,
         false,
         multi_label_settings,
         multi_label_protocol},
        {"linear_probe",
         {},
         "52 linear heads as DINOv2 trains them: 13 learning rates, last 1 or 4 blocks, with or without the mean of patches",
         "--linear-probe-views x train, then val and test once through the network",
         true,
         true,
         linear_probe_settings,
         linear_probe_protocol},
        {"finetune",
         {},
         "light fine-tuning: linear probe first, LoRA, biases, norms, everything; files of the tuned weights",
         "10 epochs of train for each of 5 methods: hours on a CPU; \"all\" runs it only below --finetune.max_minutes",
         true,
         true,
         finetune_settings,
         finetune_protocol},
        {"segmentation",
         {},
         "where masks are packed: linear segmentation of patch features, attention of CLS against the masks",
         "all test images once or twice more, two fits",
         false,
         false,
         segmentation_settings,
         segmentation_protocol},
        {"match",
         {},
         "points matched between test images and warped copies of them by nearest patches, nothing trained",
         "all test images twice more",
         false,
         false,
         match_settings,
         match_protocol},
    };
    for (size_t i = 0; i < list.size(); ++i) {
      TORCH_INTERNAL_ASSERT(i < kProtocolNames.size() && list[i].name == kProtocolNames[i].word);
      list[i].key = kProtocolNames[i].key;
    }
    return list;
  }();
  return all;
}

json describe_images(const EvalData& data, const ExtractOptions& options) {
  json images = {{"transform", describe(options.transform, options.whole)},
                 {"mean", options.normalization.mean},
                 {"std", options.normalization.std},
                 {"memory", {{"source", data.memory_source}, {"images", data.memory.size()}}},
                 {"queries", {{"source", data.query_source}, {"images", data.queries.size()}}},
                 {"classes", data.classes},
                 {"unlabelled_left_out", data.unlabelled},
                 {"notes", data.notes}};
  return images;
}

LocalFeatures embed_all(const Dataset& dataset, const EvalData& data, bool with_validation, std::span<const Embedder> embedders,
                        const ExtractOptions& options, Communicator& comm, FeatureCache* cache) {
  LocalFeatures local;
  struct List {
    const std::vector<uint64_t>& ids;
    const char* what;
    FeatureSet& features;
    std::vector<Embedder> missing = {};  // to be embedded
  };
  std::vector<List> lists{{data.memory, "memory", local.memory}, {data.queries, "query", local.queries}};
  if (with_validation && !data.validation.empty()) lists.push_back({data.validation, "validation", local.validation});
  int64_t images = 0, blocks = 0;
  for (List& list : lists) {
    for (const Embedder& embedder : embedders) {
      std::optional<FeatureSet> found = cache ? cache->read(dataset, list.ids, embedder, options, comm) : std::nullopt;
      list.features.rows.push_back(found ? std::move(found->rows[0]) : at::Tensor());
      if (found)
        list.features.ids = found->ids;
      else
        list.missing.push_back(embedder);
    }
    if (list.missing.empty()) continue;
    const auto total = static_cast<int64_t>(list.ids.size());
    images += total;
    blocks += block_count(rank_items(total, comm.rank(), comm.size()).size());
  }
  progress_phase("features", blocks, images);
  for (List& list : lists) {
    if (!list.missing.empty()) {
      FeatureSet made = extract_features(dataset, list.ids, list.missing, options, comm);
      list.features.ids = made.ids;
      for (size_t e = 0, m = 0; e < embedders.size(); ++e) {
        at::Tensor& rows = list.features.rows[e];
        if (rows.defined()) continue;
        rows = std::move(made.rows[m++]);
        if (cache) cache->write(dataset, list.ids, embedders[e], options, rows, comm);
      }
    }
    check_exactly_once(list.ids, list.features.ids, list.what, comm);
  }
  return local;
}

SplitFeatures take_features(LocalFeatures& local, size_t e, const EvalData& data, Communicator& comm) {
  SplitFeatures features{take(local.memory, e, data.memory, comm), take(local.queries, e, data.queries, comm), {}};
  if (!local.validation.rows.empty()) features.validation = take(local.validation, e, data.validation, comm);
  return features;
}

at::Tensor memory_mean(const ProtocolInput& input) {
  return mean_of_rows(input.comm, input.features.memory).to(at::kFloat);
}

std::vector<int64_t> class_counts(std::span<const int32_t> labels, int classes) {
  std::vector<int64_t> counts(classes);
  for (const int32_t label : labels) ++counts[label];
  return counts;
}

EvalData as_queries(const EvalData& data, const HeldOutAnswers& held_out) {
  EvalData tried = data;
  tried.queries = held_out.ids;
  tried.query_labels = held_out.labels;
  return tried;
}

std::string class_name(const Dataset& dataset, int32_t label) {
  const auto& names = dataset.class_names();
  return label >= 0 && static_cast<size_t>(label) < names.size() ? names[label] : std::to_string(label);
}

std::vector<std::string> names_of_classes(const Dataset& dataset, int classes) {
  std::vector<std::string> names;
  names.reserve(static_cast<size_t>(classes));
  for (int c = 0; c < classes; ++c) names.push_back(class_name(dataset, c));
  return names;
}

}  // namespace dinoxx::eval
