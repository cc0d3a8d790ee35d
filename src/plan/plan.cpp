#include "plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "advice.hpp"
#include "checkpoint/checkpoint_config.hpp"
#include "choose.hpp"
#include "data_pipeline/loader/data_config.hpp"
#include "dinoxx/base/error.hpp"
#include "model/model_config.hpp"
#include "train/training_config.hpp"

namespace dinoxx::plan {
namespace {

int64_t total_steps(const Config& config, uint64_t images) {
  const int64_t batch = config.train->batch_size;
  return config.train->length.steps(images, batch) + config.train->extend.steps(images, batch);
}

Loading loading_of(const Model& model, const Request& request, const Estimate& best) {
  Loading loading;
  loading.image_bytes = request.image_bytes.value_or(assumed_image_bytes(model));
  loading.seconds_per_image = request.images_per_core ? 1 / *request.images_per_core : load_seconds(model, loading.image_bytes);
  const double wanted = static_cast<double>(best.spread.batch * best.spread.ranks.size()) / (best.time.compute() + best.time.exposed);
  loading.cores = wanted * loading.seconds_per_image;
  // a data set that is kept decoded is read once
  loading.read_rate = model.config.data->cache_decoded ? 0 : best.images_per_second() * loading.image_bytes;
  return loading;
}

Saving saving_of(const Model& model, const Request& request, const Estimate& best) {
  Saving saving;
  saving.bytes = checkpoint_bytes(model);
  saving.seconds = saving.bytes / request.write_rate;
  saving.mtbf = request.node_mtbf / static_cast<double>(best.spread.ranks.nodes);
  saving.interval = checkpoint_interval(saving.seconds, saving.mtbf);
  saving.steps = std::max(1.0, std::round(saving.interval / best.time.total()));
  saving.lost = lost_share(saving.seconds, saving.interval, request.restart, saving.mtbf);
  return saving;
}

RunTotals totals_of(const Model& model, const Request& request, const Estimate& best, const Saving& saving) {
  RunTotals totals;
  totals.steps = total_steps(model.config, request.images);
  totals.seconds = static_cast<double>(totals.steps) * best.time.total() / std::max(1 - saving.lost, 0.01);
  totals.gpu_hours = totals.seconds / 3600 * static_cast<double>(best.spread.ranks.size());
  totals.price = totals.gpu_hours * request.price;
  return totals;
}

// From 1 GPU to 4,096, with the requested number among them.
std::vector<int64_t> gpu_counts(const Request& request) {
  std::vector<int64_t> counts{request.nodes * request.per_node};
  for (int64_t n = 1; n < request.per_node; n *= 2) counts.push_back(n);
  for (int64_t n = request.per_node; n <= kMostGpus; n *= 2) counts.push_back(n);
  std::sort(counts.begin(), counts.end());
  counts.erase(std::unique(counts.begin(), counts.end()), counts.end());
  return counts;
}

std::vector<Row> scaling_of(const Model& model, const Request& request) {
  std::vector<Row> rows;
  for (const int64_t gpus : gpu_counts(request)) {
    const int64_t batch = model.config.train->batch_size;
    if (batch % (gpus * model.config.train->accumulate) != 0) continue;
    const std::vector<Estimate> all = ways(model, request, ranks_of(gpus, request.per_node), batch / gpus);
    Row row{.gpus = gpus, .estimate = all[best_of(all)]};
    const Saving saving = saving_of(model, request, row.estimate);
    row.totals = totals_of(model, request, row.estimate, saving);
    row.cores_per_gpu = loading_of(model, request, row.estimate).cores / static_cast<double>(gpus);
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace

void check_request(const Config& config, const Request& request) {
  const auto positive = [](const char* key, double value) {
    if (!std::isfinite(value) || value <= 0) fail_usage(key, "a number above 0", fmt::format("{}", value), "Correct it");
  };
  if (request.nodes < 1) fail_usage("--nodes", "1 or more", std::to_string(request.nodes), "Say how many nodes the job gets");
  if (request.per_node < 1) fail_usage("--gpus-per-node", "1 or more", std::to_string(request.per_node), "Say how many GPUs a node has");
  const bool many = request.nodes > kMostGpus || request.per_node > kMostGpus;  // their product might not be a number
  const int64_t ranks = many ? 0 : request.nodes * request.per_node;
  if (many || ranks > kMostGpus)
    fail_usage("--nodes", fmt::format("at most {} GPUs", kMostGpus), fmt::format("{} nodes of {}", request.nodes, request.per_node),
               "Plan for fewer");
  const int64_t batch = config.train->batch_size;
  if (batch % ranks != 0)
    fail_usage("train.batch_size", fmt::format("a multiple of {} nodes x {} GPUs = {}", request.nodes, request.per_node, ranks),
               std::to_string(batch),
               batch < ranks ? fmt::format("Use at most {} GPUs, or set --train.batch_size {}", batch, ranks)
                             : fmt::format("Set --train.batch_size {} or {}, or change the number of GPUs", batch / ranks * ranks,
                                           (batch / ranks + 1) * ranks));
  const int64_t parts = config.train->accumulate, of_rank = batch / ranks;
  if (of_rank % parts != 0)
    fail_usage("train.accumulate", fmt::format("a divisor of the {} images of a rank", of_rank), std::to_string(parts),
               "Change it, the batch or the number of GPUs");
  if (request.images < 1) fail_usage("--images", "1 or more", "0", "Say how many images the training set has");
  positive("--write", request.write_rate);
  positive("--mtbf-hours", request.node_mtbf);
  if (request.mfu && (!(*request.mfu > 0) || *request.mfu > 1))
    fail_usage("--mfu", "a share above 0, at most 1", fmt::format("{}", *request.mfu), "45 per cent are 0.45");
  if (request.images_per_core) positive("--decode", *request.images_per_core);
  if (request.image_bytes) positive("--image-kb", *request.image_bytes);
}

Plan make_plan(const Config& resolved, const Request& request, const std::string& teacher_arch) {
  check_request(resolved, request);
  Plan plan;
  plan.request = request;
  plan.model = make_model(resolved, teacher_arch);
  if (request.policy == Policy::kZero3 && !plan.model.vit())
    fail_usage("--policy zero3", "a vision transformer: it is the weights of its blocks that come and go",
               fmt::format("model.arch = {}", resolved.model->arch), "Plan for zero2, or leave the choice to the plan");
  const RankGroup ranks{request.nodes, request.per_node};
  plan.choices = ways(plan.model, request, ranks, resolved.train->batch_size / ranks.size());
  plan.chosen = best_of(plan.choices);
  plan.largest_batch = largest_batch(plan.model, request, plan.best().spread);
  plan.loading = loading_of(plan.model, request, plan.best());
  plan.saving = saving_of(plan.model, request, plan.best());
  plan.totals = totals_of(plan.model, request, plan.best(), plan.saving);
  plan.scaling = scaling_of(plan.model, request);
  plan.advice = advice(plan);
  return plan;
}

}  // namespace dinoxx::plan
