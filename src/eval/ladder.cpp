#include "dinoxx/eval/ladder.hpp"

#include <ATen/ATen.h>

#include "dinoxx/core/error.hpp"
#include "dinoxx/eval/blocks.hpp"

namespace dinoxx::eval {

using nlohmann::json;

namespace {

// What the ranks say they have embedded, gathered, must be the list that was asked for: each id once, none twice, none left out.
void check_exactly_once(const std::vector<uint64_t>& ids, const at::Tensor& embedded, const char* what, Communicator& comm) {
  const at::Tensor all = gather_rows(comm, embedded, static_cast<int64_t>(ids.size()));
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
  return gather_rows(comm, part, static_cast<int64_t>(ids.size()));
}

}  // namespace

const std::vector<Step>& ladder() {
  static const std::vector<Step> steps{
      {"knn", "weighted k-nearest neighbours, plain and class-balanced vote", "one product of queries and memory", false, knn_protocol,
       knn_step},
      {"zero", "no labels used to fit: spherical k-means against the classes, retrieval", "10 restarts of k-means, one sorted product",
       false, zero_protocol, zero_step},
      {"few", "K images per class (1 to 32, all): nearest class mean, SimpleShot, logistic regression; episodes", "10 draws of each K",
       false, few_protocol, few_step},
      {"linear", "logistic regression on all of train, C chosen inside it: plain, class-weighted, logit-adjusted; calibration",
       "12 values of C on 5 folds", true, linear_protocol, linear_step},
      {"linseg", "where masks are packed: linear segmentation of patch features, attention of CLS against the masks",
       "all test images once or twice more, two fits", false, linseg_protocol, linseg_step},
      {"match", "are the same places found again in warped copies of the test images? Nearest patches, nothing trained",
       "all test images twice more", false, match_protocol, match_step},
  };
  return steps;
}

json describe_images(const EvalData& data, const ExtractOptions& options) {
  json images = {{"transform", describe(options.transform)},
                 {"mean", options.plan.mean},
                 {"std", options.plan.std},
                 {"memory", {{"source", data.memory_source}, {"images", data.memory.size()}}},
                 {"queries", {{"source", data.query_source}, {"images", data.queries.size()}}},
                 {"classes", data.classes},
                 {"unlabelled_left_out", data.unlabelled},
                 {"notes", data.notes}};
  return images;
}

LocalFeatures embed_all(const Dataset& dataset, const EvalData& data, bool with_validation, std::span<const Embedder> embedders,
                        const ExtractOptions& options, Communicator& comm) {
  LocalFeatures local;
  local.memory = extract_features(dataset, data.memory, embedders, options, comm);
  local.queries = extract_features(dataset, data.queries, embedders, options, comm);
  check_exactly_once(data.memory, local.memory.ids, "memory", comm);
  check_exactly_once(data.queries, local.queries.ids, "query", comm);
  if (with_validation && !data.validation.empty()) {
    local.validation = extract_features(dataset, data.validation, embedders, options, comm);
    check_exactly_once(data.validation, local.validation.ids, "validation", comm);
  }
  return local;
}

SplitFeatures take_features(LocalFeatures& local, size_t e, const EvalData& data, Communicator& comm) {
  SplitFeatures features{take(local.memory, e, data.memory, comm), take(local.queries, e, data.queries, comm), {}};
  if (!local.validation.rows.empty()) features.validation = take(local.validation, e, data.validation, comm);
  return features;
}

at::Tensor memory_mean(const StepInput& input) {
  const at::Tensor& memory = input.features.memory;
  const at::Tensor mean = run_tasks(input.comm, 1, memory.size(1), 1, [&](int64_t, double* row) {
    at::from_blob(row, {memory.size(1)}, at::kDouble).copy_(at::mean(memory, {0}, /*keepdim=*/false, at::kDouble));
  });
  return mean[0].to(at::kFloat);
}

std::vector<int64_t> class_counts(std::span<const int32_t> labels, int classes) {
  std::vector<int64_t> counts(classes);
  for (const int32_t label : labels) ++counts[label];
  return counts;
}

std::string class_name(const Dataset& dataset, int32_t label) {
  const auto& names = dataset.class_names();
  return label >= 0 && static_cast<size_t>(label) < names.size() ? names[label] : std::to_string(label);
}

}  // namespace dinoxx::eval
