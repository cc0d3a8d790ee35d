// Linear heads on the frozen network, trained on random crops: the images are dealt to the ranks, then the heads. The labels of the queries
// are looked at by nothing here.
#include <ATen/ATen.h>

#include <algorithm>
#include <memory>
#include <numeric>

#include "comm/agree.hpp"
#include "data_pipeline/loader/loader.hpp"
#include "dinoxx/base/error.hpp"
#include "eval/classify/folds.hpp"
#include "eval/classify/logistic.hpp"
#include "eval/classify/units.hpp"
#include "eval/features/blocks.hpp"
#include "eval/run/protocols.hpp"
#include "eval/statistics/calibration.hpp"
#include "linear_probe.hpp"
#include "linear_probe_parts.hpp"
#include "logistic_parts.hpp"
#include "model/backbones/last_blocks.hpp"

namespace dinoxx::eval {
namespace {

using nlohmann::json;

constexpr int kRates = static_cast<int>(kProbeRates.size());
constexpr double kMinScale = 0.08;           // of a crop's area, as published
constexpr int64_t kPool = int64_t{1} << 27;  // numbers of the features that are held at once, on every rank
// Multiplications of all iterations: an hour of two cores.
constexpr double kLargestTraining = 2e14;

/// What is learned from and what the heads are chosen on.
struct Parts {
  std::vector<uint64_t> learned, held;
  std::vector<int32_t> learned_labels, held_labels;
  std::string by, none;  // how they were chosen; why there is nothing to choose on
};

Parts plan_parts(const ProtocolInput& input) {
  const EvalData& data = input.data;
  Parts parts;
  if (!data.validation.empty()) return {data.memory, data.validation, data.memory_labels, data.validation_labels, "val split", ""};
  parts.by = fmt::format("one of {} stratified folds of the memory, not learned from", kFolds);
  const std::vector<int> fold_of =
      stratified_folds(data.memory, data.memory_labels, units_of(input.dataset, data.memory), data.classes, kFolds, input.seed);
  for (size_t row = 0; row < fold_of.size(); ++row) {
    const bool held = fold_of[row] == 0;
    (held ? parts.held : parts.learned).push_back(data.memory[row]);
    (held ? parts.held_labels : parts.learned_labels).push_back(data.memory_labels[row]);
  }
  if (parts.held.empty()) parts.none = "no class has two training images (or groups) to hold one out";
  return parts;
}

// How often and on what the heads learn.
struct Plan {
  std::vector<HeadInput> inputs;
  int blocks = 1;
  int64_t columns = 0, iterations = 0, positions = 0, windows = 0;
};

Plan make_plan(const ProtocolInput& input, const Parts& parts, int64_t pool) {
  const auto images = static_cast<int64_t>(parts.learned.size());
  Plan plan;
  plan.blocks = std::min(kProbeBlocks, offered_blocks(*input.embedder.network));
  plan.inputs = head_inputs(input.embedder.dim, plan.blocks);
  plan.columns = (plan.blocks + 1) * input.embedder.dim;
  plan.iterations = probe_iterations(images);
  plan.positions = std::min(std::max(input.linear_probe_views, 1) * images, plan.iterations * kProbeBatch);
  plan.windows = std::clamp<int64_t>((plan.positions * plan.columns + pool - 1) / pool, 1, plan.positions);
  return plan;
}

std::string why_not(const ProtocolInput& input) {
  if (!input.embedder.network) return "no network whose blocks the heads could see";
  const int blocks = std::min(kProbeBlocks, offered_blocks(*input.embedder.network));
  double width = 0;
  for (const HeadInput& head : head_inputs(input.embedder.dim, blocks)) width += static_cast<double>(head.width);
  const double work =
      2.0 * kRates * width * input.data.classes * static_cast<double>(kProbeBatch * probe_iterations(std::ssize(input.data.memory)));
  if (work > kLargestTraining)
    return fmt::format("training the heads would take {:.1e} multiplications, more than {:.1e}", work, kLargestTraining);
  return "";
}

// Features of items 0 to count - 1 on every rank, each computed by one of them from the images that `read` gives. Collective.
at::Tensor embed_items(const ProtocolInput& input, const Plan& plan, int64_t count,
                       const std::function<at::Tensor(ItemRange items)>& read) {
  const ItemRange mine = rank_items(count, input.comm.rank(), input.comm.size());
  const at::Tensor local = at::empty({mine.size(), plan.columns}, at::kFloat);
  on_all_ranks(input.comm, [&] {
    for_each_block(count, mine, input.threads, [&](int64_t, ItemRange items) {
      local.narrow(0, items.begin - mine.begin, items.size()).copy_(last_blocks_row(*input.embedder.network, read(items), plan.blocks));
    });
    if (!at::isfinite(local).all().item<bool>())
      fail(input.embedder.name, "finite features of the last blocks", "NaN or infinite ones", "The checkpoint is damaged or has diverged.");
  });
  return gather_blocks(input.comm, local, count);
}

at::Tensor embed_ids(const ProtocolInput& input, const Plan& plan, std::span<const uint64_t> ids) {
  return embed_items(input, plan, static_cast<int64_t>(ids.size()),
                     [&](ItemRange items) { return read_images(input.dataset, ids.subspan(items.begin, items.size()), *input.images); });
}

// A random crop of each image, each position of the data with draws of its own.
at::Tensor random_crops(const ProtocolInput& input, std::span<const uint64_t> ids, uint64_t first_position) {
  const int64_t size = input.images->transform.crop;
  ViewSpec view;
  view.name = "linear";
  view.size = static_cast<int>(size);
  view.scale_min = kMinScale;
  view.distort = false;
  const at::Tensor out = at::empty({static_cast<int64_t>(ids.size()), 3, size, size}, at::kFloat);
  std::vector<uint8_t> bytes;
  Image image;
  for (size_t i = 0; i < ids.size(); ++i) {
    input.dataset.read(ids[i], bytes);
    decode_image(bytes, image);
    make_view(image, view, input.images->normalization, input.seed, first_position + i, 0, out[static_cast<int64_t>(i)].data_ptr<float>());
  }
  return out;
}

using Heads = std::vector<std::unique_ptr<HeadGroup>>;  // one for each input; on the rank that trains it

// Collective.
Heads train(const ProtocolInput& input, const Parts& parts, const Plan& plan) {
  const Sampler order(parts.learned.size(), input.seed);
  std::vector<double> rates;
  for (const double rate : kProbeRates) rates.push_back(rate * static_cast<double>(kProbeBatch) / 256);
  Heads heads(plan.inputs.size());
  for (int64_t w = 0; w < plan.windows; ++w) {
    const int64_t begin = plan.positions * w / plan.windows, count = plan.positions * (w + 1) / plan.windows - begin;
    std::vector<uint64_t> ids;
    std::vector<int64_t> their_labels;
    for (int64_t i = 0; i < count; ++i) {
      const uint64_t row = order.row(static_cast<uint64_t>(begin + i));
      ids.push_back(parts.learned[row]);
      their_labels.push_back(parts.learned_labels[row]);
    }
    const at::Tensor features =
        input.linear_probe_views == 0 ? embed_ids(input, plan, ids) : embed_items(input, plan, count, [&](ItemRange items) {
          return random_crops(input, std::span(ids).subspan(items.begin, items.size()), static_cast<uint64_t>(begin + items.begin));
        });
    const at::Tensor labels = at::tensor(their_labels, at::kLong);
    const Sampler rows(ids.size(), input.seed + static_cast<uint64_t>(w) + 1);
    const int64_t first = plan.iterations * w / plan.windows, last = plan.iterations * (w + 1) / plan.windows;
    run_tasks(input.comm, std::ssize(heads), 0, input.threads, [&](int64_t task, double*) {
      if (!heads[task])
        heads[task] = std::make_unique<HeadGroup>(fresh_heads(plan.inputs[task], rates, input.data.classes, input.seed, task * kRates));
      at::Tensor index = at::empty({kProbeBatch}, at::kLong);
      for (int64_t t = first; t < last; ++t) {
        for (int64_t i = 0; i < kProbeBatch; ++i)
          index.data_ptr<int64_t>()[i] = static_cast<int64_t>(rows.row(static_cast<uint64_t>((t - first) * kProbeBatch + i)));
        heads[task]->step(features, index, labels.index_select(0, index), probe_decay(t, plan.iterations));
      }
    });
  }
  return heads;
}

// Right answers of each class by each head: [heads, classes]. Collective.
at::Tensor try_heads(const ProtocolInput& input, const Heads& heads, const at::Tensor& features, const std::vector<int32_t>& labels) {
  const int64_t classes = input.data.classes;
  return run_tasks(input.comm, std::ssize(heads), kRates * classes, input.threads,
                   [&](int64_t task, double* row) {
                     for (int64_t block = 0; block < block_count(features.size(0)); ++block) {
                       const ItemRange items = block_items(features.size(0), block);
                       const at::Tensor logits = heads[task]->logits(features.narrow(0, items.begin, items.size())).to(at::kDouble);
                       const std::vector<int32_t> of_block(labels.begin() + items.begin, labels.begin() + items.end);
                       for (int r = 0; r < kRates; ++r)
                         count_correct(of_block, predict(logits.select(1, r).contiguous()), row + r * classes);
                     }
                   })
      .view({std::ssize(heads) * kRates, classes});
}

// Weight and bias of one head on every rank, float64. Collective.
LinearModel take_head(const ProtocolInput& input, const Heads& heads, const Plan& plan, int place) {
  const int64_t classes = input.data.classes, width = plan.inputs[place / kRates].width;
  const at::Tensor all = run_tasks(input.comm, std::ssize(heads), classes * (width + 1), input.threads, [&](int64_t task, double* row) {
    if (task != place / kRates) return;
    at::from_blob(row, {classes, width}, at::kDouble).copy_(heads[task]->weight()[place % kRates]);
    at::from_blob(row + classes * width, {classes}, at::kDouble).copy_(heads[task]->bias()[place % kRates]);
  });
  const at::Tensor row = all[place / kRates];
  return {row.narrow(0, 0, classes * width).view({classes, width}), row.narrow(0, classes * width, classes)};
}

json describe(const HeadInput& input, int rate) {
  return {{"blocks", input.blocks}, {"mean_of_patches", input.average}, {"learning_rate", kProbeRates[rate]}};
}

}  // namespace

json linear_probe_settings(const EvalData&, const KnnConfig&) {
  return {
      {"suite", "sweep"},
      {"method",
       "linear heads on the frozen network, not normalised: each learning rate x {CLS of the last block, of the last 4} x {alone, with the "
       "mean of the last block's patches}; a convolutional network offers its last map alone"},
      {"optimizer", "SGD, momentum 0.9, no weight decay, rate x batch / 256, half a cosine to 0, cross-entropy"},
      {"learning_rates", kProbeRates},
      {"batch", kProbeBatch},
      {"iterations", "100 passes over the training images, at least 500, at most the published 12,500"},
      {"views",
       fmt::format("random crops of {:g} to 1 of the area, flipped in half the cases; fewer crops than passes are shown again", kMinScale)},
      {"criterion", "mean recall of the images that heads are chosen on; equal: the head with the smaller input, then the smaller rate"},
      {"notes", json::array()}};
}

ProtocolResult linear_probe_protocol(const ProtocolInput& input) {
  return run_linear_probe(input, kPool);
}

ProtocolResult run_linear_probe(const ProtocolInput& input, int64_t pool) {
  const EvalData& data = input.data;
  ProtocolResult result;
  result.scores = json::object();
  if (const std::string why = why_not(input); !why.empty()) {
    result.scores["left_out"] = why;
    return result;
  }
  const Parts parts = plan_parts(input);
  const Plan plan = make_plan(input, parts, pool);
  result.scores["training"] = {
      {"images", parts.learned.size()},
      {"iterations", plan.iterations},
      {"heads", std::ssize(plan.inputs) * kRates},
      {"views", input.linear_probe_views == 0 ? "the evaluation's own crop, features computed once: no augmentation" : "random crops"},
      {"views_per_image", static_cast<double>(plan.positions) / static_cast<double>(parts.learned.size())},
      {"times_each_view_is_shown", static_cast<double>(plan.iterations * kProbeBatch) / static_cast<double>(plan.positions)}};
  const Heads heads = train(input, parts, plan);

  const std::vector<int64_t> support = class_counts(parts.held_labels, data.classes);
  result.scores["selection"] = {{"by", parts.by},
                                {"images", parts.held.size()},
                                {"classes", std::count_if(support.begin(), support.end(), [](int64_t n) { return n > 0; })}};
  json tried = json::array();
  std::vector<double> recalls;
  if (parts.none.empty()) {
    const at::Tensor correct = try_heads(input, heads, embed_ids(input, plan, parts.held), parts.held_labels);
    for (int64_t head = 0; head < correct.size(0); ++head) {
      const std::span<const double> of_head(correct.data_ptr<double>() + head * data.classes, static_cast<size_t>(data.classes));
      recalls.push_back(mean_recall(of_head, support));
      json entry = describe(plan.inputs[head / kRates], static_cast<int>(head % kRates));
      entry["accuracy"] = std::accumulate(of_head.begin(), of_head.end(), 0.0) / static_cast<double>(parts.held.size());
      entry["mean_recall"] = recalls.back();
      tried.push_back(std::move(entry));
    }
  } else {
    result.scores["selection"]["not_chosen"] = parts.none + ": CLS of the last block, the middle rate";
  }
  const int place = recalls.empty() ? kRates / 2 : best_of(recalls);
  const LinearModel model = take_head(input, heads, plan, place);

  const at::Tensor queries = embed_ids(input, plan, data.queries);
  const HeadInput& chosen = plan.inputs[place / kRates];
  const int64_t blocks = block_count(queries.size(0)), classes = data.classes;
  const at::Tensor scores = run_tasks(input.comm, blocks, kEvalBlock * classes, input.threads,
                                      [&](int64_t block, double* row) {
                                        const ItemRange items = block_items(queries.size(0), block);
                                        const at::Tensor seen =
                                            queries.narrow(0, items.begin, items.size()).narrow(1, chosen.begin, chosen.width);
                                        at::from_blob(row, {items.size(), classes}, at::kDouble).copy_(model.logits(seen));
                                      })
                                .view({blocks * kEvalBlock, classes})
                                .narrow(0, 0, queries.size(0));
  Prediction prediction{
      "best_head", predict(scores), softmax_rows({scores.data_ptr<double>(), static_cast<size_t>(scores.numel())}, data.classes), {}};
  prediction.details = {{"head", describe(chosen, place % kRates)},
                        {"rate_at_the_edge", !recalls.empty() && (place % kRates == 0 || place % kRates == kRates - 1)},
                        {"selection", std::move(tried)}};
  result.predictions.push_back(std::move(prediction));
  return result;
}

}  // namespace dinoxx::eval
