// The network that fine-tuning trains: what learns and what does not, where it begins, what adapters are.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <variant>

#include "eval/finetune/tuner.hpp"
#include "finetune_runs.hpp"
#include "support/small_vit.hpp"

namespace dinoxx::eval {
namespace {

using namespace dinoxx::testing_support;

TunedHead some_head(int64_t dim) {
  const at::Tensor numbers = at::arange(kClasses * dim, at::kDouble);
  return {at::sin(numbers).view({kClasses, dim}) * 0.3, at::cos(at::arange(kClasses, at::kDouble)) * 0.1};
}

at::Tensor images_of(int64_t count) {
  return at::sin(at::arange(count * 3 * kSize * kSize, at::kFloat) * 0.7).view({count, 3, kSize, kSize});
}

// Every network with every method.
std::unique_ptr<Backbone> scaled_backbone() {
  VitConfig config = small_vit_config(2);
  config.layer_scale = 0.1;
  config.mask_token = true;
  config.registers = 2;
  auto network = make_backbone(config, at::kFloat);
  network->initialize(4);
  return network;
}

TEST(Finetune, OnlyWhatIsDeclaredChanges) {
  const at::Tensor images = images_of(6), labels = at::arange(6, at::kLong).remainder(kClasses);
  for (const auto& make : {scaled_backbone, convolutional_backbone}) {
    const auto start = make();
    const auto before = values(*start);
    for (const TuningMethod& method : tuning_methods()) {
      const bool vit = std::holds_alternative<VitConfig>(start->config());
      if (!vit && std::string(method.name) == "lora") continue;
      SCOPED_TRACE(fmt::format("{} of {}", method.name, vit ? "a transformer" : "a ResNet"));
      TunedNetwork tuned(*start, method, {.rank = 2, .alpha = 4, .targets = {"qkv", "mlp"}}, some_head(start->feature_dim()), kSize, 0);
      Tuner tuner(tuned, {.lr = 0.01, .weight_decay = 0.05, .steps = 4, .loss = {}}, make_self_communicator());
      for (int step = 0; step < 2; ++step) tuner.step(images, labels, 6, 6, 4);
      tuner.use(tuner.answer().clone());
      std::set<std::string> changed;
      for (const auto& [name, tensor] : values(tuned.backbone()))
        if (!at::equal(tensor, before.at(name))) changed.insert(name);
      for (const auto& [name, tensor] : start->parameters()) {
        const std::string kind = method.name;
        const bool norm = tensor.dim() == 1 && (name.find("norm") != std::string::npos || name.find("bn") != std::string::npos ||
                                                name.find("gamma") != std::string::npos || name.find("downsample.1") != std::string::npos);
        bool declared = kind == "lora"
                            ? name.ends_with("attn.qkv.weight") || name.ends_with("mlp.fc1.weight") || name.ends_with("mlp.fc2.weight")
                        : kind == "bitfit" ? name.ends_with("bias")
                        : kind == "norm"   ? norm
                                           : true;
        declared &= name != "mask_token";  // no feature is a function of it
        EXPECT_EQ(changed.contains(name), declared) << name;
        changed.erase(name);
      }
      EXPECT_TRUE(changed.empty()) << *changed.begin();  // running statistics
      for (const auto& [name, tensor] : values(*start)) EXPECT_TRUE(at::equal(tensor, before.at(name))) << "the start's " << name;
    }
  }
}

TEST(Finetune, BeginsWithTheFrozenNetwork) {
  const auto start = scaled_backbone();
  const at::NoGradGuard no_grad;
  const at::Tensor images = images_of(4), frozen = start->forward(images);
  for (const TuningMethod& method : tuning_methods()) {
    TunedNetwork tuned(*start, method, {}, some_head(start->feature_dim()), kSize, 0);
    tuned.bind();
    EXPECT_TRUE(at::equal(tuned.backbone().forward(images), frozen)) << method.name;
  }
}

// A block whose weights are frozen leaves their products out; what is left is the same to the last bit.
TEST(Finetune, FrozenWeightsCostOthersNothing) {
  const at::Tensor images = images_of(3);
  const auto gradients = [&](const std::function<bool(const std::string&)>& learns) {
    const auto network = small_backbone(3, 3);
    for (const auto& [name, tensor] : network->parameters()) tensor.set_requires_grad(learns(name));
    network->forward(images).square().sum().backward();
    std::map<std::string, at::Tensor> result;
    for (const auto& [name, tensor] : network->parameters())
      if (tensor.grad().defined()) result[name] = tensor.grad();
    return result;
  };
  const auto all = gradients([](const std::string&) { return true; });
  for (const char* kind : {"bias", "norm1.weight", "attn.qkv.weight", "mlp.fc1.weight"}) {
    const auto some = gradients([&](const std::string& name) { return name.ends_with(kind); });
    EXPECT_FALSE(some.empty());
    for (const auto& [name, gradient] : some) {
      EXPECT_TRUE(name.ends_with(kind)) << name;
      EXPECT_TRUE(at::equal(gradient, all.at(name))) << name;
    }
  }
}

// Adapters as branches of their own beside the frozen layers, put together here from the leaves.
TEST(Finetune, FactorsOfLowRankAreTheirProduct) {
  const auto start = scaled_backbone();
  TunedNetwork tuned(*start, tuning_method("lora"), {.rank = 2, .alpha = 6}, some_head(start->feature_dim()), kSize, 0);
  const at::NoGradGuard no_grad;
  std::map<std::string, at::Tensor> leaves;
  for (const auto& [name, tensor] : tuned.trainable()) {
    if (name.ends_with("lora_b")) tensor.copy_(at::sin(at::arange(tensor.numel(), at::kFloat)).view(tensor.sizes()) * 0.1);
    leaves[name] = tensor;
  }
  tuned.bind();
  const auto before = values(*start);
  for (const auto& [name, tensor] : values(tuned.backbone())) {
    if (!leaves.contains("backbone." + name + ".lora_a")) continue;
    const at::Tensor x = at::cos(at::arange(tensor.size(1), at::kFloat)), a = leaves["backbone." + name + ".lora_a"],
                     b = leaves["backbone." + name + ".lora_b"];
    const at::Tensor branch = at::mv(before.at(name), x) + 3.0 * at::mv(b, at::mv(a, x));
    EXPECT_LT((at::mv(tensor, x) - branch).abs().max().item<double>(), 1e-6) << name;
    EXPECT_FALSE(at::equal(tensor, before.at(name)));
  }
}

}  // namespace
}  // namespace dinoxx::eval
