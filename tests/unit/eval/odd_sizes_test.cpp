// Sets of awkward size: each step works or says why not, in bounded time and memory; and what a person sees meanwhile.
#include <gmock/gmock.h>

#include <condition_variable>
#include <mutex>

#include "dinoxx/base/error.hpp"
#include "eval/features/blocks.hpp"
#include "eval/run/evaluate.hpp"
#include "eval/run/progress.hpp"
#include "eval/run/train_probe.hpp"
#include "ladder_sets.hpp"
#include "support/small_vit.hpp"
#include "support/synthetic_images.hpp"
#include "support/thread_ranks.hpp"

namespace dinoxx::eval {
namespace {

using namespace dinoxx::testing_support;
using nlohmann::json;
using testing::HasSubstr;

TEST(OddSizes, TenThousandClassesAreScoredWhereItIsCheapAndLeftOutWithTheReasonElsewhere) {
  std::vector<int> train(10'000, 4), test(10'000, 0);
  for (size_t c = 0; c < test.size(); c += 50) test[c] = 1;
  const Set set = make_set(train, test);
  const auto scores = [&](const std::string& step) { return climb(set, 0.5, step).scores.at(step); };
  EXPECT_EQ(scores("knn")["methods"]["vote"]["count"], 200);
  const json few = scores("few");
  EXPECT_EQ(few["methods"]["simpleshot"]["count"], 200);
  EXPECT_FALSE(few["methods"].contains("logistic"));
  EXPECT_THAT(few["left_out"]["logistic"].get<std::string>(), HasSubstr("multiplications"));
  EXPECT_THAT(few["curve"].at(0)["methods"]["logistic"]["left_out"].get<std::string>(), HasSubstr("multiplications"));
  EXPECT_TRUE(few["curve"].at(0)["methods"]["nearest_mean"]["accuracy"]["mean"].is_number());
  EXPECT_THAT(scores("linear")["left_out"].get<std::string>(), HasSubstr("multiplications"));
  const json zero = scores("zero");
  EXPECT_TRUE(zero["clustering"]["accuracy"].is_null());
  EXPECT_THAT(zero["clustering"]["undefined"]["accuracy"].get<std::string>(), HasSubstr("k-means"));
  EXPECT_TRUE(zero["retrieval"]["map"].is_number());
}

TEST(OddSizes, TheProbabilitiesOfTooManyQueriesAreLeftOut) {
  Set set = make_set({2, 2}, {1, 1});
  set.data.classes = 100'000;
  set.data.queries.resize(1000, set.data.queries[0]);
  set.data.query_labels.resize(1000, 0);
  const SplitFeatures f = features_of(set.data, 0.1);
  const auto comm = make_self_communicator();
  const KnnConfig knn;
  EXPECT_THAT(logistic_protocol({set.dataset, set.data, kEmbedder, f, knn, 0, 1, *comm}).scores["left_out"].get<std::string>(),
              HasSubstr("probabilities"));
}

TEST(OddSizes, FewerTrainingImagesThanNeighbours) {
  const Set set = make_set({3, 2}, {4, 3});
  const json protocol = knn_settings(set.data, {});
  EXPECT_EQ(protocol["headline_k"], 5);
  EXPECT_FALSE(protocol["notes"].empty());
  for (const char* step : {"knn", "zero", "few", "linear"}) {
    const json scores = climb(set, 0.02, step).scores.at(step);
    const json methods = scores.value("methods", json::object());
    for (const auto& [method, of_method] : methods.items()) EXPECT_EQ(of_method["count"], 7) << step << method;
  }
}

TEST(OddSizes, AClassThatValLacksIsLearnedAndSaysNothingAboutSettings) {
  Set set;
  set.dataset.set_class_names({"a", "b", "c"});
  for (int i = 0; i < 60; ++i) set.dataset.add(Split::kTrain, i % 3);
  for (int i = 0; i < 10; ++i) set.dataset.add(Split::kVal, i % 2);
  for (int i = 0; i < 30; ++i) set.dataset.add(Split::kTest, i % 3);
  set.data = choose_eval_data(set.dataset, std::nullopt, 0);
  const json linear = climb(set, 0.05, "linear").scores.at("linear");
  EXPECT_EQ(linear["selection"]["by"], "val split");
  EXPECT_EQ(linear["selection"]["classes"], 2);
  EXPECT_EQ(linear["methods"]["plain"]["accuracy"], 1.0);
}

// Steps that look into a network, on images of 16 x 16 with masks; features by hand where the images are too many to embed.
struct Network {
  std::unique_ptr<Backbone> backbone = small_backbone(1, 3);
  Embedder embedder = backbone_embedder("teacher", "", *backbone);

