#include "plan_hook.hpp"

#include <fmt/ranges.h>

#include "base/machine.hpp"
#include "config/train_keys.hpp"
#include "dinoxx/base/error.hpp"
#include "parallel/parallel_config.hpp"
#include "plan/advice.hpp"
#include "plan/choose.hpp"

namespace dinoxx {
namespace {

// What would fit on these GPUs, or, where nothing does, what it takes.
std::string what_fits(const Config& resolved, const plan::Request& request) {
  const plan::Plan plan = plan::make_plan(resolved, request);
  if (plan.best().fits)
    return fmt::format("{} would take {}", fmt::join(plan::keys_to_set(plan.model, plan.best().spread), ", "),
                       human_bytes(plan.best().memory.total()));
  return fmt::format("{} \"dinoxx plan\" says more", fmt::join(plan.advice, " "));
}

}  // namespace

std::string room_on_gpu(const Config& resolved, int64_t ranks, int64_t shards, double memory) {
  using namespace plan;
  const Model model = make_model(resolved);
  const bool in_node = shards > 1 && shards < ranks;
  Spread spread{in_node ? RankGroup{ranks / shards, shards} : RankGroup{1, ranks}, train_batch_size(resolved) / ranks};
  spread.policy = shards == 1 ? Policy::kDdp : policy_from_name(resolved.parallel->sync);
  spread.recompute = model.recompute();
  spread.shard_in_node = in_node;
  spread.parts = spread.batch / train_images_at_once(resolved, ranks);
  spread.prototypes = model.prototypes();
  Request request;
  request.gpu = gpu_facts("h100");
  request.gpu.name.clear();  // of its rates nothing is said: it may be another
  request.gpu.memory = memory;
  request.nodes = spread.ranks.nodes, request.per_node = spread.ranks.per_node;
  request.images = static_cast<uint64_t>(train_batch_size(resolved));  // only the length of the run depends on it
  const double state = state_bytes(model, spread), all = estimate(model, request, spread).memory.total();
  if (all <= memory) return "";
  const std::string advice = what_fits(resolved, request);
  if (state > memory)
    fail_usage("memory of a GPU", fmt::format("{} for weights, gradients and optimizer", human_bytes(state)), human_bytes(memory), advice);
  return fmt::format("{} of a GPU's memory are planned, and it has {}. {}", human_bytes(all), human_bytes(memory), advice);
}

}  // namespace dinoxx
