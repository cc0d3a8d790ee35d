#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/csv.hpp"
#include "comm/agree.hpp"
#include "eval/classify/units.hpp"
#include "eval/features/blocks.hpp"
#include "eval/run/protocols.hpp"
#include "evidence.hpp"

namespace dinoxx::eval {
namespace {

using nlohmann::json;

constexpr int kVoters = 20, kSpare = 20;  // the spare ones stand in for images of the same group
constexpr int kShown = 4;
constexpr int64_t kEnough = 5;
constexpr double kWork = 2e12;
constexpr size_t kImages = 16, kPairs = 20;

// Nearest images of the rest of the memory, without those of the same group.
struct Voters {
  std::vector<int64_t> rows;
  std::vector<double> similarity;
};

std::vector<int64_t> examined_rows(int64_t memory, int64_t dim) {
  const double each = static_cast<double>(memory) * static_cast<double>(dim);
  const int64_t n = std::clamp(static_cast<int64_t>(kWork / each), int64_t{1}, memory);
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < n; ++i) rows.push_back(i * memory / n);
  return rows;
}

std::vector<Voters> voters_of(const ProtocolInput& input, const std::vector<int64_t>& examined) {
  const at::Tensor& memory = input.features.memory;
  const std::vector<uint64_t> groups = units_of(input.dataset, input.data.memory);
  const bool grouped = std::any_of(groups.begin(), groups.end(), [](uint64_t g) { return g != 0; });
  const int64_t total = static_cast<int64_t>(examined.size()), k = std::min<int64_t>(memory.size(0), kVoters + 1 + (grouped ? kSpare : 0));
  const ItemRange mine = rank_items(total, input.comm.rank(), input.comm.size());
  const at::Tensor local = at::empty({mine.size(), 2 * k}, at::kDouble);
  on_all_ranks(input.comm, [&] {
    for_each_block(total, mine, input.threads, [&](int64_t, ItemRange items) {
      at::Tensor queries = at::empty({items.size(), memory.size(1)}, memory.options());
      for (int64_t i = 0; i < items.size(); ++i) queries[i].copy_(memory[examined[static_cast<size_t>(items.begin + i)]]);
      const Neighbors nearest = nearest_neighbors(queries, memory, static_cast<int>(k));
      double* out = local.data_ptr<double>() + (items.begin - mine.begin) * 2 * k;
      for (int64_t i = 0; i < items.size(); ++i, out += 2 * k) {
        for (int64_t n = 0; n < k; ++n) {
          out[n] = static_cast<double>(nearest.rows[i * k + n]);
          out[k + n] = nearest.similarity[i * k + n];
        }
      }
    });
  });
  const at::Tensor all = gather_blocks(input.comm, local, total).contiguous();
  std::vector<Voters> result(examined.size());
  for (int64_t i = 0; i < total; ++i) {
    const double* row = all.data_ptr<double>() + i * 2 * k;
    const int64_t self = examined[static_cast<size_t>(i)];
    for (int64_t n = 0; n < k && result[i].rows.size() < kVoters; ++n) {
      const auto other = static_cast<int64_t>(row[n]);
      if (other == self || (groups[self] != 0 && groups[other] == groups[self])) continue;
      result[i].rows.push_back(other);
      result[i].similarity.push_back(row[k + n]);
    }
  }
  return result;
}

// Share of the vote of each class that has any.
std::map<int32_t, double> shares_of(const Voters& voters, const std::vector<int32_t>& labels, double temperature) {
  std::map<int32_t, double> shares;
  double all = 0;
  for (size_t n = 0; n < voters.rows.size(); ++n) {
    const double weight = std::exp((voters.similarity[n] - voters.similarity[0]) / temperature);
    shares[labels[static_cast<size_t>(voters.rows[n])]] += weight;
    all += weight;
  }
  for (auto& [label, share] : shares) share /= all;
  return shares;
}

double share_of(const std::map<int32_t, double>& shares, int32_t label) {
  const auto found = shares.find(label);
  return found == shares.end() ? 0.0 : found->second;
}

int32_t winner(const std::map<int32_t, double>& shares) {
  int32_t best = -1;
  for (const auto& [label, share] : shares)
    if (best < 0 || share > share_of(shares, best)) best = label;
  return best;
}

struct Suspicion {
  double margin;  // share of the label minus that of the suggestion
  size_t place;   // among the examined
  int32_t suggested;
};

}  // namespace

