#include "choose.hpp"

#include <algorithm>
#include <iterator>
#include <numeric>

#include "dinoxx/base/error.hpp"
#include "train/training_config.hpp"

namespace dinoxx::plan {
namespace {

constexpr double kEqual = 1.01;  // times that differ by less are equal: the simpler policy is taken
// Of zero3, whose gathers are taken to hide behind the backward pass: that each block waits for one is not in the time.
constexpr double kEqualInBlocks = 1.05;

int place(Policy policy) {
  return static_cast<int>(policy);
}
int place(const Recompute& recompute) {
  return recompute.part == "none" ? 0 : recompute.part == "attention" ? 1 : 2;
}

double seconds_per_image(const Model& model, const Request& request) {
  if (request.images_per_core) return 1 / *request.images_per_core;
  return load_seconds(model, request.image_bytes.value_or(assumed_image_bytes(model)));
}

// UsageError where a rank would have no part of a head's prototypes.
void check_columns(const Model& model, const Spread& spread) {
  if (!model.by_columns || !spread.shares_prototypes()) return;
  for (const Segment& segment : model.by_columns->segments)
    if (segment.last_layer) dinoxx::check_columns(segment.shape.front(), static_cast<int>(spread.shards()), segment.name);
}

}  // namespace

double Estimate::images_per_second() const {
  return static_cast<double>(spread.batch * spread.ranks.size()) / time.total();
}

Estimate estimate(const Model& model, const Request& request, const Spread& spread) {
  Estimate e;
  e.spread = spread;
  e.memory = memory_of(model, spread, mean_work(model, spread.at_once(), spread.recompute, spread.prototypes.rows_at_once));
  e.fits = e.memory.total() <= request.gpu.memory;
  const double cores = static_cast<double>(request.cores_per_node) / static_cast<double>(spread.ranks.per_node);
  e.time = step_time(model, spread, request.gpu, {request.mfu, seconds_per_image(model, request), cores});
  try {
    check_batch(model.spec, spread.at_once(), static_cast<int>(spread.ranks.size()));
    check_columns(model, spread);
  } catch (const UsageError& error) {
    e.refused = error.what();
    while (e.refused.ends_with('.')) e.refused.pop_back();
  }
  return e;
}

namespace {

// With these prototypes. Where they are shared and the configuration does not say so, of the policies those that can.
std::vector<Estimate> ways_with(const Model& model, const Request& request, const RankGroup& ranks, int64_t batch,
                                const Prototypes& prototypes) {
  std::vector<Policy> policies{Policy::kDdp};
  if (ranks.size() > 1) policies = {Policy::kDdp, Policy::kZero1, Policy::kZero2};
  if (request.policy) policies = {*request.policy};
  std::vector<Recompute> recomputes{model.recompute()};
  for (const char* part : {"none", "attention", "block"})
    if (const Recompute other{part}; model.vit() && other.part != model.recompute().part) recomputes.push_back(other);
  std::vector<Estimate> all;
  if (ranks.size() > 1 && model.vit() && !request.policy) policies.push_back(Policy::kZero3);
  for (const Recompute& recompute : recomputes)
    for (const Policy policy : policies) {
      std::vector<bool> in_node{request.shard_in_node.value_or(false)};
      if (policy != Policy::kDdp && !request.shard_in_node && ranks.nodes > 1 && ranks.per_node > 1) in_node.push_back(true);
      for (const bool within : in_node) {
        Spread spread{ranks, batch, policy, recompute, within, model.config.train->accumulate, prototypes};
        if (policy != Policy::kDdp && spread.shards() == 1) {  // who shares with nobody has all
          if (policies.front() != policy) continue;
          spread.policy = Policy::kDdp;
        }
        const bool proposed = prototypes.shared && !model.prototypes().shared;
        if (proposed && !spread.shares_prototypes()) continue;
        try {
          if (proposed) check_columns(model, spread);
        } catch (const UsageError&) {
          continue;
        }
        all.push_back(estimate(model, request, spread));
      }
    }
  return all;
}

// Rows of logits at once, fewer and fewer: a number below these makes products that do not fill a GPU. Then, where there are several
// ranks, a part of the prototypes on each.
std::vector<Prototypes> smaller_prototypes(const Model& model) {
  std::vector<Prototypes> all;
  // without a teacher the loss takes the logits of all rows
  if (!has_prototypes(model.spec) || model.spec.teacher == TeacherPolicy::kNone) return all;
  Prototypes last = model.prototypes();
  for (const int64_t rows : {4096, 1024, 256}) {
    if (last.rows_at_once > 0 && rows >= last.rows_at_once) continue;
    last.rows_at_once = rows;
    all.push_back(last);
  }
  if (!last.shared) all.push_back({last.rows_at_once, true});
  return all;
}

}  // namespace

std::vector<Estimate> ways(const Model& model, const Request& request, const RankGroup& ranks, int64_t batch) {
  const auto one_fits = [](const std::vector<Estimate>& ways) {
    return std::any_of(ways.begin(), ways.end(), [](const Estimate& way) { return way.fits; });
  };
  std::vector<Estimate> all = ways_with(model, request, ranks, batch, model.prototypes()), more;
  if (one_fits(all)) return all;
  for (const Prototypes& prototypes : smaller_prototypes(model)) {
    std::vector<Estimate> with = ways_with(model, request, ranks, batch, prototypes);
    if (!with.empty()) more = std::move(with);
    if (one_fits(more)) break;
  }
  all.insert(all.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  return all;
}

size_t best_of(const std::vector<Estimate>& ways) {
  size_t best = 0;
  const auto better = [](const Estimate& a, const Estimate& b) {
    if (a.fits != b.fits) return a.fits;
    if (!a.fits) return a.memory.total() < b.memory.total();
    const bool in_blocks = (a.spread.policy == Policy::kZero3) != (b.spread.policy == Policy::kZero3);
    const double equal = in_blocks ? kEqualInBlocks : kEqual;
    const auto faster = [&](bool simpler) {
      return simpler ? a.time.total() <= equal * b.time.total() : equal * a.time.total() < b.time.total();
    };
    const int again_a = place(a.spread.recompute), again_b = place(b.spread.recompute);
    if (again_a != again_b) return faster(again_a < again_b);
    if (a.spread.policy != b.spread.policy) return faster(place(a.spread.policy) < place(b.spread.policy));
    return a.time.total() < b.time.total();
  };
  for (size_t i = 1; i < ways.size(); ++i)
    if (better(ways[i], ways[best])) best = i;
  return best;
}

int64_t group_of(const Model& model) {
  int64_t group = 1;
  const auto add = [&](int64_t of) {
    if (of > 0) group = std::lcm(group, of);
  };
  if (model.spec.masks) add(model.spec.masks->spec.group_size);
  if (model.vit() && model.vit()->drop_path > 0 && model.vit()->drop_path_form != "mask") add(model.vit()->drop_path_group);
  return group;
}

int64_t largest_batch(const Model& model, const Request& request, const Spread& spread, int64_t most) {
  const int64_t group = group_of(model);
  const auto fits = [&](int64_t groups) {
    const Work work = mean_work(model, groups * group, spread.recompute, spread.prototypes.rows_at_once);
    return memory_of(model, spread, work).total() <= request.gpu.memory;
  };
  int64_t low = 0, high = std::max<int64_t>(most / group, 1);  // `low` groups fit, more than `high` are not asked for
  if (fits(high)) return high * group;
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    (fits(middle) ? low : high) = middle;
  }
  return low * group;
}

RankGroup ranks_of(int64_t gpus, int64_t per_node) {
  if (gpus <= per_node) return {1, gpus};
  return {gpus / per_node, per_node};
}

}  // namespace dinoxx::plan
