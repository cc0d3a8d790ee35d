#include "balanced_sampler.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

// Whole numbers that add up to `total`, by the largest remainders; each at least 1.
std::vector<uint64_t> shares_of(const std::vector<double>& weights, uint64_t total) {
  double sum = 0;
  for (const double weight : weights) sum += weight;
  std::vector<uint64_t> shares(weights.size());
  std::vector<std::pair<double, size_t>> remainders;
  remainders.reserve(weights.size());
  uint64_t given = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    const double exact = static_cast<double>(total) * weights[i] / sum;
    shares[i] = std::max<uint64_t>(static_cast<uint64_t>(exact), 1);
    given += shares[i];
    remainders.emplace_back(exact - std::floor(exact), i);
  }
  std::stable_sort(remainders.begin(), remainders.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  for (size_t i = 0; given < total; i = (i + 1) % remainders.size(), ++given) ++shares[remainders[i].second];
  while (given > total) {  // what classes of less than one place took beyond their part
    --*std::max_element(shares.begin(), shares.end());
    --given;
  }
  return shares;
}

}  // namespace

BalancedSampler::BalancedSampler(std::span<const int32_t> labels, double balance, uint64_t seed) : places_(labels.size(), seed) {
  if (!(balance >= 0 && balance <= 1)) fail_usage("data.balance", "a number from 0 to 1", fmt::format("{}", balance), "Correct it");
  std::map<int32_t, std::vector<uint64_t>> by_label;
  uint64_t without = 0;
  for (uint64_t row = 0; row < labels.size(); ++row) {
    if (labels[row] < 0)
      ++without;
    else
      by_label[labels[row]].push_back(row);
  }
  if (without > 0)
    fail_usage("data.balance", "a label for every training image", fmt::format("{} of {} without", without, labels.size()),
               "Pack them with labels, or set it to 0");
  std::vector<double> weights;
  weights.reserve(by_label.size());
  for (auto& [label, rows] : by_label) {
    weights.push_back(std::pow(static_cast<double>(rows.size()), 1 - balance));
    classes_.push_back({label, rows.size(), 0});
    within_.emplace_back(rows.size(), seed + 1 + static_cast<uint64_t>(label));
    rows_.push_back(std::move(rows));
  }
  const std::vector<uint64_t> shares = shares_of(weights, labels.size());
  uint64_t next = 0;
  for (size_t c = 0; c < shares.size(); ++c) {
    classes_[c].share = shares[c];
    first_.push_back(next);
    next += shares[c];
  }
}

std::vector<int32_t> labels_of(const Dataset& dataset, std::span<const uint64_t> ids) {
  std::vector<int32_t> labels;
  labels.reserve(ids.size());
  for (const uint64_t id : ids) labels.push_back(dataset.meta(id).label);
  return labels;
}

uint64_t BalancedSampler::row(uint64_t position) const {
  const uint64_t epoch = position / places_.size(), place = places_.row(position);
  const auto c = static_cast<size_t>(std::upper_bound(first_.begin(), first_.end(), place) - first_.begin()) - 1;
  return rows_[c][within_[c].row(epoch * classes_[c].share + place - first_[c])];
}

}  // namespace dinoxx