json label_suspicions(const ProtocolInput& input, std::string* csv) {
  const EvalData& data = input.data;
  const std::vector<int64_t> counts = class_counts(data.memory_labels, data.classes);
  const std::vector<int64_t> examined = examined_rows(input.features.memory.size(0), input.features.memory.size(1));
  const std::vector<Voters> voters = voters_of(input, examined);
  const auto label_of = [&](size_t place) { return data.memory_labels[static_cast<size_t>(examined[place])]; };

  std::vector<std::map<int32_t, double>> shares;
  std::vector<double> sum(data.classes);
  std::vector<int64_t> members(data.classes);
  int64_t right = 0;
  for (size_t i = 0; i < voters.size(); ++i) {
    shares.push_back(shares_of(voters[i], data.memory_labels, input.knn.temperature));
    sum[label_of(i)] += share_of(shares[i], label_of(i));
    ++members[label_of(i)];
    right += winner(shares[i]) == label_of(i);
  }
  std::vector<Suspicion> suspicions;
  std::map<std::pair<int32_t, int32_t>, int64_t> pairs;
  for (size_t i = 0; i < shares.size(); ++i) {
    const int32_t label = label_of(i), other = winner(shares[i]);
    if (other < 0 || other == label || counts[label] < kEnough || counts[other] < kEnough || members[other] == 0) continue;
    const double share = share_of(shares[i], other), usual = sum[other] / static_cast<double>(members[other]);
    if (share <= 0.5 || share < usual) continue;
    suspicions.push_back({share_of(shares[i], label) - share, i, other});
    ++pairs[{label, other}];
  }
  std::stable_sort(suspicions.begin(), suspicions.end(), [](const Suspicion& a, const Suspicion& b) { return a.margin < b.margin; });

  const auto name = [&](int32_t label) { return class_name(input.dataset, label); };
  for (const auto& [margin, place, suggested] : suspicions) {
    if (!csv) break;
    const uint64_t id = data.memory[static_cast<size_t>(examined[place])];
    const auto nearest = std::find_if(voters[place].rows.begin(), voters[place].rows.end(),
                                      [&](int64_t row) { return data.memory_labels[static_cast<size_t>(row)] == suggested; });
    const std::string fields[] = {input.dataset.key(id),
                                  "train",
                                  name(label_of(place)),
                                  name(suggested),
                                  fmt::format("neighbours, share {:.2f} against {:.2f}", share_of(shares[place], suggested),
                                              share_of(shares[place], label_of(place))),
                                  input.dataset.key(data.memory[static_cast<size_t>(*nearest)])};
    *csv += csv_row(fields);
  }
  json images = json::array();
  for (size_t s = 0; s < std::min(suspicions.size(), kImages); ++s) {
    const auto& [margin, place, suggested] = suspicions[s];
    const uint64_t id = data.memory[static_cast<size_t>(examined[place])];
    json neighbours = json::array();
    for (size_t n = 0; n < std::min<size_t>(kShown, voters[place].rows.size()); ++n) {
      const auto row = static_cast<size_t>(voters[place].rows[n]);
      neighbours.push_back({{"image", input.dataset.key(data.memory[row])},
                            {"label", name(data.memory_labels[row])},
                            {"similarity", voters[place].similarity[n]}});
    }
    images.push_back({{"id", id},
                      {"image", input.dataset.key(id)},
                      {"label", name(label_of(place))},
                      {"suggested", name(suggested)},
                      {"share_of_label", share_of(shares[place], label_of(place))},
                      {"share_of_suggested", share_of(shares[place], suggested)},
                      {"neighbours", std::move(neighbours)}});
  }
  std::vector<std::pair<std::pair<int32_t, int32_t>, int64_t>> order(pairs.begin(), pairs.end());
  std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  order.resize(std::min(order.size(), kPairs));
  json frequent = json::array();
  for (const auto& [pair, n] : order) frequent.push_back({{"label", name(pair.first)}, {"suggested", name(pair.second)}, {"images", n}});
  return {
      {"rule", fmt::format("the {} nearest other training images (none of the same group) vote with the weights of k-NN; suspected when "
                           "another class has more than half of the vote and at least the share that images of that class have on average "
                           "(the thresholds of confident learning, Northcutt et al. 2021); classes of fewer than {} training images are "
                           "neither suspected nor suggested",
                           kVoters, kEnough)},
      {"embedder", input.embedder.name},
      {"neighbours", kVoters},
      {"examined", examined.size()},
      {"of", data.memory.size()},
      {"classes_too_small", std::count_if(counts.begin(), counts.end(), [](int64_t n) { return n > 0 && n < kEnough; })},
      {"right_without_itself", static_cast<double>(right) / static_cast<double>(examined.size())},
      {"suspected", suspicions.size()},
      {"pairs", std::move(frequent)},
      {"images", std::move(images)}};
}

}  // namespace dinoxx::eval
