// The same evaluation alone and over MPI ranks: equal in every digit, each image once.
#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "dinoxx/comm/mpi_communicator.hpp"
#include "dinoxx/comm/self_communicator.hpp"
#include "dinoxx/eval/blocks.hpp"
#include "dinoxx/eval/checks.hpp"
#include "dinoxx/eval/knn_suite.hpp"
#include "dinoxx/eval/ladder.hpp"
#include "dinoxx/eval/train_probe.hpp"
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
    const ExtractOptions options{{0, 16}, ViewPlan{}, 2};
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

TEST(EvalMpi, EveryStepOfTheLadderIsThatOfOneRank) {
  const auto comm = make_mpi_communicator(), self = make_self_communicator();
  const Embedder embedder = pixel_embedder(16);
  const KnnConfig knn;
  for (const int val : {0, 20}) {
    const auto data = class_dataset(131, 70, 5, 16, val);
    const EvalData chosen = choose_eval_data(*data, std::nullopt, 0);
    const ExtractOptions options{{0, 16}, ViewPlan{}, 2};
    LocalFeatures local = embed_all(*data, chosen, true, {&embedder, 1}, options, *comm), all = embed_all(*data, chosen, true, {&embedder, 1}, options, *self);
    const SplitFeatures gathered = take_features(local, 0, chosen, *comm), features = take_features(all, 0, chosen, *self);
    EXPECT_EQ(gathered.validation.defined(), val > 0);
    const StepInput together{*data, chosen, embedder, gathered, knn, 0, 2, *comm}, alone{*data, chosen, embedder, features, knn, 0, 1, *self};
    EXPECT_EQ(check_near_identical(together), check_near_identical(alone));
    for (const Step& step : ladder()) {
      const StepResult a = step.run(together), b = step.run(alone);
      EXPECT_EQ(a.scores.dump(), b.scores.dump()) << step.name;
      ASSERT_EQ(a.predictions.size(), b.predictions.size());
      for (size_t m = 0; m < a.predictions.size(); ++m) {
        EXPECT_EQ(a.predictions[m].classes, b.predictions[m].classes) << step.name;
        EXPECT_EQ(a.predictions[m].probabilities, b.predictions[m].probabilities) << step.name;
        EXPECT_EQ(a.predictions[m].details.dump(), b.predictions[m].details.dump()) << step.name;
      }
    }
  }
}

TEST(EvalMpi, FeaturesAreBitForBitThoseOfOneRankAndEachIdIsThereOnce) {
  const auto comm = make_mpi_communicator(), self = make_self_communicator();
  const VisionTransformer net = small_vit(2, 11);
  const Embedder embedder = backbone_embedder("untrained", "", net);
  const auto data = class_dataset(331, 1, 3);
  const std::vector<uint64_t> ids = data->ids(Split::kTrain);
  const FeatureSet alone = extract_features(*data, ids, {&embedder, 1}, {{0, 16}, ViewPlan{}, 1}, *self);
  const FeatureSet part = extract_features(*data, ids, {&embedder, 1}, {{0, 16}, ViewPlan{}, 2}, *comm);
  EXPECT_TRUE(at::equal(gather_rows(*comm, part.rows[0], 331), alone.rows[0]));
  const at::Tensor all_ids = gather_rows(*comm, part.ids, 331);
  for (int64_t i = 0; i < 331; ++i) ASSERT_EQ(all_ids[i].item<int64_t>(), static_cast<int64_t>(ids[i]));
}

TEST(EvalMpi, AnUnreadableImageIsReportedByEveryRankAndTheRanksStayInStep) {
  const auto comm = make_mpi_communicator();
  const auto data = class_dataset(331, 64, 3, 16, 32);
  data->set_bytes(330, {1, 2, 3});
  ProbeConfig config;
  config.image_size = 16;
  const TrainProbe probe(data, comm, config);
  const nlohmann::json result = probe(*small_backbone(2, 11), 3);
  ASSERT_TRUE(result.contains("error"));
  EXPECT_THAT(result["error"].get<std::string>(), HasSubstr("image330.png"));
  comm->barrier();
}

}  // namespace
}  // namespace dinoxx::eval
