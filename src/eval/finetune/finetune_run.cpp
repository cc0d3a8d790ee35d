// One method of fine-tuning from its start to the weights of its best epoch.
#include <ATen/ATen.h>
#include <fmt/format.h>

#include <chrono>
#include <cstdio>

#include "comm/nccl_communicator.hpp"
#include "eval/classify/samplers.hpp"
#include "eval/features/blocks.hpp"
#include "eval/run/progress.hpp"
#include "finetune_parts.hpp"

namespace dinoxx::eval {
namespace {

using Clock = std::chrono::steady_clock;

// As many pixels as 16 images of 224 x 224: what their activations take is a gigabyte or two with a ViT-S.
constexpr int64_t kPixelsAtOnce = int64_t{16} * 224 * 224;
constexpr int kTimedSteps = 2, kTimedImages = 8;

int64_t images_at_once(const ProtocolInput& input) {
  const int64_t side = input.images->transform.crop;
  return std::max<int64_t>(1, kPixelsAtOnce / (side * side));
}

// Gradients travel from where they are: over NCCL from GPUs. The group is the caller's.
std::shared_ptr<Communicator> gradient_comm(const ProtocolInput& input) {
  const std::shared_ptr<Communicator> all(std::shared_ptr<void>(), &input.comm);
  const at::Device device = input.embedder.network->parameters().front().tensor.device();
  return device.is_cuda() ? make_nccl_communicator(all, device.index()) : all;
}

SupervisedLoss loss_of(const FinetuneOptions& options, const TuneData& data) {
  SupervisedLoss loss;
  loss.kind = options.loss == "class_balanced"   ? SupervisedKind::kClassBalanced
              : options.loss == "logit_adjusted" ? SupervisedKind::kLogitAdjusted
              : options.loss == "focal"          ? SupervisedKind::kFocal
                                                 : SupervisedKind::kCrossEntropy;
  loss.counts = data.counts;
  return loss;
}

std::vector<uint64_t> order_of(const ProtocolInput& input, const FinetuneOptions& options, const TuneData& data, int64_t epoch) {
  const SamplerKind kind = options.sampler == "class_balanced"  ? SamplerKind::kClassBalanced
                           : options.sampler == "repeat_factor" ? SamplerKind::kRepeatFactor
                                                                : SamplerKind::kUniform;
  return draw_epoch(kind, data.train_labels, static_cast<int>(data.present.size()), input.seed, epoch);
}

int64_t steps_of(int64_t images, int64_t batch) {
  return (images + batch - 1) / batch;
}

double summed(Communicator& comm, double value, ReduceOp op) {
  const at::Tensor all = at::full({1}, value, at::kDouble);
  comm.all_reduce(all, op)->wait();
  return all.item<double>();
}

}  // namespace

Tuning tune(const ProtocolInput& input, const FinetuneOptions& options, const TuningMethod& method, double lr, const TuneData& data,
            TunedNetwork& network) {
  const auto start = Clock::now();
  std::vector<int64_t> steps(1);
  int64_t all = 0, images = 0;
  for (int64_t epoch = 1; epoch <= options.epochs; ++epoch) {
    const auto drawn = static_cast<int64_t>(order_of(input, options, data, epoch).size());
    steps.push_back(steps_of(drawn, options.batch));
    all += steps.back();
    images += drawn;
  }
  Tuner tuner(network,
              {.lr = lr,
               .head_lr = method.head_lr,
               .weight_decay = method.weight_decay,
               .layer_decay = method.layer_decay ? options.layer_decay : 1,
               .warmup = options.epochs > 1 ? steps[1] : 0,
               .steps = all,
               .ema = options.ema,
               .loss = loss_of(options, data)},
              gradient_comm(input));
  const auto judged = static_cast<int64_t>(data.validation.size()) * (options.epochs + 1);
  const int64_t blocks = block_count(rank_items(static_cast<int64_t>(data.validation.size()), input.comm.rank(), input.comm.size()).size());
  progress_phase(fmt::format("finetune {} of {}", method.name, input.embedder.name), all + blocks * (options.epochs + 1), images + judged);
  Tuning result;
  result.lr = lr;
  at::Tensor best = tuner.answer().clone(), best_logits;
  const auto judge = [&](int epoch, const nlohmann::json& train_loss) {
    tuner.use(tuner.answer().clone());
    const at::Tensor logits = tuned_logits(input, network, data.validation);
    const TuneScore score = score_validation(logits, data, input.data.classes);
    nlohmann::json line = {{"epoch", epoch}, {"train_loss", train_loss}};
    line["mean_recall"] = score.finite ? nlohmann::json(score.recall) : nlohmann::json(nullptr);
    line["loss"] = score.finite ? nlohmann::json(score.loss) : nlohmann::json(nullptr);
    result.epochs.push_back(line);
    result.diverged = !score.finite;
    if (epoch == 0 || score.better_than(result.best)) {
      result.best = score;
      result.best_epoch = epoch;
      best = tuner.answer().clone();
      best_logits = logits;
    }
    tuner.learn();
    if (options.progress && input.comm.rank() == 0) {
      fmt::print(stderr, "finetune {} {}: epoch {} of {}, validation recall {:.2f} %, loss {:.4f}\n", input.embedder.name, method.name,
                 epoch, options.epochs, 100 * score.recall, score.loss);
      std::fflush(stderr);
    }
  };
  judge(0, nullptr);
  for (int epoch = 1; epoch <= options.epochs && !result.diverged && epoch - result.best_epoch <= options.patience; ++epoch) {
    const std::vector<uint64_t> order = order_of(input, options, data, epoch);
    const auto drawn = static_cast<int64_t>(order.size()), count = steps[static_cast<size_t>(epoch)];
    double loss = 0;
    for (int64_t step = 0; step < count; ++step) {
      // parts of nearly equal size: none so small that its gradient is noise
      const int64_t begin = drawn * step / count, end = drawn * (step + 1) / count;
      const TuneBatch batch = read_batch(input, data, order, begin, end, epoch, options.crop);
      loss += tuner.step(batch.images, batch.labels, batch.counted, end - begin, images_at_once(input)) * static_cast<double>(end - begin);
      part_is_done(current_progress());
    }
    result.steps += static_cast<double>(count);
    result.images += static_cast<double>(drawn);
    const double mean = summed(input.comm, loss, ReduceOp::kSum) / static_cast<double>(drawn);
    judge(epoch, std::isfinite(mean) ? nlohmann::json(mean) : nlohmann::json(nullptr));
  }
  tuner.use(best);
  result.temperature = temperature_of(best_logits, data);
  result.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return result;
}

double seconds_per_image(const ProtocolInput& input, const FinetuneOptions& options, const TuneData& data) {
  TunedNetwork network(*input.embedder.network, tuning_method("lp-ft"), {}, zero_head(input, data), input.images->transform.crop,
                       input.seed);
  Tuner tuner(network, {.loss = loss_of(options, data)}, gradient_comm(input));
  const std::vector<uint64_t> order = order_of(input, options, data, 0);
  const auto each = std::min<int64_t>(kTimedImages, options.batch / input.comm.size());
  const int64_t images = std::min<int64_t>(static_cast<int64_t>(order.size()), std::max<int64_t>(1, each) * input.comm.size());
  Clock::time_point start;
  for (int step = 0; step <= kTimedSteps; ++step) {
    if (step == 1) start = Clock::now();  // the first has its memory to find
    const TuneBatch batch = read_batch(input, data, order, 0, images, 0, options.crop);
    tuner.step(batch.images, batch.labels, batch.counted, images, images_at_once(input));
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count() / kTimedSteps / static_cast<double>(images);
  return summed(input.comm, seconds, ReduceOp::kMax);
}

}  // namespace dinoxx::eval
