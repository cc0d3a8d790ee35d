#include "plan_json.hpp"

#include <nlohmann/json.hpp>

#include "plan/choose.hpp"
#include "train/training_config.hpp"

namespace dinoxx::plan {
namespace {

using nlohmann::json;

json estimate_json(const Model& model, const Estimate& e) {
  json memory = json::object();
  for (const MemoryPart& part : e.memory.parts) memory[part.part] = part.bytes;
  json collectives = json::array();
  for (const StepCollective& c : collectives_of(model, e.spread)) {
    collectives.push_back({{"what", c.what}, {"calls", c.count}, {"bytes", c.bytes * c.count}, {"sent", sent_bytes(c, e.spread.ranks)}});
  }
  json out{{"policy", policy_name(e.spread.policy)},
           {"recompute", e.spread.recompute.part},
           {"recompute_every", e.spread.recompute.every},
           {"rows_at_once", e.spread.prototypes.rows_at_once},
           {"shard_prototypes", e.spread.shares_prototypes()},
           {"gpus", e.spread.ranks.size()},
           {"images_per_gpu", e.spread.batch},
           {"parts", e.spread.parts},
           {"shards", e.spread.shards()},
           {"shards_within_node", e.spread.policy != Policy::kDdp && e.spread.shard_in_node},
           {"fits", e.fits},
           {"memory", memory},
           {"memory_total", e.memory.total()},
           {"flop", e.time.flops},
           {"seconds",
            {{"products", e.time.products},
             {"attention", e.time.attention},
             {"passes", e.time.passes},
             {"optimizer", e.time.optimizer},
             {"launches", e.time.launches},
             {"communication", e.time.communication},
             {"exposed", e.time.exposed},
             {"loading", e.time.loading},
             {"step", e.time.total()}}},
           {"binds", e.time.binds()},
           {"images_per_second", e.images_per_second()},
           {"collectives", collectives}};
  if (!e.refused.empty()) out["refused"] = e.refused;
  return out;
}

json totals_json(const RunTotals& totals, double price) {
  json out{{"steps", totals.steps}, {"seconds", totals.seconds}, {"gpu_hours", totals.gpu_hours}};
  if (price > 0) out["price"] = totals.price;
  return out;
}

}  // namespace

json plan_json(const Plan& plan) {
  const Request& request = plan.request;
  json parts = json::object();
  for (const PartSizes& part : plan.model.parts) parts[part.part] = part.elements;
  json choices = json::array(), scaling = json::array();
  for (const Estimate& e : plan.choices) choices.push_back(estimate_json(plan.model, e));
  for (const Row& row : plan.scaling) {
    json entry = estimate_json(plan.model, row.estimate);
    entry["run"] = totals_json(row.totals, request.price);
    entry["cores_per_gpu"] = row.cores_per_gpu;
    scaling.push_back(std::move(entry));
  }
  return {{"config", request.config},
          {"nodes", request.nodes},
          {"gpus_per_node", request.per_node},
          {"batch_size", plan.model.config.train->batch_size},
          {"images", request.images},
          {"gpu",
           {{"name", request.gpu.name},
            {"memory", request.gpu.memory},
            {"bf16_rate", request.gpu.bf16_rate},
            {"fp32_rate", request.gpu.fp32_rate},
            {"bandwidth", request.gpu.bandwidth},
            {"link_node", request.gpu.link_node},
            {"link_across", request.gpu.link_across},
            {"product_share", request.gpu.product_share},
            {"attention_share", request.gpu.attention_share},
            {"bandwidth_share", request.gpu.bandwidth_share}}},
          {"parameters", {{"parts", parts}, {"all", plan.model.parameters}, {"padded", plan.model.layout.numel}}},
          {"choices", choices},
          {"chosen", plan.chosen},
          {"largest_batch_per_gpu", plan.largest_batch},
          {"loading",
           {{"cores", plan.loading.cores},
            {"seconds_per_image", plan.loading.seconds_per_image},
            {"image_bytes", plan.loading.image_bytes},
            {"bytes_per_second", plan.loading.read_rate}}},
          {"checkpoints",
           {{"bytes", plan.saving.bytes},
            {"seconds", plan.saving.seconds},
            {"mean_time_between_failures", plan.saving.mtbf},
            {"interval", plan.saving.interval},
            {"interval_steps", plan.saving.steps},
            {"lost_share", plan.saving.lost}}},
          {"run", totals_json(plan.totals, request.price)},
          {"scaling", scaling},
          {"advice", plan.advice},
          {"notes", plan.model.notes}};
}

}  // namespace dinoxx::plan
