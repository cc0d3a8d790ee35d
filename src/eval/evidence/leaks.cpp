#include "leaks.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <span>

#include "base/csv.hpp"
#include "eval/classify/units.hpp"
#include "eval/features/lanes.hpp"
#include "eval/features/perceptual_hash.hpp"
#include "eval/features/sample_rows.hpp"
#include "eval/run/checks.hpp"
#include "eval/statistics/resampling.hpp"

namespace dinoxx::eval {
namespace {

using nlohmann::json;
using ContentId = std::array<uint64_t, 2>;

constexpr const char *kIdentical = "identical pixels", *kSameGroup = "same group", *kCopy = "near copy", *kMirrored = "near copy, mirrored";
// Median cosine of the nearest images that are no copies from which hashes do not tell the images of a set apart: an ordinary pair is then
// less than three times as far (in squared distance) as a near copy may be.
constexpr double kAlike = 0.85;
// With fewer ordinary images than this, their median says nothing and that of chance pairs is taken.
constexpr size_t kOrdinary = 10;
constexpr double kAlikeByChance = 0.5;
constexpr size_t kExamples = 20, kListed = 1000;  // pairs in results.json

// One part of the evaluation.
struct Images {
  const std::vector<uint64_t>& ids;
  const at::Tensor& hashes;
  std::string name;
};

// For each image of `asked`, why `known` has it; an empty kind: it has not.
std::vector<Leak> by_record(const Dataset& dataset, const Images& asked, const Images& known) {
  std::map<ContentId, uint64_t> pictures;
  std::map<uint64_t, uint64_t> groups;
  for (const uint64_t id : known.ids) {
    if (const ContentId content = dataset.content_id(id); content != ContentId{}) pictures.try_emplace(content, id);
    if (const auto group = group_of(dataset, id)) groups.try_emplace(*group, id);
  }
  std::vector<Leak> found;
  for (const uint64_t id : asked.ids) {
    Leak leak{id, 0, asked.name, known.name, "", {}};
    const auto group = group_of(dataset, id);
    if (const auto same = pictures.find(dataset.content_id(id)); same != pictures.end()) {
      leak.kind = kIdentical;
      leak.other = same->second;
    } else if (const auto of_group = group ? groups.find(*group) : groups.end(); of_group != groups.end()) {
      leak.kind = kSameGroup;
      leak.other = of_group->second;
    }
    found.push_back(std::move(leak));
  }
  return found;
}

// Median cosine of images that are drawn, each with its successor: what chance gives.
double chance_cosine(const at::Tensor& hashes) {
  if (hashes.size(0) < 2) return 0;
  const at::Tensor cosines = (hashes * at::roll(hashes, {hashes.size(0) / 2}, {0})).sum(1).contiguous();
  std::vector<double> sorted;
  for (int64_t i = 0; i < cosines.size(0); ++i) sorted.push_back(cosines.const_data_ptr<float>()[i]);
  std::sort(sorted.begin(), sorted.end());
  return quantile(sorted, 0.5);
}

// Adds near copies to the leaks of `asked` that no record explains.
json near_copies(const Dataset& dataset, const Images& asked, const Images& known, std::vector<Leak>& leaks, uint64_t seed, int threads,
                 Communicator& comm) {
  const at::Tensor others = hash_of_window(known.hashes, kMiddle);
  const std::vector<int64_t> looked_at = rows_within_limit(asked.ids, (1 + kHashWindows) * others.numel(), seed);
  const at::Tensor hashes = asked.hashes.index_select(0, at::tensor(looked_at, at::kLong));
  const at::Tensor straight = nearest_images(hash_of_window(hashes, kMiddle), others, threads, comm);
  std::vector<at::Tensor> mirrored;
  for (int64_t window = 0; window < kHashWindows; ++window)
    mirrored.push_back(nearest_images(mirrored_hashes(hash_of_window(hashes, window)), others, threads, comm));
  std::vector<std::pair<double, size_t>> order;  // falling cosine
  std::vector<double> ordinary;
  std::vector<Leak> found;
  for (size_t i = 0; i < looked_at.size(); ++i) {
    const double* best = straight.const_data_ptr<double>() + 2 * i;
    bool better_mirrored = false;
    for (const at::Tensor& of_window : mirrored) {
      const double* turned = of_window.const_data_ptr<double>() + 2 * i;
      better_mirrored |= turned[0] > best[0];
      if (turned[0] > best[0]) best = turned;
    }
    Leak leak = leaks[static_cast<size_t>(looked_at[i])];
    leak.kind = better_mirrored ? kMirrored : kCopy;
    leak.other = known.ids[static_cast<size_t>(best[1])];
    leak.cosine = best[0];
    if (best[0] < kNearCopy) ordinary.push_back(best[0]);
    found.push_back(std::move(leak));
    order.emplace_back(-best[0], i);
  }
  std::sort(order.begin(), order.end());
  std::sort(ordinary.begin(), ordinary.end());
  const bool enough = ordinary.size() >= kOrdinary;
  const double usual = enough ? quantile(ordinary, 0.5) : chance_cosine(others);
  const bool alike = usual >= (enough ? kAlike : kAlikeByChance);
  json record = {{"looked_at", looked_at.size()},
                 {"cosine", kNearCopy},
                 {"images", looked_at.size() - ordinary.size()},
                 {"usual_cosine", usual},
                 {"tells_apart", !alike},
                 {"usual", enough ? "median of images without a near copy" : "median of pairs by chance"},
                 {"examples", json::array()}};
  for (const auto& [negative, i] : order) {
    if (-negative < kNearCopy) break;
    Leak& own = leaks[static_cast<size_t>(looked_at[i])];
    if (record["examples"].size() < kExamples)
      record["examples"].push_back({{"image", dataset.key(own.image)},
                                    {"memory", dataset.key(found[i].other)},
                                    {"cosine", -negative},
                                    {"mirrored", found[i].kind == kMirrored},
                                    {"same_label", dataset.meta(own.image).label == dataset.meta(found[i].other).label}});
    if (own.kind.empty() && !alike) own = std::move(found[i]);
  }
  return record;
}

int64_t count_of(const std::vector<Leak>& leaks, const std::string& kind) {
  return std::count_if(leaks.begin(), leaks.end(), [&](const Leak& leak) { return leak.kind.starts_with(kind); });
}

}  // namespace

Leaks find_leaks(const Dataset& dataset, const EvalData& data, const SplitFeatures& hashes, uint64_t seed, int threads, Communicator& comm,
                 json& checks) {
  Leaks leaks;
  const std::string queries_name = data.query_source == "val" || data.query_source == "test" ? data.query_source : "held out of train";
  const Images memory{data.memory, hashes.memory, "train"}, queries{data.queries, hashes.queries, queries_name},
      validation{data.validation, hashes.validation, "val"};
  const auto look = [&](const Images& asked, const Images& known, const std::string& key, const std::string& consequence) {
    std::vector<Leak> found = by_record(dataset, asked, known);
    json& record = checks["near_copies" + key] = near_copies(dataset, asked, known, found, seed, threads, comm);
    const int64_t copies = count_of(found, kCopy);
    if (copies > 0)
      checks["warnings"].push_back(
          fmt::format("{} of {} images of {} are near copies of images of {} (encoded again, resized or mirrored): {}", copies,
                      asked.ids.size(), asked.name, known.name, consequence));
    if (record["tells_apart"] == false && record["images"] > 0)
      record["notes"].push_back(fmt::format(
          "{} of {} images of {} look like an image of {}, but so do images of this set that are no copies (cosine of the hashes {:.2f}): "
          "they are not counted as leaks",
          record["images"].get<int64_t>(), record["looked_at"].get<int64_t>(), asked.name, known.name,
          record["usual_cosine"].get<double>()));
    return found;
  };
  const auto keep = [&](const std::vector<Leak>& found) {
    std::copy_if(found.begin(), found.end(), std::back_inserter(leaks.list), [](const Leak& leak) { return !leak.kind.empty(); });
  };
  const std::vector<Leak> of_queries = look(queries, memory, "", "scores on them measure memorisation, not recognition");
  for (const Leak& leak : of_queries) leaks.queries.push_back(!leak.kind.empty());
  keep(of_queries);
  if (hashes.validation.defined() && !data.validation.empty()) {
    keep(look(validation, memory, "_validation", "settings are chosen on images that were learned from"));
    keep(look(queries, validation, "_validation_queries", "settings were chosen on images that they are scored on"));
  }
  const int64_t leaked = std::count(leaks.queries.begin(), leaks.queries.end(), true);
  checks["leaks"] = {{"queries", leaked},
                     {"of", data.queries.size()},
                     {"kinds",
                      {{"identical", count_of(of_queries, kIdentical)},
                       {"near_copy", count_of(of_queries, kCopy)},
                       {"same_group", count_of(of_queries, kSameGroup)}}},
                     {"all", leaks.list.size()},
                     {"list", json::array()}};
  for (size_t i = 0; i < std::min(leaks.list.size(), kListed); ++i) {
    const Leak& leak = leaks.list[i];
    checks["leaks"]["list"].push_back({{"image", dataset.key(leak.image)},
                                       {"split", leak.part},
                                       {"kind", leak.kind},
                                       {"cosine", leak.cosine ? json(*leak.cosine) : json(nullptr)},
                                       {"other_image", dataset.key(leak.other)},
                                       {"other_split", leak.other_part}});
  }
  return leaks;
}

std::string leaks_csv(const Dataset& dataset, const Leaks& leaks) {
  const auto label = [&](uint64_t id) {
    const int32_t own = dataset.meta(id).label;
    return own < 0 ? std::string() : class_name(dataset, own);
  };
  std::string text = "image,split,label,kind,cosine,other_image,other_split,other_label\n";
  for (const Leak& leak : leaks.list) {
    const std::string fields[] = {
        dataset.key(leak.image), leak.part,       label(leak.image), leak.kind, leak.cosine ? fmt::format("{:.4f}", *leak.cosine) : "",
        dataset.key(leak.other), leak.other_part, label(leak.other)};
    text += csv_row(fields);
  }
  return text;
}

}  // namespace dinoxx::eval