  json run(const std::string& step, const Dataset& dataset, const EvalData& data, const SplitFeatures& f) const {
    const auto comm = make_self_communicator();
    const KnnConfig knn;
    const ExtractOptions images{{0, 16}, imagenet_normalization(), 1};
    FinetuneOptions finetune;
    finetune.methods = {"bitfit"};
    finetune.epochs = 1;
    for (const Protocol& known : protocols()) {
      if (step != known.key) continue;
      const ProtocolResult result = known.run({dataset, data, embedder, f, knn, 0, 1, *comm, &images, 1, &finetune});
      json scores = result.scores;
      for (const Prediction& prediction : result.predictions) {
        scores["methods"][prediction.method] = method_scores(dataset, data, prediction);
        for (const double p : prediction.probabilities) EXPECT_TRUE(std::isfinite(p) && p >= 0);
      }
      return scores;
    }
    ADD_FAILURE() << step;
    return {};
  }
  json run(const std::string& step, const Dataset& dataset) const {
    const auto comm = make_self_communicator();
    const EvalData data = choose_eval_data(dataset, std::nullopt, 0);
    LocalFeatures local = embed_all(dataset, data, true, {&embedder, 1}, {{0, 16}, imagenet_normalization(), 1}, *comm);
    return run(step, dataset, data, take_features(local, 0, data, *comm));
  }
};

std::vector<uint8_t> half_a_mask() {
  std::vector<uint8_t> mask(16 * 16);
  for (size_t p = 0; p < mask.size(); ++p) mask[p] = p % 16 < 8 ? 255 : 0;
  return encode_gray_png(mask, 16, 16);
}

// train[c], val[c] and test[c] images of class c.
MemoryDataset pictures(const std::vector<int>& train, const std::vector<int>& val, const std::vector<int>& test) {
  MemoryDataset dataset;
  std::vector<std::string> names;
  for (size_t c = 0; c < train.size(); ++c) names.push_back("class" + std::to_string(c));
  dataset.set_class_names(names);
  const std::vector<uint8_t> mask = half_a_mask();
  for (const auto& [split, counts] : {std::pair{Split::kTrain, &train}, std::pair{Split::kVal, &val}, std::pair{Split::kTest, &test}})
    for (size_t c = 0; c < counts->size(); ++c)
      for (int i = 0; i < (*counts)[c]; ++i)
        dataset.set_mask(dataset.add_image(split, static_cast<int32_t>(c), class_image(static_cast<int>(c), dataset.size())), mask);
  return dataset;
}

TEST(OddSizesOfNetworks, OneImageOfEachClassAndNoVal) {
  const Network network;
  const MemoryDataset dataset = pictures({1, 1, 1}, {}, {2, 2, 2});
  const json sweep = network.run("sweep", dataset);
  EXPECT_THAT(sweep["selection"]["not_chosen"].get<std::string>(), HasSubstr("no class has two training images"));
  EXPECT_EQ(sweep["methods"]["best_head"]["count"], 6);
  EXPECT_THAT(network.run("finetune", dataset)["left_out"].get<std::string>(), HasSubstr("no class has two training images"));
  const json linseg = network.run("linseg", dataset);
  EXPECT_TRUE(linseg["object"]["pixel"]["miou"].is_number());
  EXPECT_EQ(linseg["images"]["train"].get<int>() + linseg["images"]["validation"].get<int>(), 3);
}

TEST(OddSizesOfNetworks, AClassThatASplitLacks) {
  const Network network;
  for (const int lacking : {0, 1, 2}) {  // class 2 in train, val, test
    std::vector<std::vector<int>> counts{{6, 5, 4}, {2, 2, 2}, {3, 3, 3}};
    counts[static_cast<size_t>(lacking)][2] = 0;
    const MemoryDataset dataset = pictures(counts[0], counts[1], counts[2]);
    for (const auto& [step, method] : {std::pair{"sweep", "best_head"}, std::pair{"finetune", "bitfit"}}) {
      SCOPED_TRACE(std::string(step) + " without class 2 in split " + std::to_string(lacking));
      const json scores = network.run(step, dataset)["methods"][method];
      EXPECT_EQ(scores["count"], lacking == 2 ? 6 : 9);
      const json& row = scores["classes"].at(2);
      EXPECT_EQ(row["memory"], lacking == 0 ? 0 : 4);
      if (lacking == 0) {
        EXPECT_EQ(row["recall"], 0.0);
      }
      if (lacking == 2) {
        EXPECT_FALSE(row["undefined"]["recall"].get<std::string>().empty());
      }
    }
    const json linseg = network.run("linseg", dataset);
    EXPECT_TRUE(linseg["object"]["pixel"]["miou"].is_number());
    EXPECT_TRUE(linseg["classes"]["pixel"]["miou"].is_number());
    EXPECT_EQ(linseg["images"]["queries"], lacking == 2 ? 6 : 9);
  }
}

TEST(OddSizesOfNetworks, TenThousandClassesAreLeftOutWithTheReason) {
  const Network network;
  constexpr int kMany = 10'000;
  MemoryDataset dataset;
  std::vector<std::string> names(kMany, "class");
  dataset.set_class_names(names);
  for (int i = 0; i < 3 * kMany; ++i) dataset.add(Split::kTrain, i % kMany);
  for (int i = 0; i < 20; ++i) dataset.add(Split::kTest, i);
  const EvalData data = choose_eval_data(dataset, std::nullopt, 0);
  const SplitFeatures f{features(data.memory, data.memory_labels, 0.5, 32), features(data.queries, data.query_labels, 0.5, 32), {}};
  EXPECT_THAT(network.run("finetune", dataset, data, f)["left_out"].get<std::string>(), HasSubstr("multiplications"));
  // the sweep's limit is beyond these classes for a network as small as this
  const Network deep{small_backbone(4, 3)};
  EvalData more = data;
  more.classes = 2 * kMany;
  EXPECT_THAT(deep.run("sweep", dataset, more, f)["left_out"].get<std::string>(), HasSubstr("multiplications"));
}

TEST(OddSizesOfNetworks, ATableOfPatchesForTooManyClassesIsLeftOutAndObjectsAreNot) {
  const Network network;
  std::vector<int> train(60'000), test(60'000);
  for (size_t c = 0; c < 40; ++c) train[c] = 1, test[c] = c < 4 ? 35 : 0;
  const json linseg = network.run("linseg", pictures(train, {}, test));
  EXPECT_THAT(linseg["classes"]["left_out"].get<std::string>(), HasSubstr("its intervals would need"));
  EXPECT_TRUE(linseg["object"]["pixel"]["miou"].is_number());
}

// Lines that were shown, and a way to wait for one.
class Lines {
 public:
  void add(const std::string& line) {
    const std::lock_guard lock(mutex_);
    all_.push_back(line);
    changed_.notify_all();
  }
  std::string wait_for(const std::string& words) {
    std::unique_lock lock(mutex_);
    std::string found;
    changed_.wait(lock, [&] {
      for (const std::string& line : all_)
        if (line.find(words) != std::string::npos) found = line;
      return !found.empty();
    });
    return found;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> all_;
};

TEST(Progress, ImagesOfAllRanksWithTheirRateAndTasksOfEachList) {
  const auto comm = make_self_communicator();
  Lines lines;
  const ProgressScope scope([&](const std::string& line) { lines.add(line); }, 0.001);
  progress_phase("features", 8, 2000);
  std::string seen;
  for (int list = 0; list < 2; ++list) {
    for_each_block(4 * kEvalBlock, {0, 4 * kEvalBlock}, 1, [&](int64_t block, ItemRange) {
      if (list == 1 && block == 2) seen = lines.wait_for("features: 1500 of 2000 images");
    });
  }
  EXPECT_THAT(seen, HasSubstr("images/s, "));
  EXPECT_THAT(seen, HasSubstr("left"));
  progress_phase("linear of teacher (step 1 of 2)");
  for (int list = 0; list < 2; ++list)
    run_tasks(*comm, 3 + list, 1, 1, [&](int64_t task, double*) {
      if (task == 1)
        seen =
            lines.wait_for(list == 0 ? "linear of teacher (step 1 of 2): 1 of 3 parts" : "linear of teacher (step 1 of 2): 1 of 4 parts");
    });
  EXPECT_THAT(seen, HasSubstr("left"));
}

TEST(Progress, NothingWithoutAScope) {
  EXPECT_EQ(current_progress(), nullptr);
  progress_phase("nobody looks");
  {
    const ProgressScope silent({}, 1);
    EXPECT_EQ(current_progress(), nullptr);
  }
  const ProgressScope scope([](const std::string&) {}, 1);
  EXPECT_NE(current_progress(), nullptr);
}

TEST(TrainProbeSteps, EachStepHasNumbersOnValAtAnyNumberOfRanksAndTestIsNeverLookedAt) {
  const auto data = class_dataset(131, 70, 3, 16, 20);
  for (const uint64_t id : data->ids(Split::kTest)) data->set_bytes(id, {1, 2, 3});  // who reads it fails
  const auto teacher = small_backbone(1, 5);
  ProbeConfig config{imagenet_normalization()};
  config.image_size = 16;
  config.protocols = probe_names();
  json alone;
  for (const int ranks : {1, 3}) {
    run_thread_ranks(ranks, [&](std::shared_ptr<Communicator> comm) {
      json result = TrainProbe(data, comm, config)(*teacher, 7);
      if (comm->rank() != 0) return;
      ASSERT_FALSE(result.contains("error")) << result;
      result.erase("seconds");
      if (ranks == 1) alone = result;
      EXPECT_EQ(result, alone);
    });
  }
  EXPECT_EQ(alone["suite"], "knn,zero,few,linear,linseg");
  EXPECT_EQ(alone["queries"], "val");
  EXPECT_EQ(alone["count"], 20);
  EXPECT_TRUE(alone["accuracy"].is_number());
  const json& steps = alone["steps"];
  EXPECT_FALSE(steps.contains("knn"));
  for (const char* figure : {"plain_accuracy", "class_weighted_balanced_accuracy", "logit_adjusted_accuracy"})
    EXPECT_TRUE(steps["linear"][figure].is_number()) << figure;
  for (const char* figure : {"cluster_accuracy", "nmi", "ari", "map"}) EXPECT_TRUE(steps["zero"][figure].is_number()) << figure;
  for (const char* figure : {"simpleshot_accuracy", "simpleshot_accuracy_of_1"}) EXPECT_TRUE(steps["few"][figure].is_number()) << figure;
  EXPECT_THAT(steps["linseg"]["left_out"].get<std::string>(), HasSubstr("masks"));
  EXPECT_THROW(parse_names("knn,finetune", probe_names(), "eval.suite"), UsageError);  // it would train networks inside training
}

TEST(TrainProbeSteps, WithoutKnnThereIsNoKnn) {
  const auto data = class_dataset(40, 0, 2, 16, 12);
  ProbeConfig config{imagenet_normalization()};
  config.image_size = 16;
  config.protocols = {"logistic"};
  const json result = TrainProbe(data, make_self_communicator(), config)(*small_backbone(1, 5), 7);
  ASSERT_FALSE(result.contains("error")) << result;
  EXPECT_FALSE(result.contains("accuracy"));
  EXPECT_TRUE(result["steps"]["linear"]["plain_accuracy"].is_number());
}

}  // namespace
}  // namespace dinoxx::eval
