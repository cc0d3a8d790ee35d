#include "pack_splits.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <tuple>
#include <unordered_map>

#include "base/rng.hpp"
#include "base/sets/disjoint_sets.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx::detail {
namespace {

constexpr std::array<Split, 3> kSplits = {Split::kTrain, Split::kVal, Split::kTest};

/// Images that must stay on one side.
struct Unit {
  std::vector<uint64_t> items;  ///< in the plan's order
  uint64_t draw = 0;
  bool fixed = false;  ///< a member's split is the input's
};

std::vector<Unit> units_of(const PackPlan& plan, const std::vector<ContentId>& contents, uint64_t seed) {
  DisjointSets joined(plan.items.size());
  std::unordered_map<uint64_t, uint64_t> of_group;
  std::map<ContentId, uint64_t> of_content;
  const auto readable = [&](uint64_t i) { return contents[i] != ContentId{}; };
  for (uint64_t i = 0; i < plan.items.size(); ++i) {
    if (!readable(i)) continue;
    if (const auto& group = plan.items[i].group) joined.join(i, of_group.try_emplace(*group, i).first->second);
    joined.join(i, of_content.try_emplace(contents[i], i).first->second);
  }
  std::vector<Unit> units;
  std::unordered_map<uint64_t, size_t> place;
  for (uint64_t i = 0; i < plan.items.size(); ++i) {
    if (!readable(i)) continue;
    const auto [at, fresh] = place.try_emplace(joined.find(i), units.size());
    if (fresh) units.push_back({{}, CounterRng(seed, i, 0, Purpose::kSplit).next_u64(), false});
    Unit& unit = units[at->second];
    unit.items.push_back(i);
    unit.fixed = unit.fixed || plan.items[i].split != Split::kTrain || plan.items[i].split_is_known;
  }
  std::stable_sort(units.begin(), units.end(), [](const Unit& a, const Unit& b) { return a.draw < b.draw; });
  return units;
}

/// What the splits should have of each class, and have.
class Shares {
 public:
  Shares(const PackPlan& plan, const std::vector<Unit>& units, double val, double test) : plan_(plan) {
    for (const Unit& unit : units) {
      for (const uint64_t i : unit.items)
        if (plan.items[i].split == Split::kTrain) ++of(i).images;
    }
    for (auto& [label, share] : classes_) {
      share.wanted[1] = std::round(val * share.images);
      share.wanted[2] = std::round(test * share.images);
      share.wanted[0] = share.images - share.wanted[1] - share.wanted[2];
    }
  }
  /// How much farther from what is wanted (squared, in shares of each class) the split is with the unit than without it.
  double harm(const Unit& unit, Split split) {
    const auto s = static_cast<size_t>(split);
    std::map<int32_t, double> counts;
    for (const uint64_t i : unit.items) ++counts[plan_.items[i].stratum];
    double sum = 0;
    for (const auto& [label, count] : counts) {
      const Share& share = classes_.at(label);
      sum += count * (2 * (share.has[s] - share.wanted[s]) + count) / (share.images * share.images);
    }
    return sum;
  }
  bool wants(uint64_t item, Split split) {
    const Share& share = of(item);
    return share.has[static_cast<size_t>(split)] + 0.5 < share.wanted[static_cast<size_t>(split)];
  }
  void add(const Unit& unit, Split split) {
    for (const uint64_t i : unit.items) ++of(i).has[static_cast<size_t>(split)];
  }

 private:
  struct Share {
    double images = 0;
    std::array<double, 3> wanted{}, has{};  ///< images per Split
  };
  Share& of(uint64_t item) { return classes_[plan_.items[item].stratum]; }
  const PackPlan& plan_;
  std::map<int32_t, Share> classes_;
};

/// A share that is wanted but got nothing, because all units are larger: it gets the smallest unit of train.
void fill_empty(const std::vector<Unit>& units, std::vector<Split>& split_of, Split split) {
  if (std::find(split_of.begin(), split_of.end(), split) != split_of.end()) return;
  const size_t none = units.size();
  size_t smallest = none, in_train = 0;
  for (size_t u = 0; u < units.size(); ++u) {
    if (units[u].fixed || split_of[u] != Split::kTrain) continue;
    ++in_train;
    if (smallest == none || units[u].items.size() < units[smallest].items.size()) smallest = u;
  }
  if (in_train > 1) split_of[smallest] = split;
}

/// Groups are kept whole, so a share may be far from what was asked for.
void warn_of_shares(PackPlan& plan, double val, double test, bool units) {
  double all = 0, of_val = 0, of_test = 0;
  for (const PackItem& item : plan.items) {
    of_val += val > 0 && item.split == Split::kVal ? 1 : 0;
    of_test += test > 0 && item.split == Split::kTest ? 1 : 0;
    all += item.split == Split::kTrain || (val > 0 && item.split == Split::kVal) || (test > 0 && item.split == Split::kTest) ? 1 : 0;
  }
  for (const auto& [name, asked, has] : {std::tuple{"val", val, of_val}, std::tuple{"test", test, of_test}}) {
    const bool empty = asked > 0 && has == 0;
    if (!empty && std::abs(has - asked * all) <= std::max(2.0, 0.25 * asked * all)) continue;
    plan.warnings.push_back(
        fmt::format("{} has {:.2g} % of the images where {:.2g} % were asked for: {}", name, 100 * has / all, 100 * asked,
                    units ? "whole groups, and copies of a picture, stay on one side"
                          : "each class gives whole images, as many as its share comes to when rounded; a larger share is needed"));
  }
}

}  // namespace

