#include "eval/protocols/knn_protocol.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "dinoxx/comm/self_communicator.hpp"
#include "eval/run/train_probe.hpp"
#include "support/small_vit.hpp"
#include "support/synthetic_images.hpp"
#include "support/thread_ranks.hpp"

namespace dinoxx::eval {
namespace {

using namespace dinoxx::testing_support;
using nlohmann::json;
using testing::HasSubstr;

TEST(KnnSuite, SeparableClassesAreAllRightAndTheCountsAreThere) {
  const auto data = class_dataset(90, 30, 3);
  const EvalData chosen = choose_eval_data(*data, std::nullopt, 0);
  const Embedder embedder = pixel_embedder(16);
  const auto comm = make_self_communicator();
  const KnnReport report = run_knn(*data, chosen, {&embedder, 1}, {}, {{0, 16}, imagenet_normalization(), 2}, *comm);
  const json& scores = report.results.at(0).scores;
  EXPECT_EQ(scores["headline"]["accuracy"], 1.0);
  EXPECT_EQ(scores["headline"]["k"], 20);
  EXPECT_EQ(scores["headline"]["count"], 30);
  EXPECT_FALSE(scores["headline"].contains("top5"));  // three classes
  EXPECT_EQ(scores["by_k"].size(), 2u);               // 10 and 20 of 90
  ASSERT_EQ(scores["classes"].size(), 3u);
  EXPECT_EQ(scores["classes"].at(1)["name"], "class1");
  EXPECT_EQ(scores["classes"].at(1)["memory"], 30);
  EXPECT_EQ(scores["classes"].at(1)["queries"], 10);
  EXPECT_EQ(scores["classes"].at(1)["recall"], 1.0);
  EXPECT_EQ(report.protocol["k_left_out"], json::array({100, 200}));
  EXPECT_EQ(report.protocol["memory"]["images"], 90);
  EXPECT_THAT(report.protocol["notes"].dump(), HasSubstr("the memory holds 90 images"));
  EXPECT_EQ(report.results.at(0).predictions, chosen.query_labels);
}

TEST(KnnSuite, RecallOfAClassWithoutQueriesIsNullNotZero) {
  MemoryDataset data;
  data.set_class_names({"a", "b", "c"});
  for (int i = 0; i < 30; ++i) data.add_image(Split::kTrain, i % 3, class_image(i % 3, i));
  for (int i = 0; i < 4; ++i) data.add_image(Split::kTest, i % 2, class_image(i % 2, 100 + i));
  const Embedder embedder = pixel_embedder(16);
  const auto comm = make_self_communicator();
  const KnnReport report =
      run_knn(data, choose_eval_data(data, std::nullopt, 0), {&embedder, 1}, {}, {{0, 16}, imagenet_normalization(), 1}, *comm);
  const json& scores = report.results.at(0).scores;
  EXPECT_TRUE(scores["classes"].at(2)["recall"].is_null());
  EXPECT_EQ(scores["headline"]["balanced_accuracy"], 1.0);
}

TEST(KnnSuite, EqualAtAnyNumberOfRanksAlsoWithFewerImagesThanRanks) {
  for (const auto& [train, test] : std::vector<std::pair<int, int>>{{2, 1}, {90, 30}, {300, 131}}) {
    const auto data = class_dataset(train, test, 12);
    const EvalData chosen = choose_eval_data(*data, std::nullopt, 0);
    const Embedder embedder = pixel_embedder(16);
    const auto self = make_self_communicator();
    const KnnReport alone = run_knn(*data, chosen, {&embedder, 1}, {}, {{0, 16}, imagenet_normalization(), 1}, *self);
    EXPECT_EQ(alone.results.at(0).scores["headline"]["count"], test);
    EXPECT_TRUE(alone.results.at(0).scores["headline"].contains("top5"));
    for (int size = 2; size <= 4; ++size) {
      run_thread_ranks(size, [&, train = train](const std::shared_ptr<Communicator>& rank_comm) {
        Communicator& comm = *rank_comm;
        const KnnReport report = run_knn(*data, chosen, {&embedder, 1}, {}, {{0, 16}, imagenet_normalization(), 2}, comm);
        EXPECT_EQ(report.results.at(0).scores, alone.results.at(0).scores) << train << " images, " << size << " ranks";
        EXPECT_EQ(report.results.at(0).predictions, alone.results.at(0).predictions);
        EXPECT_EQ(report.protocol, alone.protocol);
      });
    }
  }
}

TEST(KnnSuite, AnImageCountedTwiceIsAnError) {
  const auto data = class_dataset(90, 30, 3);
  EvalData chosen = choose_eval_data(*data, std::nullopt, 0);
  chosen.queries[5] = chosen.queries[4];
  const Embedder embedder = pixel_embedder(16);
  const auto comm = make_self_communicator();
  EXPECT_THROW(run_knn(*data, chosen, {&embedder, 1}, {}, {{0, 16}, imagenet_normalization(), 1}, *comm), Error);
}

TEST(KnnSuite, NumbersThatAreNotFiniteAreAnError) {
  const auto data = class_dataset(90, 30, 3);
  const Embedder broken{"broken", "", 4, [](const at::Tensor& images) { return at::full({images.size(0), 4}, NAN); }};
  const auto comm = make_self_communicator();
  EXPECT_THROW(run_knn(*data, choose_eval_data(*data, std::nullopt, 0), {&broken, 1}, {}, {{0, 16}, imagenet_normalization(), 1}, *comm),
               Error);
}

ProbeConfig probe_config() {
  ProbeConfig config{imagenet_normalization()};
  config.image_size = 16;
  return config;
}

TEST(TrainProbe, ScoresValAndLeavesTheTeacherAndTheGraphAlone) {
  const auto data = class_dataset(90, 30, 3, 16, 21);
  const auto teacher = small_backbone(1, 7);
  std::vector<at::Tensor> before;
  for (const NamedTensor& p : teacher->parameters()) {
    p.tensor.set_requires_grad(true);
    before.push_back(p.tensor.detach().clone());
  }
  const TrainProbe probe(data, make_self_communicator(), probe_config());
  EXPECT_EQ(probe.off_reason(), "");
  const json result = probe(*teacher, 42);
  EXPECT_FALSE(result.contains("error")) << result;
  EXPECT_EQ(result["step"], 42);
  EXPECT_EQ(result["queries"], "val");
  EXPECT_EQ(result["count"], 21);
  EXPECT_EQ(result["k"], 20);
  EXPECT_EQ(result["by_k"]["20"], result["accuracy"]);
  for (size_t i = 0; i < before.size(); ++i) {
    const at::Tensor& parameter = teacher->parameters()[i].tensor;
    EXPECT_TRUE(at::equal(parameter.detach(), before[i]));
    EXPECT_FALSE(parameter.grad().defined());
    EXPECT_TRUE(parameter.requires_grad());
  }
  json again = probe(*teacher, 42);
  again["seconds"] = result["seconds"];
  EXPECT_EQ(again, result);
}

TEST(TrainProbe, FailureIsReportedNotThrown) {
  const auto data = class_dataset(90, 30, 3, 16, 21);
  const auto never_initialized = small_backbone(1);  // NaN
  const TrainProbe probe(data, make_self_communicator(), probe_config());
  const json result = probe(*never_initialized, 1);
  ASSERT_TRUE(result.contains("error"));
  EXPECT_THAT(result["error"].get<std::string>(), HasSubstr("finite"));
}

TEST(TrainProbe, DataThatCannotBeScoredTurnsItOff) {
  const auto data = std::make_shared<MemoryDataset>();
  for (int i = 0; i < 10; ++i) data->add_image(Split::kTrain, -1, class_image(0, i));
  const TrainProbe probe(data, make_self_communicator(), probe_config());
  EXPECT_THAT(probe.off_reason(), HasSubstr("labels"));
  const auto teacher = small_backbone(1);
  EXPECT_TRUE(probe(*teacher, 0).contains("error"));
}

}  // namespace
}  // namespace dinoxx::eval
