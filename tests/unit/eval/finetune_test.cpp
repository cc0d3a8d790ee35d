// Light fine-tuning as a protocol: which epoch answers, what it never looks at, what it refuses. Its network: tuned_network_test.cpp.
#include <gmock/gmock.h>

#include "dinoxx/comm/self_communicator.hpp"
#include "eval/finetune/tuner.hpp"
#include "eval/run/protocols.hpp"
#include "finetune_runs.hpp"
#include "support/memory_dataset.hpp"
#include "support/small_vit.hpp"
#include "support/thread_ranks.hpp"

namespace dinoxx::eval {
namespace {

using namespace dinoxx::testing_support;
using nlohmann::json;
using testing::HasSubstr;

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

}  // namespace
}  // namespace dinoxx::eval
