#include "plan_hook.hpp"

#include "base/machine.hpp"
#include "config/train_keys.hpp"
#include "dinoxx/base/error.hpp"
#include "parallel/parallel_config.hpp"
#include "plan/advice.hpp"
#include "plan/choose.hpp"

namespace dinoxx {

std::string room_on_gpu(const Config& resolved, int64_t ranks, int64_t shards, double memory) {
  using namespace plan;
  const Model model = make_model(resolved);
  const Policy policy = shards == 1 ? Policy::kDdp : policy_from_name(resolved.parallel->sync);
  const int64_t batch = train_batch_size(resolved) / ranks;
  const double state = state_bytes(model, policy, shards),
               all = memory_of(model, policy, shards, ranks, mean_work(model, train_images_at_once(resolved, ranks), model.recompute()))
                         .total();
  if (all <= memory) return "";
  Request request;
  request.gpu = gpu_facts("h100");
  request.gpu.memory = memory;
  request.per_node = ranks;
  const std::vector<Estimate> all_ways = ways(model, request, {1, ranks}, batch);
  const Estimate& best = all_ways[best_of(all_ways)];
  const std::string advice = best.fits
                                 ? fmt::format("parallel.sync = {} with {} would take {}", policy_name(best.spread.policy),
                                               recompute_keys(best.spread.recompute), human_bytes(best.memory.total()))
                                 : fmt::format("Nothing fits on {} of these GPUs with this batch; \"dinoxx plan\" says what would", ranks);
  if (state > memory)
    fail_usage("memory of a GPU", fmt::format("{} for weights, gradients and optimizer", human_bytes(state)), human_bytes(memory), advice);
  return fmt::format("{} of a GPU's memory are planned, and it has {}. {}", human_bytes(all), human_bytes(memory), advice);
}

}  // namespace dinoxx
