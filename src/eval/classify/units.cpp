#include "units.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>

#include "base/sets/disjoint_sets.hpp"
#include "base/rng.hpp"

namespace dinoxx::eval {
namespace {

using ContentId = std::array<uint64_t, 2>;

// What is held out or stays as a whole.
struct Unit {
  uint64_t draw = 0;
  std::vector<size_t> rows;
  std::map<int32_t, double> images;  // by class
};

std::vector<Unit> drawn_units(std::span<const uint64_t> ids, std::span<const int32_t> labels, std::span<const uint64_t> units,
                              uint64_t seed) {
  std::vector<Unit> drawn;
  std::map<uint64_t, size_t> place_of;
  for (size_t row = 0; row < ids.size(); ++row) {
    const uint64_t unit = units.empty() ? 0 : units[row];
    const auto [at, fresh] = unit == 0 ? std::pair(place_of.end(), true) : place_of.try_emplace(unit, drawn.size());
    if (fresh) drawn.push_back({CounterRng(seed, ids[row], 0, Purpose::kSplit).next_u64(), {}, {}});
    Unit& own = fresh ? drawn.back() : drawn[at->second];
    own.rows.push_back(row);
    ++own.images[labels[row]];
  }
  std::sort(drawn.begin(), drawn.end(),
            [](const Unit& a, const Unit& b) { return a.draw != b.draw ? a.draw < b.draw : a.rows.front() < b.rows.front(); });
  return drawn;
}

}  // namespace

std::optional<uint64_t> group_of(const Dataset& dataset, uint64_t id) {
  return dataset.meta(id).group;
}

std::vector<uint64_t> units_of(const Dataset& dataset, std::span<const uint64_t> ids) {
  DisjointSets joined(ids.size());
  std::map<uint64_t, size_t> of_group;
  std::map<ContentId, size_t> of_content;
  for (size_t row = 0; row < ids.size(); ++row) {
    if (const std::optional<uint64_t> group = group_of(dataset, ids[row]))
      joined.join(row, of_group.try_emplace(*group, row).first->second);
    if (const ContentId content = dataset.content_id(ids[row]); content != ContentId{})
      joined.join(row, of_content.try_emplace(content, row).first->second);
  }
  std::vector<size_t> members(ids.size());
  for (size_t row = 0; row < ids.size(); ++row) ++members[joined.find(row)];
  std::vector<uint64_t> units(ids.size());
  for (size_t row = 0; row < ids.size(); ++row)
    if (const size_t first = joined.find(row); members[first] > 1) units[row] = first + 1;
  return units;
}

std::vector<uint64_t> groups_of(const Dataset& dataset, std::span<const uint64_t> ids) {
  std::map<uint64_t, uint64_t> number_of;
  std::vector<uint64_t> groups(ids.size());
  for (size_t row = 0; row < ids.size(); ++row)
    if (const std::optional<uint64_t> group = group_of(dataset, ids[row]))
      groups[row] = number_of.try_emplace(*group, number_of.size() + 1).first->second;
  return groups;
}

std::vector<bool> first_copies(const Dataset& dataset, std::span<const uint64_t> ids) {
  std::set<ContentId> seen;
  std::vector<bool> first;
  for (const uint64_t id : ids) {
    const ContentId content = dataset.content_id(id);
    first.push_back(content == ContentId{} || seen.insert(content).second);
  }
  return first;
}

std::vector<size_t> held_out_rows(std::span<const uint64_t> ids, std::span<const int32_t> labels, std::span<const uint64_t> units,
                                  double share, uint64_t seed) {
  const std::vector<Unit> drawn = drawn_units(ids, labels, units, seed);
  struct OfClass {
    double images = 0, target = 0, held = 0;
    int64_t units_left = 0;  // that are not held out
  };
  std::map<int32_t, OfClass> classes;
  for (const Unit& unit : drawn) {
    for (const auto& [label, images] : unit.images) {
      classes[label].images += images;
      ++classes[label].units_left;
    }
  }
  for (auto& [label, of] : classes) of.target = std::clamp(std::round(share * of.images), 1.0, std::max(1.0, of.images - 1));
  std::vector<bool> held(drawn.size());
  const auto may_go = [&](const Unit& unit) {
    return std::all_of(unit.images.begin(), unit.images.end(), [&](const auto& own) { return classes[own.first].units_left > 1; });
  };
  const auto hold = [&](size_t place) {
    held[place] = true;
    for (const auto& [label, images] : drawn[place].images) {
      classes[label].held += images;
      --classes[label].units_left;
    }
  };
  // whatever brings the classes nearer to their shares
  for (size_t place = 0; place < drawn.size(); ++place) {
    double nearer = 0;
    for (const auto& [label, images] : drawn[place].images) {
      const OfClass& of = classes[label];
      nearer += (std::abs(of.target - of.held) - std::abs(of.target - of.held - images)) / of.images;
    }
    if (nearer > 0 && may_go(drawn[place])) hold(place);
  }
  // classes whose units are all larger than twice the share: the smallest of them
  for (const auto& [label, of] : classes) {
    if (of.held > 0) continue;
    std::optional<size_t> smallest;
    for (size_t place = 0; place < drawn.size(); ++place) {
      if (!drawn[place].images.contains(label) || !may_go(drawn[place])) continue;
      if (!smallest || drawn[place].rows.size() < drawn[*smallest].rows.size()) smallest = place;
    }
    if (smallest) hold(*smallest);
  }
  std::vector<size_t> rows;
  for (size_t place = 0; place < drawn.size(); ++place)
    if (held[place]) rows.insert(rows.end(), drawn[place].rows.begin(), drawn[place].rows.end());
  std::sort(rows.begin(), rows.end());
  return rows;
}

}  // namespace dinoxx::eval