void check_hold_out(const PackPlan& plan, double val, double test) {
  if (val == 0 && test == 0) return;
  if (!(val >= 0 && test >= 0 && val + test < 1)) {
    fail_usage("--val-fraction and --test-fraction", "shares that leave something to train on", fmt::format("{} and {}", val, test),
               "Try 0.1 and 0.1");
  }
  const auto has = [&](Split split) {
    return std::any_of(plan.items.begin(), plan.items.end(),
                       [&](const PackItem& item) { return item.split == split && !item.split_is_known; });
  };
  for (const auto& [option, share, split] :
       {std::tuple{"--val-fraction", val, Split::kVal}, std::tuple{"--test-fraction", test, Split::kTest}}) {
    if (share > 0 && has(split)) {
      fail_usage(option, fmt::format("input without a {} split of its own", split_name(split)), "one in the input",
                 "Leave this option out");
    }
  }
  if (plan.has_splits && !has(Split::kTrain))
    fail_usage("--val-fraction, --test-fraction", "a train split to hold out of", "none in the input", "Leave these options out");
}

void hold_out(PackPlan& plan, const std::vector<ContentId>& contents, double val, double test, uint64_t seed) {
  const std::vector<Unit> units = units_of(plan, contents, seed);
  Shares shares(plan, units, val, test);
  std::vector<Split> split_of(units.size(), Split::kTrain);
  for (size_t u = 0; u < units.size(); ++u) {  // groups first: single images then fill what is left of the shares
    if (units[u].fixed || units[u].items.size() == 1) continue;
    for (const Split split : kSplits) {
      if ((split == Split::kVal && val == 0) || (split == Split::kTest && test == 0)) continue;
      if (shares.harm(units[u], split) < shares.harm(units[u], split_of[u]) - 1e-12) split_of[u] = split;
    }
    shares.add(units[u], split_of[u]);
  }
  for (size_t u = 0; u < units.size(); ++u) {
    if (units[u].fixed || units[u].items.size() > 1) continue;
    for (const Split split : {Split::kVal, Split::kTest}) {
      if (split_of[u] == Split::kTrain && shares.wants(units[u].items[0], split)) split_of[u] = split;
    }
    shares.add(units[u], split_of[u]);
  }
  const bool has_groups = std::any_of(units.begin(), units.end(), [](const Unit& unit) { return unit.items.size() > 1; });
  if (has_groups && val > 0) fill_empty(units, split_of, Split::kVal);
  if (has_groups && test > 0) fill_empty(units, split_of, Split::kTest);
  for (size_t u = 0; u < units.size(); ++u) {
    if (units[u].fixed) continue;
    for (const uint64_t i : units[u].items) plan.items[i].split = split_of[u];
  }
  warn_of_shares(plan, val, test, has_groups);
}

void cut_long_tail(PackPlan& plan, double ratio) {
  if (ratio == 0) return;
  if (plan.draw) fail_usage("--long-tail", "images from files", "a drawn set", "Use --imbalance");
  if (!plan.columns.empty() && !plan.columns.front().list.empty())
    fail_usage("--long-tail", "one label an image", "lists of labels", "Thin out the list itself.");
  std::map<int32_t, uint64_t> count;
  for (const PackItem& item : plan.items)
    if (item.split == Split::kTrain && !item.labels.empty() && item.labels[0] >= 0) ++count[item.labels[0]];
  if (!(ratio >= 1) || count.size() < 2) {
    fail_usage("--long-tail", "a ratio of 1 or more and training images of two classes or more",
               fmt::format("{:g} and {} classes", ratio, count.size()), "100 is usual");
  }
  uint64_t most = 0;
  for (const auto& [label, n] : count) most = std::max(most, n);
  std::map<int32_t, uint64_t> left;
  double place = 0;
  for (const auto& [label, n] : count) {
    const double share = std::pow(ratio, -place++ / static_cast<double>(count.size() - 1));
    left[label] = std::max<uint64_t>(1, static_cast<uint64_t>(static_cast<double>(most) * share + 1e-9));
  }
  std::erase_if(plan.items, [&](const PackItem& item) {
    if (item.split != Split::kTrain || item.labels.empty() || item.labels[0] < 0) return false;
    uint64_t& rest = left[item.labels[0]];
    if (rest == 0) return true;
    --rest;
    return false;
  });
}

}  // namespace dinoxx::detail
