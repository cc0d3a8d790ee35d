#include "advice.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "choose.hpp"
#include "parallel/parallel_config.hpp"
#include "train/training_config.hpp"

namespace dinoxx::plan {
namespace {

std::string memory_words(const Plan& plan, const Estimate& e) {
  return fmt::format("{} of {}", gigabytes(e.memory.total()), gigabytes(plan.request.gpu.memory));
}

// Where nothing fits with the prototypes as configured.
void about_prototypes(const Plan& plan, std::vector<std::string>& said) {
  const Estimate& best = plan.best();
  const Prototypes configured = plan.model.prototypes();
  if (best.spread.prototypes.rows_at_once != configured.rows_at_once) {
    Spread before = best.spread;
    before.prototypes.rows_at_once = configured.rows_at_once;
    const double all = estimate(plan.model, plan.request, before).memory.of("prototypes");
    said.push_back(
        fmt::format("Set loss.rows_at_once = {}: {} for logits and the loss over them in the place of {}, with which nothing fits.",
                    best.spread.prototypes.rows_at_once, gigabytes(best.memory.of("prototypes")), gigabytes(all)));
  }
  if (best.spread.shares_prototypes() && !configured.shared)
    said.push_back(
        fmt::format("Set head.shard_prototypes = yes: with all {:.0f} million parameters of prototypes on each rank nothing fits. The loss "
                    "that this takes is slower than the plan says.",
                    static_cast<double>(plan.model.elements_of("prototypes")) / 1e6));
}

void why_chosen(const Plan& plan, std::vector<std::string>& said) {
  const Estimate &best = plan.best(), &first = plan.choices.front();
  if (plan.chosen == 0) {
    said.push_back(fmt::format("{} fits, {} a GPU{}.", way_name(best.spread), memory_words(plan, best),
                               plan.choices.size() > 1 ? "; nothing else that fits is faster by more than 1 %" : ""));
  } else if (!first.fits)
    said.push_back(fmt::format("{}: {} a GPU, where {} needs {}.", way_name(best.spread), memory_words(plan, best), way_name(first.spread),
                               gigabytes(first.memory.total())));
  else
    said.push_back(fmt::format("{}: {:.0f} ms a step, where {} takes {:.0f} ms.", way_name(best.spread), 1e3 * best.time.total(),
                               way_name(first.spread), 1e3 * first.time.total()));
  const Recompute &again = best.spread.recompute, &configured = first.spread.recompute;
  const bool more = again.part == "block" || configured.part == "none";
  if (again != configured && more) said.push_back(fmt::format("Set {}: with less nothing fits, or is slower.", recompute_keys(again)));
  const Spread& way = best.spread;
  const ParallelConfig& now = *plan.model.config.parallel;
  const std::string within = way.shard_in_node ? "node" : "all";
  if (way.ranks.size() == 1) {
    // one rank has all, whatever is set
  } else if (policy_name(way.policy) != now.sync || (way.policy != Policy::kDdp && within != now.shard_within))
    said.push_back(fmt::format("Set parallel.sync = {}{}.", policy_name(way.policy),
                               way.policy == Policy::kDdp ? "" : fmt::format(" and parallel.shard_within = {}", within)));
  if (again != configured && !more) said.push_back(fmt::format("Set {}: the memory is there.", recompute_keys(again)));
  about_prototypes(plan, said);
}

// The fewest parts of a step, doubling, for which some policy fits; the fastest of these.
Estimate enough_parts(const Plan& plan) {
  Estimate best;
  for (int64_t parts = 2 * plan.best().spread.parts; !best.fits && plan.best().spread.batch % parts == 0; parts *= 2)
    for (const Estimate& way : plan.choices) {
      Spread spread = way.spread;
      spread.parts = parts;
      const Estimate e = estimate(plan.model, plan.request, spread);
      if (e.fits && e.refused.empty() && (!best.fits || e.time.total() < best.time.total())) best = e;
    }
  return best;
}

void what_would_fit(const Plan& plan, std::vector<std::string>& said) {
  const Estimate& least = plan.best();
  const double memory = plan.request.gpu.memory;
  said.push_back(
      fmt::format("Nothing fits with {} images a GPU at once. {} needs least: {} a GPU, {} more than there is; {} of it is state, which no "
                  "batch changes.",
                  least.spread.at_once(), way_name(least.spread), gigabytes(least.memory.total()), gigabytes(least.memory.total() - memory),
                  gigabytes(state_bytes(plan.model, least.spread))));
  std::vector<std::string> would;
  if (const Estimate in_parts = enough_parts(plan); in_parts.fits)
    would.push_back(fmt::format("the same batch on these GPUs with train.accumulate = {} and {}{}", in_parts.spread.parts,
                                way_name(in_parts.spread),
                                plan.request.gpu.name.empty() ? "" : fmt::format(", {:.1f} s a step", in_parts.time.total())));
  int64_t most = 0;
  for (const Estimate& e : plan.choices) {
    const int64_t batch = largest_batch(plan.model, plan.request, e.spread, e.spread.at_once());
    if (batch <= most) continue;
    most = batch;
    would.push_back(fmt::format("{} images a GPU with {}, a batch of {}", batch, way_name(e.spread), batch * e.spread.ranks.size()));
  }
  for (const Row& row : plan.scaling) {
    if (row.gpus <= least.spread.ranks.size() || !row.estimate.fits) continue;
    would.push_back(fmt::format("the same batch on {} GPUs with {}, {} images each", row.gpus, way_name(row.estimate.spread),
                                row.estimate.spread.batch));
    break;
  }
  if (Request any = plan.request; any.policy || any.shard_in_node) {
    any.policy.reset(), any.shard_in_node.reset();
    const auto others = ways(plan.model, any, least.spread.ranks, least.spread.batch);
    if (const Estimate& best = others[best_of(others)]; best.fits)
      would.push_back(
          fmt::format("the same batch on these GPUs with {}, which the plan takes without --policy and --shards", way_name(best.spread)));
  }
  for (const std::string& name : gpu_names()) {
    const GpuFacts other = gpu_facts(name);
    if (other.memory > memory && least.memory.total() <= other.memory) would.push_back(fmt::format("the same on {}", name));
  }
  if (would.empty()) would.emplace_back("a GPU with more memory, or a smaller network: no number of these up to 4,096 is enough");
  for (const std::string& way : would) said.push_back("Would fit: " + way + ".");
}

void about_batch(const Plan& plan, std::vector<std::string>& said) {
  const Estimate& best = plan.best();
  const int64_t ranks = best.spread.ranks.size();
  if (plan.largest_batch > best.spread.at_once())
    said.push_back(fmt::format("Up to {} images a GPU fit at once; the batch of {} has {}. {}", plan.largest_batch,
                               best.spread.batch * ranks, best.spread.at_once(),
                               plan.largest_batch >= 2 * best.spread.at_once() && ranks > 1
                                   ? "Half as many GPUs would hold the same batch."
                                   : "A larger batch is another training: its rate and its length change with it."));
  if (!best.refused.empty()) said.push_back("The method refuses this: " + best.refused + ".");
}

void about_binding(const Plan& plan, std::vector<std::string>& said) {
  const StepTime& time = plan.best().time;
  const std::string binds = time.binds();
  if (binds == "loading")
    said.push_back(fmt::format("The loader binds: {:.0f} cores would keep up.", plan.loading.cores));
  else if (binds == "launches")
    said.push_back("The host binds: a GPU waits for launches. More images a GPU cost little.");
  if (time.exposed > 0.15 * time.total())
    said.push_back(fmt::format("{:.0f} % of a step wait for communication{}.", 100 * time.exposed / time.total(),
                               plan.model.config.train->gradients == "bf16" ? "" : "; train.gradients = bf16 halves what gradients send"));
}

}  // namespace

std::string way_name(const Spread& spread) {
  std::vector<std::string> with;
  if (spread.recompute.part != "none") with.push_back(recompute_keys(spread.recompute));
  if (const std::string keys = prototype_keys(spread); !keys.empty()) with.push_back(keys);
  return policy_name(spread.policy) + (spread.policy != Policy::kDdp && spread.shard_in_node ? "/node" : "") +
         (with.empty() ? "" : fmt::format(" with {}", fmt::join(with, " and ")));
}

std::string prototype_keys(const Spread& spread) {
  std::vector<std::string> keys;
  if (spread.prototypes.rows_at_once > 0) keys.push_back(fmt::format("loss.rows_at_once = {}", spread.prototypes.rows_at_once));
  if (spread.shares_prototypes()) keys.emplace_back("head.shard_prototypes");
  return fmt::format("{}", fmt::join(keys, " and "));
}

std::vector<std::string> keys_to_set(const Model& model, const Spread& spread) {
  const ParallelConfig& now = *model.config.parallel;
  const std::string within = spread.shard_in_node ? "node" : "all";
  std::vector<std::string> keys;
  const bool several = spread.ranks.size() > 1;  // one rank has all, whatever is set
  if (several && policy_name(spread.policy) != now.sync) keys.push_back(fmt::format("parallel.sync = {}", policy_name(spread.policy)));
  if (spread.policy != Policy::kDdp && within != now.shard_within) keys.push_back(fmt::format("parallel.shard_within = {}", within));
  if (spread.recompute != model.recompute()) keys.push_back(recompute_keys(spread.recompute));
  const Prototypes configured = model.prototypes();
  if (spread.prototypes.rows_at_once != configured.rows_at_once)
    keys.push_back(fmt::format("loss.rows_at_once = {}", spread.prototypes.rows_at_once));
  if (spread.shares_prototypes() && !configured.shared) keys.emplace_back("head.shard_prototypes = yes");
  return keys;
}

std::string recompute_keys(const Recompute& recompute) {
  return "model.recompute = " + recompute.part +
         (recompute.every > 1 ? fmt::format(" and model.recompute_every = {}", recompute.every) : "");
}

std::string gigabytes(double bytes) {
  return fmt::format("{:.{}f} GB", bytes / 1e9, bytes < 1e10 ? 2 : 1);
}

std::vector<std::string> advice(const Plan& plan) {
  std::vector<std::string> said;
  if (!plan.best().fits) {
    what_would_fit(plan, said);
    if (!plan.best().refused.empty()) said.push_back("The method refuses this: " + plan.best().refused + ".");
    return said;
  }
  why_chosen(plan, said);
  about_batch(plan, said);
  about_binding(plan, said);
  if (plan.saving.lost >= 1)
    said.push_back(
        fmt::format("The run would not end: with a failure of the job every {:.2g} hours saving and restarting take all of the time. "
                    "Fewer nodes, or a faster file system (--write).",
                    plan.saving.mtbf / 3600));
  else if (plan.saving.steps < static_cast<double>(plan.totals.steps))
    said.push_back(fmt::format("Checkpoints cost least every {:.0f} steps ({:.0f} minutes): checkpoint.every = {:.0f}it.",
                               plan.saving.steps, plan.saving.interval / 60, plan.saving.steps));
  else
    said.emplace_back("The run is shorter than the time between checkpoints that costs least: one at its end is enough.");
  return said;
}

}  // namespace dinoxx::plan
