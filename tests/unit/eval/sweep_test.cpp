// The sweep of linear heads: on a small network, at several numbers of ranks, with shuffled labels of the queries.
#include "eval/protocols/linear_probe.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <set>

#include "base/rng.hpp"
#include "dinoxx/comm/self_communicator.hpp"
#include "eval/protocols/linear_probe_parts.hpp"
#include "eval/run/protocols.hpp"
#include "model/backbones/last_blocks.hpp"
#include "support/small_vit.hpp"
#include "support/synthetic_images.hpp"
#include "support/thread_ranks.hpp"

namespace dinoxx::eval {
namespace {

using namespace dinoxx::testing_support;
using testing::HasSubstr;

const ExtractOptions kImages{{0, 16}, imagenet_normalization(), 1};

ProtocolResult sweep(const Dataset& dataset, const EvalData& data, const Backbone& network, int views, Communicator& comm, int threads = 1,
                     std::optional<int64_t> pool = std::nullopt) {
  const Embedder embedder = backbone_embedder("untrained", "", network);
  const KnnConfig knn;
  const ProtocolInput input{.dataset = dataset,
                            .data = data,
                            .embedder = embedder,
                            .features = {},
                            .knn = knn,
                            .seed = 5,
                            .threads = threads,
                            .comm = comm,
                            .images = &kImages,
                            .linear_probe_views = views};
  return pool ? run_linear_probe(input, *pool) : linear_probe_protocol(input);
}

ProtocolResult sweep(const Dataset& dataset, const EvalData& data, const Backbone& network, int views) {
  const auto comm = make_self_communicator();
  return sweep(dataset, data, network, views, *comm);
}

double accuracy(const ProtocolResult& result, const EvalData& data) {
  const auto& classes = result.predictions.at(0).classes;
  int64_t right = 0;
  for (size_t i = 0; i < classes.size(); ++i) right += classes[i] == data.query_labels[i];
  return static_cast<double>(right) / static_cast<double>(classes.size());
}

TEST(Sweep, LearnsWhatTheNetworkShowsAndSaysWhatEachHeadDid) {
  const auto dataset = class_dataset(120, 40, 4);
  const EvalData data = choose_eval_data(*dataset, std::nullopt, 0);
  const auto network = small_backbone(5, 11);
  for (const int views : {0, 2}) {
    const ProtocolResult result = sweep(*dataset, data, *network, views);
    ASSERT_EQ(result.predictions.size(), 1U);
    EXPECT_GT(accuracy(result, data), 0.9) << views;  // colours tell the classes apart, chance is 0.25
    const Prediction& best = result.predictions.at(0);
    EXPECT_EQ(best.probabilities.size(), 40U * 4U);
    for (size_t q = 0; q < 40; ++q) {
      const auto row = best.probabilities.begin() + static_cast<int64_t>(4 * q);
      EXPECT_NEAR(std::accumulate(row, row + 4, 0.0), 1, 1e-12);
      EXPECT_EQ(std::max_element(row, row + 4) - row, best.classes[q]);
    }
    const nlohmann::json& tried = best.details["selection"];
    ASSERT_EQ(tried.size(), 52U);
    std::set<std::string> heads;
    double most = 0;
    for (const nlohmann::json& head : tried) {
      heads.insert(fmt::format("{}{}{}", head["blocks"].dump(), head["mean_of_patches"].dump(), head["learning_rate"].dump()));
      most = std::max(most, head["mean_recall"].get<double>());
    }
    EXPECT_EQ(heads.size(), 52U);
    const auto first = std::find_if(tried.begin(), tried.end(), [&](const nlohmann::json& head) { return head["mean_recall"] == most; });
    EXPECT_EQ(best.details["head"]["learning_rate"], (*first)["learning_rate"]);
    EXPECT_EQ(best.details["head"]["blocks"], (*first)["blocks"]);
    const nlohmann::json& training = result.scores["training"];
    EXPECT_EQ(training["images"], 96);  // a fifth is held out
    EXPECT_EQ(training["iterations"], 500);
    EXPECT_EQ(training["views_per_image"], std::max(views, 1));
    EXPECT_EQ(result.scores["selection"]["images"], 24);
  }
}

TEST(Sweep, IsTheSameAtAnyNumberOfRanksAndThreads) {
  const auto dataset = class_dataset(131, 70, 5, 16, 20);
  const EvalData data = choose_eval_data(*dataset, std::nullopt, 0);
  const auto network = small_backbone(4, 3);
  const ProtocolResult alone = sweep(*dataset, data, *network, 2);
  EXPECT_EQ(alone.scores["selection"]["by"], "val split");
  EXPECT_EQ(alone.scores["training"]["images"], 131);
  for (const int ranks : {2, 3, 7})
    run_thread_ranks(ranks, [&](const std::shared_ptr<Communicator>& comm) {
      const ProtocolResult together = sweep(*dataset, data, *network, 2, *comm, 2);
      EXPECT_EQ(together.scores.dump(), alone.scores.dump());
      EXPECT_EQ(together.predictions.at(0).classes, alone.predictions.at(0).classes);
      EXPECT_EQ(together.predictions.at(0).probabilities, alone.predictions.at(0).probabilities);
      EXPECT_EQ(together.predictions.at(0).details.dump(), alone.predictions.at(0).details.dump());
    });
}

// More images than are held at once: learned from in parts, here 240 crops in 3.
TEST(Sweep, LearnsInPartsWhereTheCropsAreTooManyToHold) {
  const auto dataset = class_dataset(120, 40, 4, 16, 20);
  const EvalData data = choose_eval_data(*dataset, std::nullopt, 0);
  const auto network = small_backbone(4, 11);
  const int64_t pool = 100 * 5 * 32;  // numbers of 100 crops
  const auto self = make_self_communicator();
  const ProtocolResult alone = sweep(*dataset, data, *network, 2, *self, 1, pool), whole = sweep(*dataset, data, *network, 2, *self);
  EXPECT_GT(accuracy(alone, data), 0.9);
  EXPECT_EQ(alone.scores.dump(), whole.scores.dump());  // the same crops, as often
  EXPECT_NE(alone.predictions.at(0).probabilities, whole.predictions.at(0).probabilities);
  run_thread_ranks(3, [&](const std::shared_ptr<Communicator>& comm) {
    const ProtocolResult together = sweep(*dataset, data, *network, 2, *comm, 2, pool);
    EXPECT_EQ(together.predictions.at(0).probabilities, alone.predictions.at(0).probabilities);
    EXPECT_EQ(together.predictions.at(0).details.dump(), alone.predictions.at(0).details.dump());
  });
}

TEST(Sweep, NothingLooksAtTheLabelsOfTheQueries) {
  const auto dataset = class_dataset(60, 40, 4);
  const EvalData data = choose_eval_data(*dataset, std::nullopt, 0);
  EvalData shuffled = data;
  std::rotate(shuffled.query_labels.begin(), shuffled.query_labels.begin() + 1, shuffled.query_labels.end());
  ASSERT_NE(shuffled.query_labels, data.query_labels);
  const auto network = small_backbone(2, 11);
  const ProtocolResult a = sweep(*dataset, data, *network, 1), b = sweep(*dataset, shuffled, *network, 1);
  EXPECT_EQ(a.scores.dump(), b.scores.dump());
  EXPECT_EQ(a.predictions.at(0).classes, b.predictions.at(0).classes);
  EXPECT_EQ(a.predictions.at(0).probabilities, b.predictions.at(0).probabilities);
  EXPECT_EQ(a.predictions.at(0).details.dump(), b.predictions.at(0).details.dump());
}

TEST(Sweep, AConvolutionalNetworkHasItsLastMapAloneAndOneImagePerClassLeavesNothingToChooseOn) {
  const auto dataset = class_dataset(4, 8, 4);
  const EvalData data = choose_eval_data(*dataset, std::nullopt, 0);
  ResNetConfig config;
  config.depths = {1, 1, 1, 1};
  config.width = 4;
  config.small_image_stem = true;
  const auto network = make_backbone(config, at::kFloat);
  network->initialize(1);
  EXPECT_EQ(offered_blocks(*network), 1);
  EXPECT_THROW(last_blocks(*network, at::zeros({1, 3, 16, 16}), 2), UsageError);
  const ProtocolResult result = sweep(*dataset, data, *network, 0);
  EXPECT_EQ(result.scores["training"]["heads"], 26);
  EXPECT_THAT(result.scores["selection"]["not_chosen"].get<std::string>(), HasSubstr("no class has two training images"));
  EXPECT_EQ(result.predictions.at(0).details["head"]["learning_rate"], kProbeRates[6]);
  EXPECT_TRUE(result.predictions.at(0).details["selection"].empty());
}

TEST(Sweep, PixelsHaveNoBlocks) {
  const auto dataset = class_dataset(8, 8, 4);
  const EvalData data = choose_eval_data(*dataset, std::nullopt, 0);
  const auto comm = make_self_communicator();
  const KnnConfig knn;
  const Embedder pixels = pixel_embedder(16);
  const ProtocolResult result = linear_probe_protocol({*dataset, data, pixels, {}, knn, 0, 1, *comm, &kImages});
  EXPECT_TRUE(result.predictions.empty());
  EXPECT_THAT(result.scores["left_out"].get<std::string>(), HasSubstr("no network"));
}

// What a row holds, block by block, against the network itself.
TEST(Sweep, RowsAreTheBlocksOfTheNetwork) {
  const auto network = small_backbone(3, 11);
  const auto vit = small_vit(3, 11);
  CounterRng rng(1, 0, 0, Purpose::kEval);
  at::Tensor images = at::empty({2, 3, 16, 16});
  for (int64_t i = 0; i < images.numel(); ++i) images.data_ptr<float>()[i] = static_cast<float>(rng.normal());
  const at::Tensor row = last_blocks_row(*network, images, 3);
  ASSERT_EQ(row.sizes(), (std::vector<int64_t>{2, 4 * 32}));
  const Features last = vit.forward_features({images, nullptr, {}, false});
  EXPECT_TRUE(at::allclose(row.narrow(1, 64, 32), last.cls, 1e-5, 1e-6));
  EXPECT_TRUE(at::allclose(row.narrow(1, 96, 32), last.patches.mean(1), 1e-5, 1e-6));
  const std::vector<Features> blocks = vit.last_blocks(images, 3);
  for (int64_t b = 0; b < 3; ++b) EXPECT_TRUE(at::allclose(row.narrow(1, 32 * b, 32), blocks[b].cls, 1e-5, 1e-6)) << b;
  EXPECT_FALSE(at::allclose(row.narrow(1, 0, 32), row.narrow(1, 32, 32), 1e-2, 1e-2));
}

// The columns that heads see are the published ones: CLS of the last n blocks, earliest first, then the mean of the last block's patches.
TEST(Sweep, InputsOfHeads) {
  const std::vector<HeadInput> inputs = head_inputs(10, 12);
  ASSERT_EQ(inputs.size(), 4U);
  const auto is = [](const HeadInput& input, int blocks, bool average, int64_t begin, int64_t width) {
    return input.blocks == blocks && input.average == average && input.begin == begin && input.width == width;
  };
  EXPECT_TRUE(is(inputs[0], 1, false, 30, 10));
  EXPECT_TRUE(is(inputs[1], 1, true, 30, 20));
  EXPECT_TRUE(is(inputs[2], 4, false, 0, 40));
  EXPECT_TRUE(is(inputs[3], 4, true, 0, 50));
  EXPECT_EQ(head_inputs(10, 2).back().width, 30);
  EXPECT_EQ(head_inputs(10, 1).size(), 2U);
  EXPECT_EQ(probe_iterations(10), 500);
  EXPECT_EQ(probe_iterations(1280), 1000);
  EXPECT_EQ(probe_iterations(1281167), 12500);
}

}  // namespace
}  // namespace dinoxx::eval
