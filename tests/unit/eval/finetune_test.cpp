// Light fine-tuning: what learns and what does not, where it begins, which epoch answers, what it never looks at, what it leaves behind.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>

#include <set>

#include "base/rng.hpp"
#include "dinoxx/comm/self_communicator.hpp"
#include "eval/features/model_source.hpp"
#include "eval/finetune/finetuned_head.hpp"
#include "eval/finetune/tuner.hpp"
#include "eval/run/protocols.hpp"
#include "formats/safetensors.hpp"
#include "model/backbones/resnet.hpp"
#include "model/weights/import.hpp"
#include "model/weights/weights.hpp"
#include "support/memory_dataset.hpp"
#include "support/small_vit.hpp"
#include "support/temporary_folder.hpp"
#include "support/thread_ranks.hpp"

namespace nlohmann {
// googletest would print a value as a container of values, without end.
static void PrintTo(const json& value, std::ostream* out) {
  *out << value.dump();
}
}  // namespace nlohmann

namespace dinoxx::eval {
namespace {

using namespace dinoxx::testing_support;
using nlohmann::json;
using testing::HasSubstr;

constexpr int kSize = 16, kClasses = 3;

// Class c: a tint that noise hides in part. A long tail: class c has 1 / (c + 1) of the images of class 0.
MemoryDataset tinted(int train, int val, int test, int shift_test_labels = 0) {
  MemoryDataset data;
  data.set_class_names({"red", "green", "blue"});
  const auto add = [&](Split split, int of_first, int shift) {
    for (int label = 0; label < kClasses; ++label) {
      for (int i = 0; i < std::max(of_first > 0 ? 1 : 0, of_first / (label + 1)); ++i) {
        CounterRng rng(9, data.size(), 0, Purpose::kEval);
        Image image{kSize, kSize, std::vector<uint8_t>(kSize * kSize * 3)};
        for (int p = 0; p < kSize * kSize; ++p)
          for (int c = 0; c < 3; ++c) image.data[3 * p + c] = static_cast<uint8_t>((c == label ? 60 : 20) + rng.below(160));
        data.add_image(split, (label + shift) % kClasses, image);
      }
    }
  };
  add(Split::kTrain, train, 0);
  add(Split::kVal, val, 0);
  add(Split::kTest, test, shift_test_labels);
  return data;
}

// No published one: who forgets it falls back to another.
const Normalization kInput{{0.6f, 0.4f, 0.3f}, {0.2f, 0.3f, 0.25f}};

FinetuneOptions quick(const std::vector<std::string>& methods) {
  FinetuneOptions options;
  options.methods = methods;
  options.epochs = 3;
  options.batch = 8;
  options.rank = 2;
  options.alpha = 4;
  return options;
}

ProtocolResult run(const Dataset& dataset, const FinetuneOptions& options, Communicator& comm, const Embedder& embedder,
                   std::optional<FinetuneOffer>* offer = nullptr) {
  const EvalData data = choose_eval_data(dataset, std::nullopt, 0);
  const ExtractOptions images{{0, kSize}, kInput, 1};
  LocalFeatures local = embed_all(dataset, data, true, {&embedder, 1}, images, comm);
  const SplitFeatures features = take_features(local, 0, data, comm);
  const KnnConfig knn;
  ProtocolInput input{dataset, data, embedder, features, knn, 0, 1, comm, &images};
  input.finetune = &options;
  input.finetune_offer = offer;
  return finetune_protocol(input);
}

ProtocolResult run(const Dataset& dataset, const FinetuneOptions& options, const Backbone& network, const char* name = "teacher") {
  const auto comm = make_self_communicator();
  return run(dataset, options, *comm, backbone_embedder(name, "", network));
}

TunedHead some_head(int64_t dim) {
  const at::Tensor numbers = at::arange(kClasses * dim, at::kDouble);
  return {at::sin(numbers).view({kClasses, dim}) * 0.3, at::cos(at::arange(kClasses, at::kDouble)) * 0.1};
}

at::Tensor images_of(int64_t count) {
  return at::sin(at::arange(count * 3 * kSize * kSize, at::kFloat) * 0.7).view({count, 3, kSize, kSize});
}

std::map<std::string, at::Tensor> values(const Backbone& network) {
  std::map<std::string, at::Tensor> result;
  for (const auto& [name, tensor] : stored_state(network)) result[name] = tensor.detach().clone();
  return result;
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

std::unique_ptr<Backbone> convolutional_backbone() {
  ResNetConfig config = resnet_config("resnet18");
  config.width = 8;
  config.small_image_stem = true;
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

TEST(Finetune, LearnsAndTheBestEpochAnswers) {
  const MemoryDataset dataset = tinted(24, 12, 12);
  const auto network = small_backbone(2, 3);
  FinetuneOptions options = quick({});
  options.epochs = 6;
  options.patience = 2;
  options.lr = {3e-3};
  const ProtocolResult result = run(dataset, options, *network);
  ASSERT_EQ(result.predictions.size(), tuning_methods().size());
  EXPECT_EQ(result.scores["selection"]["by"], "val split");
  EXPECT_EQ(result.scores["selection"]["classes"], 3);
  for (const Prediction& prediction : result.predictions) {
    SCOPED_TRACE(prediction.method);
    const json& d = prediction.details;
    size_t best = 0;
    const auto better = [](const json& a, const json& b) {
      return a["mean_recall"] > b["mean_recall"] || (a["mean_recall"] == b["mean_recall"] && a["loss"] < b["loss"]);
    };
    for (size_t e = 1; e < d["epochs"].size(); ++e)
      if (better(d["epochs"][e], d["epochs"][best])) best = e;
    EXPECT_EQ(d["epoch"], best);
    EXPECT_EQ(d["validation"]["mean_recall"], d["epochs"][best]["mean_recall"]);
    EXPECT_EQ(d["epochs"].size(), std::min<size_t>(7, best + 1 + 2));
    EXPECT_EQ(d["stopped_early"], d["epochs"].size() < 7);
    EXPECT_TRUE(d["calibration"]["before"].contains("classwise_ece_equal_mass"));  // as the linear step
    int64_t binned = 0;
    for (const json& bin : d["calibration"]["reliability"]) binned += bin["images"].get<int64_t>();
    EXPECT_EQ(binned, prediction.classes.size());
    EXPECT_EQ(d["calibration"].contains("reliability_after"), d["temperature"].is_number());
    for (size_t q = 0; q < prediction.classes.size(); ++q) {
      double sum = 0;
      for (int c = 0; c < kClasses; ++c) sum += prediction.probabilities[q * kClasses + c];
      EXPECT_NEAR(sum, 1, 1e-12);
    }
  }
  const auto share = [&](size_t m) { return result.predictions.at(m).details["trainable_share"].get<double>(); };
  EXPECT_LT(share(1), 0.3);
  EXPECT_LT(share(2), 0.3);
  EXPECT_GT(share(0), 0.999);
  const json& full = result.predictions.at(4).details;
  EXPECT_EQ(full["epochs"].at(0)["mean_recall"], 1.0 / 3);  // a head of zeros says the first class
  EXPECT_GT(full["validation"]["mean_recall"].get<double>(), 0.5) << full.dump();
  EXPECT_LT(full["epochs"].at(full["epochs"].size() - 1)["train_loss"].get<double>(), full["epochs"].at(1)["train_loss"].get<double>());
}

// What answers is the weights of the best epoch, not of the last: a rate that destroys the network leaves the start.
TEST(Finetune, ARateThatDestroysLeavesTheStart) {
  const MemoryDataset dataset = tinted(24, 12, 12);
  const auto network = small_backbone(2, 3);
  FinetuneOptions options = quick({"lp-ft"});
  const ProtocolResult none = run(dataset, options, *network);
  options.lr = {30.0};
  options.epochs = 2;
  const ProtocolResult destroyed = run(dataset, options, *network);
  EXPECT_EQ(destroyed.predictions.at(0).details["epoch"], 0);
  EXPECT_THAT(destroyed.predictions.at(0).details["note"].get<std::string>(), HasSubstr("no epoch improved on the start"));
  options.lr = {30.0, 2e-5};
  options.epochs = 3;
  const ProtocolResult tried = run(dataset, options, *network);
  EXPECT_EQ(tried.predictions.at(0).details["rates_tried"].size(), 2u);
  const json& of_none = none.predictions.at(0).details;
  EXPECT_EQ(tried.predictions.at(0).details["lr"], of_none["epoch"] == 0 ? 30.0 : 2e-5);
}

// Timed once: near the limit the network and its untrained twin are both run, or neither is.
TEST(Finetune, WhatIsDecidedForTheFirstNetworkHoldsForTheOthers) {
  const MemoryDataset dataset = tinted(12, 6, 6);
  const auto network = small_backbone(1, 3);
  const auto comm = make_self_communicator();
  const Embedder teacher = backbone_embedder("teacher", "", *network), untrained = backbone_embedder("untrained", "", *network);
  FinetuneOptions options = quick({});
  options.by_name = false;
  options.epochs = 1;
  for (const bool runs : {false, true}) {
    std::optional<FinetuneOffer> offer;
    options.max_minutes = runs ? 1e9 : 0;
    const ProtocolResult first = run(dataset, options, *comm, teacher, &offer);
    ASSERT_TRUE(offer);
    EXPECT_EQ(offer->runs, runs);
    EXPECT_EQ(first.predictions.size(), runs ? tuning_methods().size() : 0u);
    options.max_minutes = runs ? 0 : 1e9;  // by itself it would decide otherwise
    const ProtocolResult second = run(dataset, options, *comm, untrained, &offer);
    EXPECT_EQ(second.predictions.size(), runs ? 1u : 0u);
    EXPECT_EQ(second.scores.contains("offered"), !runs);
    // one method of five, by the same timing
    EXPECT_DOUBLE_EQ(first.run["estimate_minutes"].get<double>(), 5 * second.run["estimate_minutes"].get<double>());
  }
}

TEST(Finetune, ClassesThatTheEpochIsChosenOnAreCounted) {
  // 6, 3 and 2 images, a fifth of them held out: the fold that chooses lacks a class
  const ProtocolResult result = run(tinted(6, 0, 6), quick({"norm"}), *small_backbone(1, 3));
  EXPECT_EQ(result.scores["selection"]["classes"], 2) << result.scores["selection"].dump();
}

TEST(Finetune, TestLabelsChangeNothing) {
  const auto network = small_backbone(1, 3);
  for (const int val : {0, 6}) {
    const MemoryDataset dataset = tinted(18, val, 9), shuffled = tinted(18, val, 9, 1);
    FinetuneOptions options = quick({"lora", "full"});
    options.epochs = 2;
    const ProtocolResult one = run(dataset, options, *network), two = run(shuffled, options, *network);
    EXPECT_EQ(one.scores.dump(), two.scores.dump());
    ASSERT_EQ(one.predictions.size(), 2u);
    for (size_t m = 0; m < 2; ++m) {
      EXPECT_EQ(one.predictions.at(m).classes, two.predictions.at(m).classes);
      EXPECT_EQ(one.predictions.at(m).probabilities, two.predictions.at(m).probabilities);
      json details[] = {one.predictions.at(m).details, two.predictions.at(m).details};
      for (json& of_one : details) of_one.erase("calibration");  // scores of the answers
      EXPECT_EQ(details[0].dump(), details[1].dump());
    }
    // without a val split a part of train is not learned from
    EXPECT_EQ(one.scores["selection"]["training_images"].get<int>() + (val > 0 ? 0 : one.scores["selection"]["images"].get<int>()), 33);
  }
}

TEST(Finetune, RanksAgree) {
  const MemoryDataset dataset = tinted(15, 6, 70);
  const auto network = small_backbone(1, 3);
  FinetuneOptions options = quick({"lora", "full"});
  options.epochs = 2;
  options.batch = 5;
  options.ema = 0.5;
  options.loss = "logit_adjusted";
  options.sampler = "repeat_factor";
  const ProtocolResult alone = run(dataset, options, *network);
  for (const int ranks : {2, 4}) {
    std::vector<ProtocolResult> all(static_cast<size_t>(ranks));
    run_thread_ranks(ranks, [&](const std::shared_ptr<Communicator>& comm) {
      all[static_cast<size_t>(comm->rank())] = run(dataset, options, *comm, backbone_embedder("teacher", "", *network));
    });
    for (const ProtocolResult& result : all) {
      for (size_t m = 0; m < 2; ++m) {
        EXPECT_EQ(result.predictions.at(m).probabilities, all[0].predictions.at(m).probabilities);  // bit for bit on all ranks
        EXPECT_EQ(result.predictions.at(m).details["epoch"], alone.predictions.at(m).details["epoch"]);
        for (size_t i = 0; i < alone.predictions.at(m).probabilities.size(); ++i)
          ASSERT_NEAR(result.predictions.at(m).probabilities[i], alone.predictions.at(m).probabilities[i], 2e-4);
      }
    }
  }
}

TEST(Finetune, RefusalsSayWhy) {
  const auto vit = small_backbone(1, 3);
  const auto comm = make_self_communicator();
  const auto left_out = [](const ProtocolResult& result) { return result.scores.value("left_out", std::string()); };
  EXPECT_THAT(left_out(run(tinted(12, 0, 6), quick({}), *comm, pixel_embedder(kSize))), HasSubstr("no weights"));
  EXPECT_THAT(left_out(run(tinted(1, 0, 6), quick({}), *vit)), HasSubstr("no class has two training images"));
  EXPECT_EQ(left_out(run(tinted(1, 3, 6), quick({"norm"}), *vit)), "");  // a val split says which epoch
  // a convolutional network has nothing that lora adapts; the others work
  const auto resnet = convolutional_backbone();
  const ProtocolResult conv = run(tinted(8, 4, 4), quick({"lora", "norm"}), *resnet);
  EXPECT_THAT(conv.scores["left_out_methods"]["lora"].get<std::string>(), HasSubstr("vision transformer"));
  ASSERT_EQ(conv.predictions.size(), 1u);
  EXPECT_EQ(conv.predictions.at(0).method, "norm");
  EXPECT_THAT(left_out(run(tinted(8, 4, 4), quick({"lora"}), *resnet)), HasSubstr("none of the methods"));
  // a class of the queries that train lacks is never said
  MemoryDataset lacking = tinted(8, 4, 4);
  lacking.add_image(Split::kTest, 3, Image{kSize, kSize, std::vector<uint8_t>(kSize * kSize * 3)});
  lacking.set_class_names({"red", "green", "blue", "black"});
  const ProtocolResult result = run(lacking, quick({"bitfit"}), *vit);
  ASSERT_EQ(result.predictions.size(), 1u);
  for (size_t q = 0; q < result.predictions.at(0).classes.size(); ++q) EXPECT_EQ(result.predictions.at(0).probabilities[4 * q + 3], 0);
  // what nobody named and takes long is offered
  FinetuneOptions unasked = quick({});
  unasked.by_name = false;
  unasked.max_minutes = 0;
  const ProtocolResult offered = run(tinted(8, 4, 4), unasked, *vit);
  EXPECT_TRUE(offered.predictions.empty());
  EXPECT_THAT(left_out(offered), HasSubstr("--protocol finetune"));
  EXPECT_GT(offered.run["estimate_minutes"].get<double>(), 0);
  // the untrained network of the same shape is trained from the start and nothing else
  const ProtocolResult untrained = run(tinted(8, 4, 4), quick({"norm", "full"}), *vit, "untrained");
  ASSERT_EQ(untrained.predictions.size(), 1u);
  EXPECT_EQ(untrained.predictions.at(0).method, "full");
  EXPECT_TRUE(untrained.files.empty());
}

TEST(Finetune, FilesHoldWhatLearned) {
  const TemporaryFolder folder;
  const MemoryDataset dataset = tinted(12, 6, 6);
  const auto network = small_backbone(1, 3);
  FinetuneOptions options = quick({"lora"});
  options.epochs = 1;
  options.save = "merged";
  options.lr = {1e-2};
  options.checkpoint = {{"crc32c", "0badcafe"}};
  const ProtocolResult result = run(dataset, options, *network);
  ASSERT_EQ(result.files.size(), 2u);
  for (const ProtocolFile& file : result.files) file.write(folder.path() / file.name);

  const SafetensorsFile changed(folder.path() / "finetune_lora.safetensors");
  const json about = json::parse(changed.metadata().at("dinoxx.finetune"));
  EXPECT_EQ(about["method"], "lora");
  EXPECT_EQ(about["checkpoint"]["crc32c"], "0badcafe");
  EXPECT_EQ(about["lora"]["rank"], 2);
  EXPECT_EQ(about["classes"], json({"red", "green", "blue"}));
  EXPECT_EQ(changed.tensors().size(), 2u * 2 + 3);
  EXPECT_EQ(to_tensor(changed.at("head.weight")).sizes(), at::IntArrayRef({kClasses, 32}));

  // the merged file is a checkpoint, and the network that the adapters make of the start
  const std::filesystem::path merged = folder.path() / "finetune_lora_merged.safetensors";
  const LoadedModel model = load_model({.checkpoint = merged, .which = {}, .step = {}, .model_settings = {}});
  const ImportedBackbone imported = import_backbone(merged, at::kFloat);
  const auto before = values(*network), after = values(*model.network), again = values(*imported.backbone);
  for (const auto& [name, tensor] : before) {
    EXPECT_TRUE(at::equal(after.at(name), again.at(name)));
    if (!changed.tensors().contains("backbone." + name + ".lora_a")) {
      EXPECT_TRUE(at::equal(after.at(name), tensor)) << name;
      continue;
    }
    const at::Tensor a = to_tensor(changed.at("backbone." + name + ".lora_a")), b = to_tensor(changed.at("backbone." + name + ".lora_b"));
    EXPECT_LT((after.at(name) - (tensor + 2.0 * at::mm(b, a))).abs().max().item<double>(), 1e-6);
  }
}

// What predict reads: features of the merged network and the head beside it give the step's answers.
TEST(Finetune, AMergedFileAnswersAsTheStepDid) {
  const TemporaryFolder folder;
  const MemoryDataset dataset = tinted(12, 6, 6);
  const auto network = small_backbone(2, 3);
  FinetuneOptions options = quick({"full"});
  options.save = "merged";
  options.lr = {1e-3};
  const ProtocolResult result = run(dataset, options, *network);
  for (const ProtocolFile& file : result.files) file.write(folder.path() / file.name);
  const std::filesystem::path merged = folder.path() / "finetune_full_merged.safetensors";
  const LoadedModel model = load_model({.checkpoint = merged, .which = {}, .step = {}, .model_settings = {}});
  for (const char* name : {"finetune_full.safetensors", "finetune_full_merged.safetensors"})
    EXPECT_EQ(parse_normalization(SafetensorsFile(folder.path() / name).metadata().at(kNormalizationKey), name), kInput);
  const Normalization& input = model.normalization.value().values;  // of the file
  const FinetunedHead head = read_finetuned_head(merged, dataset, kClasses);
  EXPECT_EQ(head.temperature, result.predictions.at(0).details["temperature"]);
  const EvalData data = choose_eval_data(dataset, std::nullopt, 0);
  const at::NoGradGuard no_grad;
  const at::Tensor features = model.network->forward(read_images(dataset, data.queries, {{0, kSize}, input, 1}));
  const at::Tensor p = at::softmax(head.model.logits(normalize_rows(features)), -1);
  for (int64_t q = 0; q < p.size(0); ++q)
    for (int64_t c = 0; c < kClasses; ++c)
      EXPECT_NEAR(p[q][c].item<double>(), result.predictions.at(0).probabilities[static_cast<size_t>(q * kClasses + c)], 1e-5);

  MemoryDataset renamed = tinted(12, 6, 6);
  renamed.set_class_names({"red", "green", "violet"});
  EXPECT_THROW(read_finetuned_head(merged, renamed, kClasses), UsageError);
  EXPECT_THROW(read_finetuned_head(folder.path() / "finetune_full.safetensors", dataset, kClasses), UsageError);
}

}  // namespace
}  // namespace dinoxx::eval
