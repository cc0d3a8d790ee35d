#include "checks.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <unordered_map>
#include <unordered_set>

#include "comm/agree.hpp"
#include "eval/classify/nearest_mean.hpp"
#include "eval/classify/units.hpp"
#include "eval/features/blocks.hpp"
#include "eval/features/sample_rows.hpp"
#include "eval/statistics/resampling.hpp"

namespace dinoxx::eval {
namespace {

using nlohmann::json;
using ContentId = std::array<uint64_t, 2>;

constexpr size_t kExamples = 20;
// Of one pair of splits in the search for nearly identical images: minutes of one core.
constexpr double kMostMultiplications = 1e13;

struct HashOfContent {
  size_t operator()(const ContentId& id) const { return id[0]; }
};
using Pictures = std::unordered_map<ContentId, uint64_t, HashOfContent>;  // the first id of each image

Pictures pictures_of(const Dataset& dataset, const std::vector<uint64_t>& ids) {
  Pictures pictures;
  for (const uint64_t id : ids) pictures.try_emplace(dataset.content_id(id), id);
  return pictures;
}

// Images of `ids` that are in `first` too.
json identical(const Dataset& dataset, const Pictures& first, const std::vector<uint64_t>& ids) {
  json pairs = json::array();
  int64_t count = 0, other_label = 0;
  for (const uint64_t id : ids) {
    const auto found = first.find(dataset.content_id(id));
    if (found == first.end()) continue;
    ++count;
    const bool same = dataset.meta(id).label == dataset.meta(found->second).label;
    other_label += !same;
    if (pairs.size() < kExamples)
      pairs.push_back({{"image", dataset.key(id)}, {"memory", dataset.key(found->second)}, {"same_label", same}});
  }
  return {{"images", count}, {"with_another_label", other_label}, {"examples", std::move(pairs)}};
}

json overlap_of_groups(const Dataset& dataset, const std::vector<uint64_t>& memory, const std::vector<uint64_t>& queries) {
  std::unordered_set<uint64_t> known, shared;
  for (const uint64_t id : memory)
    if (const auto group = group_of(dataset, id)) known.insert(*group);
  int64_t images = 0;
  for (const uint64_t id : queries) {
    const auto group = group_of(dataset, id);
    if (!group || !known.contains(*group)) continue;
    ++images;
    shared.insert(*group);
  }
  return {{"groups", shared.size()}, {"queries", images}};
}

// Whether scores of the test images can be a headline.
json size_of_test(const EvalData& data) {
  const std::unordered_set<int32_t> classes(data.query_labels.begin(), data.query_labels.end());
  const double per_class = static_cast<double>(data.queries.size()) / static_cast<double>(classes.size());
  return {{"images", data.queries.size()}, {"classes", classes.size()}, {"per_class", per_class}, {"few", per_class < kFewTestImages}};
}

json shift_of_labels(const Dataset& dataset, const EvalData& data) {
  const std::vector<int64_t> memory = class_counts(data.memory_labels, data.classes),
                             queries = class_counts(data.query_labels, data.classes);
  double distance = 0;
  json not_in_memory = json::array(), not_in_queries = json::array();
  for (int c = 0; c < data.classes; ++c) {
    distance += std::abs(static_cast<double>(memory[c]) / static_cast<double>(data.memory.size()) -
                         static_cast<double>(queries[c]) / static_cast<double>(data.queries.size()));
    if (memory[c] == 0 && queries[c] > 0) not_in_memory.push_back(class_name(dataset, c));
    if (queries[c] == 0) not_in_queries.push_back(class_name(dataset, c));
  }
  return {{"total_variation", distance / 2}, {"classes_not_in_memory", not_in_memory}, {"classes_without_queries", not_in_queries}};
}

}  // namespace

std::vector<int64_t> rows_within_limit(const std::vector<uint64_t>& ids, int64_t numbers, uint64_t seed) {
  const auto most = static_cast<size_t>(std::max(1.0, kMostMultiplications / static_cast<double>(numbers)));
  return sample_rows(ids, most, seed, lane(Lane::kCopies, 1));
}

at::Tensor nearest_images(const at::Tensor& queries, const at::Tensor& memory, int threads, Communicator& comm) {
  const int64_t total = queries.size(0);
  const ItemRange mine = rank_items(total, comm.rank(), comm.size());
  const at::Tensor local = at::empty({mine.size(), 2}, at::kDouble);
  on_all_ranks(comm, [&] {
    for_each_block(total, mine, threads, [&](int64_t, ItemRange items) {
      const Neighbors nearest = nearest_neighbors(queries.narrow(0, items.begin, items.size()), memory, 1);
      double* out = local.data_ptr<double>() + (items.begin - mine.begin) * 2;
      for (int64_t q = 0; q < items.size(); ++q) {
        *out++ = nearest.similarity[q];
        *out++ = static_cast<double>(nearest.rows[q]);
      }
    });
  });
  return gather_blocks(comm, local, total).contiguous();
}

json check_splits(const Dataset& dataset, const EvalData& data) {
  json warnings = json::array();
  json checks = json::object();
  const auto warn = [&](int64_t images, const std::string& text) {
    if (images > 0) warnings.push_back(fmt::format("{} {}", images, text));
  };
  const bool validated = !data.validation.empty();
  const std::string of_queries = fmt::format("of {} test images", data.queries.size()),
                    of_validation = fmt::format("of {} val images", data.validation.size());
  const Pictures pictures = pictures_of(dataset, data.memory);
  if (pictures.contains(ContentId{})) {
    checks["identical"] = nullptr;
    checks["undefined"]["identical"] = "this data set has no hashes of its images";
  } else {
    checks["identical"] = identical(dataset, pictures, data.queries);
    warn(checks["identical"]["images"],
         of_queries + " are also training images (identical pixels): scores on them measure memorisation, not recognition");
    if (validated) {
      checks["identical_validation"] = identical(dataset, pictures, data.validation);
      checks["identical_validation_queries"] = identical(dataset, pictures_of(dataset, data.validation), data.queries);
      warn(checks["identical_validation"]["images"],
           of_validation + " are also training images (identical pixels): settings are chosen on images that were learned from");
      warn(checks["identical_validation_queries"]["images"],
           of_queries + " are also val images (identical pixels): settings were chosen on images that they are scored on");
    }
  }
  if (dataset.has_groups()) {
    checks["groups"] = overlap_of_groups(dataset, data.memory, data.queries);
    warn(checks["groups"]["queries"], of_queries + " share a group with training images: keep each group in one split");
    if (validated) {
      checks["groups_validation"] = overlap_of_groups(dataset, data.memory, data.validation);
      checks["groups_validation_queries"] = overlap_of_groups(dataset, data.validation, data.queries);
      warn(checks["groups_validation"]["queries"], of_validation + " share a group with training images: keep each group in one split");
      warn(checks["groups_validation_queries"]["queries"], of_queries + " share a group with val images: keep each group in one split");
    }
  } else {
    checks["groups"] = nullptr;
    checks["undefined"]["groups"] = "this data set has no groups";
  }
  checks["test_size"] = size_of_test(data);
  checks["labels"] = shift_of_labels(dataset, data);
  if (const json& missing = checks["labels"]["classes_not_in_memory"]; !missing.empty())
    warnings.push_back(
        fmt::format("{} classes have test images but no training image: their test images are always misclassified", missing.size()));
  checks["warnings"] = std::move(warnings);
  return checks;
}

namespace {

struct Side {
  const at::Tensor& features;  // with the mean taken off, of length 1
  const std::vector<uint64_t>& ids;
};

// Images of `asked` whose nearest image of `memory` is nearly the same.
json near_identical(const ProtocolInput& input, const Side& memory, const Side& asked) {
  const at::Tensor chosen = at::tensor(rows_within_limit(asked.ids, memory.features.numel(), input.seed), at::kLong);
  const int64_t total = chosen.size(0);
  const at::Tensor queries = total == asked.features.size(0) ? asked.features : asked.features.index_select(0, chosen);
  const at::Tensor rows = nearest_images(queries, memory.features, input.threads, input.comm);
  std::vector<std::pair<double, int64_t>> order;  // falling cosine, then query
  std::vector<double> cosines;
  int64_t near = 0;
  for (int64_t q = 0; q < total; ++q) {
    const double cosine = rows.data_ptr<double>()[q * 2];
    order.emplace_back(-cosine, q);
    cosines.push_back(cosine);
    near += cosine >= kNearIdentical;
  }
  std::sort(order.begin(), order.end());
  std::sort(cosines.begin(), cosines.end());
  json examples = json::array();
  for (size_t i = 0; i < std::min(order.size(), kExamples); ++i) {
    const auto [negative, q] = order[i];
    const uint64_t image = asked.ids[chosen.const_data_ptr<int64_t>()[q]],
                   near_by = memory.ids[static_cast<size_t>(rows.data_ptr<double>()[q * 2 + 1])];
    examples.push_back({{"image", input.dataset.key(image)},
                        {"memory", input.dataset.key(near_by)},
                        {"cosine", -negative},
                        {"same_label", input.dataset.meta(near_by).label == input.dataset.meta(image).label}});
  }
  return {{"looked_at", total}, {"queries", near}, {"median_cosine", quantile(cosines, 0.5)}, {"examples", std::move(examples)}};
}

}  // namespace

json check_near_identical(const ProtocolInput& input) {
  const EvalData& data = input.data;
  const at::Tensor centre = memory_mean(input);
  const at::Tensor memory = centre_and_normalize(input.features.memory, centre),
                   queries = centre_and_normalize(input.features.queries, centre);
  json result = near_identical(input, {memory, data.memory}, {queries, data.queries});
  result["embedder"] = input.embedder.name;
  result["cosine"] = kNearIdentical;
  if (input.features.validation.defined()) {
    const at::Tensor validation = centre_and_normalize(input.features.validation, centre);
    result["validation"] = near_identical(input, {memory, data.memory}, {validation, data.validation});
    result["validation_queries"] = near_identical(input, {validation, data.validation}, {queries, data.queries});
  }
  return result;
}

void judge_near_identical(json& checks) {
  json& near = checks["near_identical"];
  const auto judge = [&](const json& pair, const char* images, const char* others) {
    const auto found = pair["queries"].get<int64_t>();
    if (found == 0) return;
    const double median = pair["median_cosine"];
    const std::string what = fmt::format("{} of {} {} images are nearly the same as an image of {} (cosine of at least {:g})", found,
                                         pair["looked_at"].get<int64_t>(), images, others, kNearIdentical);
    if (median < kTellsApart)
      checks["warnings"].push_back(what + ": look at the pairs; scores on copies measure memorisation, not recognition");
    else
      near["notes"].push_back(fmt::format(
          "{}; with these features that says little, because half of all images have a neighbour with a cosine of {:.3f} or more", what,
          median));
  };
  judge(near, "test", "the memory");
  if (!near.contains("validation")) return;
  judge(near["validation"], "val", "the memory");
  judge(near["validation_queries"], "test", "val");
}

}  // namespace dinoxx::eval
