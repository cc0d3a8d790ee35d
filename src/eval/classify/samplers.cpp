#include "samplers.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/rng.hpp"
#include "dinoxx/base/error.hpp"
#include "eval/features/lanes.hpp"

namespace dinoxx::eval {

namespace {

/// The draws of one epoch: a number for each (item, use), `item` below 2^32. Uses: even for shuffles of images, odd for all else.
class EpochDraws {
 public:
  EpochDraws(uint64_t seed, int64_t epoch) : seed_(seed), epoch_(static_cast<uint64_t>(epoch) << 32) {}

  CounterRng rng(uint64_t item, uint64_t use) const { return {seed_, epoch_ | item, lane(Lane::kSampler, use), Purpose::kEval}; }

  /// A random order: sorted by the draw of each place, so that a list of any length needs one number per place.
  template <class Item>
  std::vector<Item> shuffled(const std::vector<Item>& items, uint64_t use) const {
    std::vector<std::pair<uint64_t, size_t>> keys;
    for (size_t i = 0; i < items.size(); ++i) keys.emplace_back(rng(static_cast<uint64_t>(items[i]), use).next_u64(), i);
    std::sort(keys.begin(), keys.end());
    std::vector<Item> out;
    for (const auto& [key, i] : keys) out.push_back(items[i]);
    return out;
  }

 private:
  uint64_t seed_, epoch_;
};

std::vector<uint64_t> balanced(const std::vector<std::vector<uint64_t>>& members, size_t total, const EpochDraws& draws) {
  std::vector<size_t> present;
  for (size_t c = 0; c < members.size(); ++c)
    if (!members[c].empty()) present.push_back(c);
  std::vector<std::vector<uint64_t>> pile(members.size());  // dealt from the back
  std::vector<uint64_t> piles(members.size());              // how many a class has used up
  std::vector<uint64_t> order;
  for (uint64_t pass = 0; order.size() < total; ++pass)
    for (const size_t c : draws.shuffled(present, 2 * pass + 1)) {
      if (order.size() == total) break;
      if (pile[c].empty()) pile[c] = draws.shuffled(members[c], 2 * piles[c]++);
      order.push_back(pile[c].back());
      pile[c].pop_back();
    }
  return order;
}

std::vector<uint64_t> repeated(std::span<const int32_t> labels, const std::vector<std::vector<uint64_t>>& members, double threshold,
                               const EpochDraws& draws) {
  std::vector<uint64_t> images, places;
  for (uint64_t row = 0; row < labels.size(); ++row) {
    const double share = static_cast<double>(members[labels[row]].size()) / static_cast<double>(labels.size());
    const double factor = std::max(1.0, std::sqrt(threshold / share)), whole = std::floor(factor);
    const auto times = static_cast<size_t>(whole) + (draws.rng(row, 1).uniform() < factor - whole ? 1 : 0);
    images.insert(images.end(), times, row);
  }
  places.resize(images.size());
  std::iota(places.begin(), places.end(), uint64_t{0});
  places = draws.shuffled(places, 0);
  for (uint64_t& place : places) place = images[place];
  return places;
}

}  // namespace

std::vector<uint64_t> draw_epoch(SamplerKind kind, std::span<const int32_t> labels, int classes, uint64_t seed, int64_t epoch,
                                 double threshold) {
  if (labels.empty()) fail("sampler", "labelled images", "none", "Give the training part some");
  if (!(threshold >= 0 && threshold <= 1))
    fail("sampler", "a threshold from 0 to 1, a share of the images", fmt::format("{}", threshold), "Correct it");
  std::vector<std::vector<uint64_t>> members(classes);
  std::vector<uint64_t> all;
  for (uint64_t row = 0; row < labels.size(); ++row) {
    if (labels[row] < 0 || labels[row] >= classes)
      fail("sampler", fmt::format("labels from 0 to {}", classes - 1), fmt::format("{}", labels[row]), "Leave images without a label out");
    members[labels[row]].push_back(row);
    all.push_back(row);
  }
  const EpochDraws draws(seed, epoch);
  switch (kind) {
    case SamplerKind::kUniform:
      return draws.shuffled(all, 0);
    case SamplerKind::kClassBalanced:
      return balanced(members, labels.size(), draws);
    case SamplerKind::kRepeatFactor:
      return repeated(labels, members, threshold == 0 ? 1.0 / classes : threshold, draws);
  }
  fail("sampler", "a known kind", fmt::format("{}", static_cast<int>(kind)), "This is a defect of the caller");
}

}  // namespace dinoxx::eval
