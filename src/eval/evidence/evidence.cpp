#include "evidence.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "eval/features/blocks.hpp"
#include "eval/statistics/ranking_curves.hpp"
#include "eval/statistics/statistics.hpp"

namespace dinoxx::eval {
namespace {

using nlohmann::json;

constexpr size_t kMistakes = 8, kOfConfusion = 2, kRare = 5;
constexpr int kShown = 5;

struct Choice {
  size_t query;
  const char* why;
};

// Queries by falling confidence (equal, or none: in their order).
std::vector<size_t> by_confidence(const EvalData& data, const Prediction& prediction) {
  std::vector<size_t> order(data.queries.size());
  for (size_t q = 0; q < order.size(); ++q) order[q] = q;
  if (prediction.probabilities.empty()) return order;
  const auto confidence = [&](size_t q) { return prediction.probabilities[q * data.classes + prediction.classes[q]]; };
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return confidence(a) > confidence(b); });
  return order;
}

std::vector<Choice> choose(const EvalData& data, const Prediction& prediction) {
  const std::vector<size_t> order = by_confidence(data, prediction);
  std::vector<Choice> chosen;
  std::map<std::pair<int32_t, int32_t>, size_t> of_confusion;
  for (const size_t q : order) {
    if (chosen.size() == kMistakes) break;
    if (data.query_labels[q] == prediction.classes[q]) continue;
    if (++of_confusion[{data.query_labels[q], prediction.classes[q]}] <= kOfConfusion) chosen.push_back({q, "mistake"});
  }
  const size_t mistakes = chosen.size();
  for (const int32_t c : rarest_classes(data, kRare)) {
    for (const bool right : {true, false}) {
      const auto found = std::find_if(order.begin(), order.end(),
                                      [&](size_t q) { return data.query_labels[q] == c && (prediction.classes[q] == c) == right; });
      if (found == order.end()) continue;
      const auto known = std::find_if(chosen.begin(), chosen.begin() + static_cast<ptrdiff_t>(mistakes),
                                      [&](const Choice& choice) { return choice.query == *found; });
      if (known == chosen.begin() + static_cast<ptrdiff_t>(mistakes))
        chosen.push_back({*found, right ? "rare class, right" : "rare class, mistake"});
    }
  }
  return chosen;
}

}  // namespace

json neighbour_evidence(const ProtocolInput& input, const std::string& protocol, const Prediction& prediction) {
  const EvalData& data = input.data;
  const std::vector<Choice> chosen = choose(data, prediction);
  const int k = static_cast<int>(std::min<int64_t>(kShown, input.features.memory.size(0)));
  const at::Tensor rows = run_tasks(input.comm, static_cast<int64_t>(chosen.size()), 2 * k, input.threads, [&](int64_t i, double* row) {
    const auto query = static_cast<int64_t>(chosen[static_cast<size_t>(i)].query);
    const Neighbors nearest = nearest_neighbors(input.features.queries.narrow(0, query, 1), input.features.memory, k);
    for (int n = 0; n < k; ++n) {
      row[n] = static_cast<double>(nearest.rows[n]);
      row[k + n] = nearest.similarity[n];
    }
  });
  json images = json::array();
  for (size_t i = 0; i < chosen.size(); ++i) {
    const auto [query, why] = chosen[i];
    const double* row = rows.data_ptr<double>() + static_cast<int64_t>(i) * 2 * k;
    json neighbours = json::array();
    for (int n = 0; n < k; ++n) {
      const auto memory = static_cast<size_t>(row[n]);
      neighbours.push_back({{"image", input.dataset.key(data.memory[memory])},
                            {"label", class_name(input.dataset, data.memory_labels[memory])},
                            {"similarity", row[k + n]}});
    }
    json image = {{"why", why},
                  {"id", data.queries[query]},
                  {"image", input.dataset.key(data.queries[query])},
                  {"label", class_name(input.dataset, data.query_labels[query])},
                  {"answer", class_name(input.dataset, prediction.classes[query])},
                  {"neighbours", std::move(neighbours)}};
    if (prediction.probabilities.empty()) {
      put(image, "probability", Stat::undefined("the method predicts a class without probabilities"));
    } else {
      image["probability"] = prediction.probabilities[query * data.classes + prediction.classes[query]];
    }
    images.push_back(std::move(image));
  }
  return {{"method", {protocol, input.embedder.name, prediction.method}},
          {"rule", fmt::format("the {} mistakes of highest stated probability (without probabilities: the first), at most {} of one "
                               "confusion; then of the {} rarest classes that have test images the right answer and the mistake of highest "
                               "stated probability",
                               kMistakes, kOfConfusion, kRare)},
          {"neighbours", k},
          {"images", std::move(images)}};
}

}  // namespace dinoxx::eval
