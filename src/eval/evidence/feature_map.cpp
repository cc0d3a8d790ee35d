#include "feature_map.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/csv.hpp"
#include "flat_map.hpp"

namespace dinoxx::eval {
namespace {

using nlohmann::json;

constexpr int64_t kMost = 600, kLeast = 12, kNeighbours = 10;

// Rows of the queries, ascending: the same number of each class as far as it has them.
std::vector<int64_t> shown(const EvalData& data) {
  std::map<int32_t, std::vector<int64_t>> of_class;
  for (size_t q = 0; q < data.queries.size(); ++q) of_class[data.query_labels[q]].push_back(static_cast<int64_t>(q));
  std::vector<const std::vector<int64_t>*> classes;
  classes.reserve(of_class.size());
  for (const auto& [label, rows] : of_class) classes.push_back(&rows);
  std::stable_sort(classes.begin(), classes.end(), [](const auto* a, const auto* b) { return a->size() < b->size(); });
  std::vector<int64_t> chosen;
  int64_t left = std::min<int64_t>(kMost, static_cast<int64_t>(data.queries.size()));
  for (size_t c = 0; c < classes.size(); ++c) {
    const auto size = static_cast<int64_t>(classes[c]->size()), share = std::min(size, left / static_cast<int64_t>(classes.size() - c));
    for (int64_t i = 0; i < share; ++i) chosen.push_back((*classes[c])[static_cast<size_t>(i * size / share)]);
    left -= share;
  }
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

}  // namespace

json feature_map(const ProtocolInput& input, const std::string& protocol, const Prediction& prediction, std::string& csv) {
  const EvalData& data = input.data;
  const std::vector<int64_t> rows = shown(data);
  const auto n = static_cast<int64_t>(rows.size());
  if (n < kLeast) return {{"left_out", fmt::format("{} test images are too few for a map", n)}};
  const at::Tensor features = input.features.queries.index_select(0, at::tensor(rows, at::kLong));
  const Principal principal = principal_places(features);
  const double perplexity = tsne_perplexity(n);
  const at::Tensor tsne = tsne_places(features, perplexity);

  csv = csv_row(std::vector<std::string>{"image", "label", "answer", "pca_1", "pca_2", "tsne_1", "tsne_2"});
  for (int64_t i = 0; i < n; ++i) {
    const auto query = static_cast<size_t>(rows[static_cast<size_t>(i)]);
    std::vector<std::string> fields{input.dataset.key(data.queries[query]), class_name(input.dataset, data.query_labels[query]),
                                    class_name(input.dataset, prediction.classes[query])};
    for (const at::Tensor& places : {principal.places, tsne})
      for (int64_t c = 0; c < 2; ++c) fields.push_back(fmt::format("{:.5g}", places[i][c].item<double>()));
    csv += csv_row(fields);
  }
  return {{"method", {protocol, input.embedder.name, prediction.method}},
          {"images", n},
          {"of", data.queries.size()},
          {"rule", fmt::format("at most {} test images, as many of each class as there are, evenly spaced", kMost)},
          {"neighbours", kNeighbours},
          {"by_chance", static_cast<double>(kNeighbours) / static_cast<double>(n - 1)},
          {"pca", {{"explained", principal.explained}, {"kept_neighbours", kept_neighbours(features, principal.places, kNeighbours)}}},
          {"tsne", {{"perplexity", perplexity}, {"kept_neighbours", kept_neighbours(features, tsne, kNeighbours)}}},
          {"file", "feature_map.csv"}};
}

}  // namespace dinoxx::eval
