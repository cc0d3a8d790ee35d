#include "folds.hpp"

#include <algorithm>
#include <map>

#include "base/rng.hpp"
#include "eval/features/lanes.hpp"

namespace dinoxx::eval {

std::vector<int> stratified_folds(std::span<const uint64_t> ids, std::span<const int32_t> labels, std::span<const uint64_t> groups,
                                  int classes, int folds, uint64_t seed, uint64_t repeat) {
  struct Unit {
    uint64_t draw = 0;
    std::vector<size_t> rows;
  };
  std::vector<Unit> units;
  std::map<uint64_t, size_t> unit_of;
  for (size_t row = 0; row < ids.size(); ++row) {
    const uint64_t group = groups.empty() ? 0 : groups[row];
    const auto [at, fresh] = unit_of.try_emplace(group, units.size());
    if (group != 0 && !fresh) {
      units[at->second].rows.push_back(row);
    } else {
      units.push_back({CounterRng(seed, ids[row], lane(Lane::kFolds, repeat), Purpose::kEval).next_u64(), {row}});
    }
  }
  std::vector<int64_t> units_of_class(classes);
  std::vector<double> images(classes);
  for (const Unit& unit : units) {
    std::vector<int32_t> seen;
    for (const size_t row : unit.rows) {
      ++images[labels[row]];
      if (std::find(seen.begin(), seen.end(), labels[row]) == seen.end()) seen.push_back(labels[row]);
    }
    for (const int32_t label : seen) ++units_of_class[label];
  }
  std::sort(units.begin(), units.end(), [](const Unit& a, const Unit& b) {
    if (a.rows.size() != b.rows.size()) return a.rows.size() > b.rows.size();
    return a.draw != b.draw ? a.draw < b.draw : a.rows.front() < b.rows.front();
  });
  std::vector<int> fold_of(ids.size(), -1);
  std::vector<std::vector<double>> share(folds, std::vector<double>(classes));  // of each class that a fold has
  std::vector<size_t> size(folds);
  for (const Unit& unit : units) {
    const bool only_one = std::any_of(unit.rows.begin(), unit.rows.end(), [&](size_t row) { return units_of_class[labels[row]] == 1; });
    if (only_one) continue;
    int best = 0;
    double least = 0;
    for (int f = 0; f < folds; ++f) {
      double there = 0;
      for (const size_t row : unit.rows) there += share[f][labels[row]];
      if (f == 0 || there < least - 1e-12 || (there < least + 1e-12 && size[f] < size[best])) {
        best = f;
        least = there;
      }
    }
    for (const size_t row : unit.rows) {
      fold_of[row] = best;
      share[best][labels[row]] += 1 / images[labels[row]];
    }
    size[best] += unit.rows.size();
  }
  return fold_of;
}

std::vector<int64_t> one_of_each_unit_first(const std::vector<int64_t>& rows, std::span<const uint64_t> units) {
  std::map<uint64_t, size_t> seen;
  std::vector<std::vector<int64_t>> rounds(1);  // the first image of each unit, the second, ...
  for (const int64_t row : rows) {
    const uint64_t unit = units.empty() ? 0 : units[static_cast<size_t>(row)];
    const size_t round = unit == 0 ? 0 : seen[unit]++;
    if (round == rounds.size()) rounds.emplace_back();
    rounds[round].push_back(row);
  }
  std::vector<int64_t> order;
  for (const std::vector<int64_t>& round : rounds) order.insert(order.end(), round.begin(), round.end());
  return order;
}

std::vector<int64_t> draw_shots(std::span<const uint64_t> ids, std::span<const int32_t> labels, int classes, int64_t shots, uint64_t seed,
                                uint64_t draw, const std::vector<bool>& eligible, std::span<const uint64_t> units) {
  std::vector<std::vector<std::pair<uint64_t, int64_t>>> members(classes);
  for (size_t row = 0; row < ids.size(); ++row) {
    if (!eligible.empty() && !eligible[row]) continue;
    members[labels[row]].emplace_back(CounterRng(seed, ids[row], lane(Lane::kShots, draw), Purpose::kEval).next_u64(),
                                      static_cast<int64_t>(row));
  }
  std::vector<int64_t> rows;
  for (auto& of_class : members) {
    std::sort(of_class.begin(), of_class.end());
    std::vector<int64_t> order;
    order.reserve(of_class.size());
    for (const auto& [drawn, row] : of_class) order.push_back(row);
    order = one_of_each_unit_first(order, units);
    order.resize(std::min(order.size(), static_cast<size_t>(shots)));
    rows.insert(rows.end(), order.begin(), order.end());
  }
  std::sort(rows.begin(), rows.end());
  return rows;
}

}  // namespace dinoxx::eval
