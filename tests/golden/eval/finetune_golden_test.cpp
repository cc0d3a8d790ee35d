// Fine-tuning steps against plain PyTorch in float64 (make_finetune.py), at any number of ranks and images at once.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "eval/finetune/tuner.hpp"
#include "golden.hpp"
#include "thread_ranks.hpp"

namespace dinoxx::eval {
namespace {

using golden::uniform;

constexpr int kDim = 24, kDepth = 3, kHeads = 3, kPatch = 4, kImage = 12, kClasses = 4, kBatch = 6, kSteps = 5;
constexpr double kTolerance = 1e-9;

std::unique_ptr<Backbone> network() {
  VitConfig config;
  config.image_size = kImage;
  config.patch_size = kPatch;
  config.dim = kDim;
  config.depth = kDepth;
  config.heads = kHeads;
  auto backbone = make_backbone(config, at::kDouble);
  golden::fill_parameters(backbone->parameters());
  return backbone;
}

void check(const std::string& method, double lr, const std::shared_ptr<Communicator>& comm, int64_t at_once) {
  SCOPED_TRACE(fmt::format("{}, {} ranks, {} at once", method, comm->size(), at_once));
  const golden::Fixture fixture("finetune");
  const TunedHead head{uniform("finetune/head.weight", {kClasses, kDim}) * 0.3, uniform("finetune/head.bias", {kClasses}) * 0.1};
  TunedNetwork tuned(*network(), tuning_method(method), {.rank = 2, .alpha = 6}, head, kImage, 0);
  for (const auto& [name, tensor] : tuned.trainable()) {
    if (!name.ends_with(".weight.lora_a")) continue;
    const std::string layer = name.substr(9, name.size() - 9 - std::string(".weight.lora_a").size());  // without "backbone."
    tensor.copy_(uniform(layer + ".a", tensor.sizes()) * 0.4);
  }
  const bool full = method == "full";
  Tuner tuner(
      tuned,
      {.lr = lr, .head_lr = 5, .weight_decay = 0.1, .layer_decay = full ? 0.6 : 1.0, .warmup = 2, .steps = kSteps, .ema = 0.7, .loss = {}},
      comm);
  const int64_t begin = kBatch * comm->rank() / comm->size(), end = kBatch * (comm->rank() + 1) / comm->size();
  for (int step = 0; step < kSteps; ++step) {
    const at::Tensor images = uniform("finetune/images" + std::to_string(step), {kBatch, 3, kImage, kImage});
    const at::Tensor labels = at::empty({kBatch}, at::kLong);
    for (int64_t i = 0; i < kBatch; ++i) labels[i] = (3 * step + i * i) % kClasses;
    const int64_t n = std::max<int64_t>(1, end - begin), first = end > begin ? begin : 0;
    const at::Tensor loss =
        at::full({1}, tuner.step(images.narrow(0, first, n), labels.narrow(0, first, n), end - begin, kBatch, at_once), at::kDouble);
    comm->all_reduce(loss, ReduceOp::kSum)->wait();
    EXPECT_TRUE(golden::near("loss", loss[0], fixture.tensor(method + "/losses")[step], kTolerance));
  }
  for (const auto& [name, tensor] : tuned.trainable()) EXPECT_TRUE(fixture.matches(method + "/" + name, tensor, kTolerance));
  const at::Tensor mean = tuner.answer();
  for (const Segment& segment : tuner.layout().segments) {
    const at::Tensor values = mean.narrow(0, segment.offset, segment.numel).view(segment.shape);
    EXPECT_TRUE(fixture.matches(fmt::format("{}/mean/{}", method, segment.name), values, kTolerance));
  }
  // the network that holds the sum of both factors' product and the weight is the network with a branch of its own
  const at::NoGradGuard no_grad;
  tuned.bind();
  EXPECT_TRUE(
      fixture.matches(method + "/features", tuned.backbone().forward(uniform("finetune/query", {3, 3, kImage, kImage})), kTolerance));
}

TEST(FinetuneGolden, StepsAreThoseOfPyTorch) {
  for (const int ranks : {1, 3, 7}) {  // one of seven has no image
    testing_support::run_thread_ranks(ranks, [](const std::shared_ptr<Communicator>& comm) {
      check("full", 2e-3, comm, 6);
      check("lora", 1e-2, comm, 1);
    });
  }
}

}  // namespace
}  // namespace dinoxx::eval
