#include "dinoxx/eval/checks.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "dinoxx/checkpoint/together.hpp"
#include "dinoxx/eval/blocks.hpp"
#include "dinoxx/eval/nearest_mean.hpp"
#include "dinoxx/eval/resampling.hpp"

namespace dinoxx::eval {
namespace {

using nlohmann::json;
using ContentId = std::array<uint64_t, 2>;

constexpr size_t kExamples = 20;

// Pictures of `ids` that are in `first` too.
json identical(const Dataset& dataset, const std::map<ContentId, uint64_t>& first, const std::vector<uint64_t>& ids) {
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
  std::set<uint64_t> known, shared;
  for (const uint64_t id : memory) known.insert(dataset.meta(id).group);
  known.erase(0);
  int64_t images = 0;
  for (const uint64_t id : queries) {
    if (!known.contains(dataset.meta(id).group)) continue;
    ++images;
    shared.insert(dataset.meta(id).group);
  }
  return {{"groups", shared.size()}, {"queries", images}};
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

json check_splits(const Dataset& dataset, const EvalData& data) {
  json warnings = json::array();
  json checks = json::object();
  std::map<ContentId, uint64_t> pictures;
  for (const uint64_t id : data.memory) pictures.try_emplace(dataset.content_id(id), id);
  if (pictures.contains(ContentId{})) {
    checks["identical"] = nullptr;
    checks["undefined"]["identical"] = "this data set holds no hash of its pictures";
  } else {
    checks["identical"] = identical(dataset, pictures, data.queries);
    if (const int64_t n = checks["identical"]["images"]; n > 0)
      warnings.push_back(
          fmt::format("{} of {} test images are in the memory too, pixel by pixel: numbers on them are memory, not recognition", n,
                      data.queries.size()));
    if (!data.validation.empty()) checks["identical_validation"] = identical(dataset, pictures, data.validation);
  }
  if (dataset.has_groups()) {
    checks["groups"] = overlap_of_groups(dataset, data.memory, data.queries);
    if (const int64_t n = checks["groups"]["queries"]; n > 0)
      warnings.push_back(
          fmt::format("{} of {} test images share a group with memory images: keep groups in one split", n, data.queries.size()));
  } else {
    checks["groups"] = nullptr;
    checks["undefined"]["groups"] = "this data set has no groups";
  }
  checks["labels"] = shift_of_labels(dataset, data);
  if (const json& missing = checks["labels"]["classes_not_in_memory"]; !missing.empty())
    warnings.push_back(fmt::format("{} classes have test images and no training image: these are always wrong", missing.size()));
  checks["warnings"] = std::move(warnings);
  return checks;
}

json check_near_identical(const StepInput& input) {
  const EvalData& data = input.data;
  const int64_t total = static_cast<int64_t>(data.queries.size());
  const ItemRange mine = rank_items(total, input.comm.rank(), input.comm.size());
  const at::Tensor local = at::empty({mine.size(), 2}, at::kDouble);
  const at::Tensor centre = memory_mean(input);
  const at::Tensor memory = centre_and_normalize(input.features.memory, centre),
                   queries = centre_and_normalize(input.features.queries, centre);
  on_all_ranks(input.comm, [&] {
    for_each_block(total, mine, input.threads, [&](int64_t, ItemRange items) {
      const Neighbors nearest = nearest_neighbors(queries.narrow(0, items.begin, items.size()), memory, 1);
      double* out = local.data_ptr<double>() + (items.begin - mine.begin) * 2;
      for (int64_t q = 0; q < items.size(); ++q) {
        *out++ = nearest.similarity[q];
        *out++ = static_cast<double>(nearest.rows[q]);
      }
    });
  });
  const at::Tensor rows = gather_rows(input.comm, local, total).contiguous();
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
    const uint64_t near_by = data.memory[static_cast<size_t>(rows.data_ptr<double>()[q * 2 + 1])];
    examples.push_back({{"image", input.dataset.key(data.queries[q])},
                        {"memory", input.dataset.key(near_by)},
                        {"cosine", -negative},
                        {"same_label", input.dataset.meta(near_by).label == data.query_labels[q]}});
  }
  return {{"embedder", input.embedder.name},
          {"cosine", kNearIdentical},
          {"queries", near},
          {"median_cosine", quantile(cosines, 0.5)},
          {"examples", std::move(examples)}};
}

}  // namespace dinoxx::eval
