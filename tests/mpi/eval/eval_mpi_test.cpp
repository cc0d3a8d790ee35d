// The same evaluation alone and over MPI ranks: equal in every digit, each image once.
#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "dinoxx/comm/mpi_communicator.hpp"
#include "dinoxx/comm/self_communicator.hpp"
#include "eval/features/blocks.hpp"
#include "eval/protocols/knn_protocol.hpp"
#include "eval/run/checks.hpp"
#include "eval/run/protocols.hpp"
#include "eval/run/train_probe.hpp"
#include "support/small_vit.hpp"
#include "support/synthetic_images.hpp"

namespace dinoxx::eval {
namespace {

using namespace dinoxx::testing_support;
using testing::HasSubstr;

TEST(EvalMpi, ScoresAndPredictionsAreThoseOfOneRank) {
  const auto comm = make_mpi_communicator(), self = make_self_communicator();
  const VisionTransformer net = small_vit(2, 11);
  const std::vector<Embedder> embedders{backbone_embedder("untrained", "", net), pixel_embedder(16)};
  // sizes that no number of ranks divides, and fewer images than ranks
  for (const auto& [train, test] : std::vector<std::pair<int, int>>{{2, 1}, {65, 67}, {331, 131}}) {
    const auto data = class_dataset(train, test, 11);
    const EvalData chosen = choose_eval_data(*data, std::nullopt, 0);
    const ExtractOptions options{{0, 16}, imagenet_normalization(), 2};
    const KnnReport alone = run_knn(*data, chosen, embedders, {}, options, *self);
    const KnnReport together = run_knn(*data, chosen, embedders, {}, options, *comm);
    EXPECT_EQ(together.protocol, alone.protocol);
    ASSERT_EQ(together.results.size(), 2u);
    for (size_t i = 0; i < 2; ++i) {
      EXPECT_EQ(together.results[i].scores, alone.results[i].scores);
      EXPECT_EQ(together.results[i].predictions, alone.results[i].predictions);
      EXPECT_EQ(together.results[i].scores["headline"]["count"], test);
    }
  }
}

// All that a step has found; equal words are equal bits.
std::string in_words(const ProtocolResult& result) {
  std::string words = result.scores.dump();
  for (const Prediction& prediction : result.predictions)
    words += nlohmann::json{prediction.method, prediction.classes, prediction.probabilities, prediction.details}.dump();
  return words;
}

TEST(EvalMpi, EveryStepOfTheLadderIsThatOfOneRank) {
  const auto comm = make_mpi_communicator(), self = make_self_communicator();
  const auto network = small_backbone(1, 3);  // says how many patches there are, for linseg
  const Embedder embedder = pixel_embedder(16, network.get());
  const KnnConfig knn;
  for (const int val : {0, 20}) {
    const auto data = class_dataset(131, 70, 5, 16, val);
    for (uint64_t id = 0; id < data->size(); ++id) {
      std::vector<uint8_t> mask(16 * 16);
      for (size_t p = 0; p < mask.size(); ++p) mask[p] = (p / 16 + p + id) % 16 < 9 ? 255 : 0;
      data->set_mask(id, encode_gray_png(mask, 16, 16));
    }
    const EvalData chosen = choose_eval_data(*data, std::nullopt, 0);
    const ExtractOptions options{{0, 16}, imagenet_normalization(), 2};
    LocalFeatures local = embed_all(*data, chosen, true, {&embedder, 1}, options, *comm),
                  all = embed_all(*data, chosen, true, {&embedder, 1}, options, *self);
    const SplitFeatures gathered = take_features(local, 0, chosen, *comm), features = take_features(all, 0, chosen, *self);
    EXPECT_EQ(gathered.validation.defined(), val > 0);
    const ProtocolInput together{*data, chosen, embedder, gathered, knn, 0, 2, *comm, &options},
        alone{*data, chosen, embedder, features, knn, 0, 1, *self, &options};
    EXPECT_EQ(check_near_identical(together), check_near_identical(alone));
    for (const Protocol& protocol : protocols()) {
      const std::string found = in_words(protocol.run(together));
      // what one rank alone finds, one rank alone computes: seven would take seven times as long
      if (comm->rank() == 0) {
        const ProtocolResult expected = protocol.run(alone);
        EXPECT_EQ(expected.scores.contains("object"), protocol.key == "linseg") << protocol.name;
        EXPECT_EQ(found, in_words(expected)) << protocol.name;
      }
      at::Tensor least = at::full({1}, static_cast<int64_t>(std::hash<std::string>{}(found)), at::kLong), largest = least.clone();
      comm->all_reduce(least, ReduceOp::kMin)->wait();
      comm->all_reduce(largest, ReduceOp::kMax)->wait();
      EXPECT_TRUE(at::equal(least, largest)) << protocol.name << ": the ranks have different results";
    }
  }
}

// What the ladder's test above leaves out: steps that look into a network.
TEST(EvalMpi, SweepAndFineTuningOfANetworkAreThoseOfOneRank) {
  const auto comm = make_mpi_communicator(), self = make_self_communicator();
  const auto network = small_backbone(2, 3);
  const Embedder embedder = backbone_embedder("teacher", "", *network);
  const auto data = class_dataset(41, 23, 3, 16, 11);
  const EvalData chosen = choose_eval_data(*data, std::nullopt, 0);
  const ExtractOptions options{{0, 16}, imagenet_normalization(), 1};
  const KnnConfig knn;
  FinetuneOptions finetune;
  finetune.methods = {"lora", "bitfit"};
  finetune.epochs = 2;
  finetune.batch = 9;  // less than two images for each of seven ranks
  finetune.loss = "logit_adjusted";
  LocalFeatures local = embed_all(*data, chosen, true, {&embedder, 1}, options, *comm),
                all = embed_all(*data, chosen, true, {&embedder, 1}, options, *self);
  const SplitFeatures gathered = take_features(local, 0, chosen, *comm), features = take_features(all, 0, chosen, *self);
  const ProtocolInput together{*data, chosen, embedder, gathered, knn, 0, 1, *comm, &options, 1, &finetune},
      alone{*data, chosen, embedder, features, knn, 0, 1, *self, &options, 1, &finetune};
  const ProtocolResult sweep = linear_probe_protocol(together), tuned = finetune_protocol(together);
  ASSERT_EQ(sweep.predictions.size(), 1u);
  ASSERT_EQ(tuned.predictions.size(), 2u);
  for (const ProtocolResult* result : {&sweep, &tuned}) {
    at::Tensor least = at::full({1}, static_cast<int64_t>(std::hash<std::string>{}(in_words(*result))), at::kLong), largest = least.clone();
    comm->all_reduce(least, ReduceOp::kMin)->wait();
    comm->all_reduce(largest, ReduceOp::kMax)->wait();
    EXPECT_TRUE(at::equal(least, largest)) << "the ranks have different results";
  }
  if (comm->rank() != 0) return;
  EXPECT_EQ(in_words(sweep), in_words(linear_probe_protocol(alone)));
  const ProtocolResult expected = finetune_protocol(alone);
  for (size_t m = 0; m < 2; ++m) {
    EXPECT_EQ(tuned.predictions[m].details["epoch"], expected.predictions[m].details["epoch"]);
    ASSERT_EQ(tuned.predictions[m].probabilities.size(), expected.predictions[m].probabilities.size());
    for (size_t i = 0; i < expected.predictions[m].probabilities.size(); ++i)
      ASSERT_NEAR(tuned.predictions[m].probabilities[i], expected.predictions[m].probabilities[i], 2e-4);  // the order of summation
  }
}

TEST(EvalMpi, FeaturesAreBitForBitThoseOfOneRankAndEachIdIsThereOnce) {
  const auto comm = make_mpi_communicator(), self = make_self_communicator();
  const VisionTransformer net = small_vit(2, 11);
  const Embedder embedder = backbone_embedder("untrained", "", net);
  const auto data = class_dataset(331, 1, 3);
  const std::vector<uint64_t> ids = data->ids(Split::kTrain);
  const FeatureSet alone = extract_features(*data, ids, {&embedder, 1}, {{0, 16}, imagenet_normalization(), 1}, *self);
  const FeatureSet part = extract_features(*data, ids, {&embedder, 1}, {{0, 16}, imagenet_normalization(), 2}, *comm);
  EXPECT_TRUE(at::equal(gather_blocks(*comm, part.rows[0], 331), alone.rows[0]));
  const at::Tensor all_ids = gather_blocks(*comm, part.ids, 331);
  for (int64_t i = 0; i < 331; ++i) ASSERT_EQ(all_ids[i].item<int64_t>(), static_cast<int64_t>(ids[i]));
}

TEST(EvalMpi, AnUnreadableImageIsReportedByEveryRankAndTheRanksStayInStep) {
  const auto comm = make_mpi_communicator();
  const auto data = class_dataset(331, 64, 3, 16, 32);
  data->set_bytes(330, {1, 2, 3});
  ProbeConfig config{imagenet_normalization()};
  config.image_size = 16;
  const TrainProbe probe(data, comm, config);
  const nlohmann::json result = probe(*small_backbone(2, 11), 3);
  ASSERT_TRUE(result.contains("error"));
  EXPECT_THAT(result["error"].get<std::string>(), HasSubstr("image330.png"));
  comm->barrier();
}

}  // namespace
}  // namespace dinoxx::eval
