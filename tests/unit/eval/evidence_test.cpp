// What a person is shown: neighbours, suspected labels, health and images of features, curves of rare classes.
#include "eval/evidence/evidence.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <cmath>

#include "base/csv.hpp"
#include "base/rng.hpp"
#include "dinoxx/comm/self_communicator.hpp"
#include "eval/evidence/feature_health.hpp"
#include "eval/evidence/feature_map.hpp"
#include "eval/evidence/feature_pictures.hpp"
#include "eval/statistics/ranking_curves.hpp"
#include "support/memory_dataset.hpp"
#include "support/thread_ranks.hpp"

namespace dinoxx::eval {
namespace {

using namespace dinoxx::testing_support;
using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr int64_t kDim = 12;

// Features of `classes` directions with noise; what the images show does not matter.
at::Tensor features(const std::vector<uint64_t>& ids, const std::vector<int32_t>& labels, double noise) {
  at::Tensor rows = at::zeros({static_cast<int64_t>(ids.size()), kDim}, at::kFloat);
  for (size_t i = 0; i < ids.size(); ++i) {
    CounterRng rng(7, ids[i], 0, Purpose::kEval);
    for (int64_t j = 0; j < kDim; ++j) rows[static_cast<int64_t>(i)][j] = noise * rng.normal();
    rows[static_cast<int64_t>(i)][labels[i]] += 1;
  }
  return normalize_rows(rows);
}

struct Set {
  MemoryDataset dataset;
  EvalData data;
  SplitFeatures features;
};

Set make_set(const std::vector<int>& train, const std::vector<int>& test, double noise = 0.1) {
  Set set;
  std::vector<std::string> names;
  for (size_t c = 0; c < train.size(); ++c) names.push_back("class" + std::to_string(c));
  set.dataset.set_class_names(names);
  const Image gray{8, 8, std::vector<uint8_t>(192, 128)};
  for (const auto& [split, counts] : {std::pair{Split::kTrain, train}, std::pair{Split::kTest, test}})
    for (size_t c = 0; c < counts.size(); ++c)
      for (int i = 0; i < counts[c]; ++i) set.dataset.add_image(split, static_cast<int32_t>(c), gray);
  set.data = choose_eval_data(set.dataset, std::nullopt, 0);
  set.features = {features(set.data.memory, set.data.memory_labels, noise), features(set.data.queries, set.data.query_labels, noise), {}};
  return set;
}

const Embedder kEmbedder{"teacher", "", kDim, {}};
const KnnConfig kKnn;

ProtocolInput input_of(const Set& set, Communicator& comm, const Embedder& embedder = kEmbedder, const ExtractOptions* images = nullptr,
                       int threads = 1) {
  return {set.dataset, set.data, embedder, set.features, kKnn, 0, threads, comm, images};
}

// Sure of all, wrong where the label says so.
Prediction answers_of(const Set& set, const std::vector<std::pair<size_t, int32_t>>& wrong) {
  Prediction prediction{"plain", set.data.query_labels, {}, {}};
  for (const auto& [query, answer] : wrong) prediction.classes[query] = answer;
  const auto classes = static_cast<size_t>(set.data.classes);
  prediction.probabilities.assign(set.data.queries.size() * classes, 0);
  for (size_t q = 0; q < set.data.queries.size(); ++q)
    prediction.probabilities[q * classes + static_cast<size_t>(prediction.classes[q])] = 1 - 0.001 * static_cast<double>(q);
  return prediction;
}

TEST(FeatureMap, ShowsAllImagesOfSmallClassesAndSomeOfLargeOnes) {
  const Set set = make_set({3, 3, 3}, {700, 20, 5});
  const auto comm = make_self_communicator();
  std::string csv;
  const json found = feature_map(input_of(set, *comm), "linear", answers_of(set, {{0, 2}}), csv);
  EXPECT_EQ(found["images"], 600);
  EXPECT_EQ(found["of"], 725);
  EXPECT_EQ(found["method"], json::parse(R"(["linear", "teacher", "plain"])"));
  EXPECT_GT(found["tsne"]["kept_neighbours"], 3 * found["by_chance"].get<double>());
  const CsvTable table = parse_csv(csv, "feature_map.csv");
  ASSERT_EQ(table.rows.size(), 601u);
  EXPECT_THAT(table.rows[0], ElementsAre("image", "label", "answer", "pca_1", "pca_2", "tsne_1", "tsne_2"));
  std::map<std::string, int> labels;
  int wrong = 0;
  for (size_t i = 1; i < table.rows.size(); ++i) {
    ++labels[table.rows[i][1]];
    wrong += table.rows[i][1] != table.rows[i][2] ? 1 : 0;
  }
  EXPECT_EQ(labels, (std::map<std::string, int>{{"class0", 575}, {"class1", 20}, {"class2", 5}}));
  EXPECT_EQ(wrong, 1);
}

TEST(FeatureMap, SaysWhenThereAreTooFewImages) {
  const Set set = make_set({3, 3}, {6, 5});
  const auto comm = make_self_communicator();
  std::string csv;
  EXPECT_EQ(feature_map(input_of(set, *comm), "linear", answers_of(set, {}), csv)["left_out"], "11 test images are too few for a map");
  EXPECT_EQ(csv, "");
}

TEST(LabelSuspicions, WrongLabelsAreFoundAndNoOthers) {
  Set set = make_set({40, 30, 20}, {2, 2, 2});
  const auto comm = make_self_communicator();
  EXPECT_EQ(label_suspicions(input_of(set, *comm))["suspected"], 0);
  EXPECT_EQ(label_suspicions(input_of(set, *comm))["right_without_itself"], 1.0);
  set.data.memory_labels[3] = 2;
  set.data.memory_labels[50] = 0;
  const json found = label_suspicions(input_of(set, *comm));
  EXPECT_EQ(found["suspected"], 2);
  EXPECT_EQ(found["examined"], 90);
  std::vector<std::string> keys;
  for (const json& image : found["images"]) keys.push_back(image["image"]);
  EXPECT_THAT(keys, testing::UnorderedElementsAre(set.dataset.key(set.data.memory[3]), set.dataset.key(set.data.memory[50])));
  EXPECT_EQ(found["images"].at(0)["share_of_label"], 0.0);
  EXPECT_GT(found["images"].at(0)["share_of_suggested"], 0.9);
  EXPECT_EQ(found["pairs"].size(), 2u);
  for (const json& image : found["images"])
    for (const json& neighbour : image["neighbours"]) EXPECT_NE(neighbour["image"], image["image"]);  // never itself
}

TEST(LabelSuspicions, SmallClassesAreLeftInPeace) {
  const Set set = make_set({40, 3}, {2, 2}, 3.0);  // neighbours of the three are of the other class
  const auto comm = make_self_communicator();
  const json found = label_suspicions(input_of(set, *comm));
  EXPECT_EQ(found["suspected"], 0);
  EXPECT_EQ(found["classes_too_small"], 1);
}

TEST(LabelSuspicions, ImagesOfTheSameGroupHaveNoVote) {
  Set set = make_set({30, 30}, {2, 2});
  // five images of one thing lie together amid class 0 and carry the label 1
  for (int64_t row = 0; row < 5; ++row) {
    set.data.memory_labels[static_cast<size_t>(row)] = 1;
    set.features.memory[row].copy_(set.features.memory[0]);
  }
  const auto comm = make_self_communicator();
  EXPECT_EQ(label_suspicions(input_of(set, *comm))["suspected"], 0);
  for (int64_t row = 0; row < 5; ++row) set.dataset.set_group(set.data.memory[static_cast<size_t>(row)], 0);
  EXPECT_EQ(label_suspicions(input_of(set, *comm))["suspected"], 5);
}

TEST(NeighbourEvidence, TheSurestMistakesFirstAndTwoOfAConfusionAtMost) {
  const Set set = make_set({40, 20, 10}, {6, 5, 4});
  const auto comm = make_self_communicator();
  const json found = neighbour_evidence(input_of(set, *comm), "linear", answers_of(set, {{0, 1}, {1, 1}, {2, 1}, {3, 2}, {12, 0}}));
  std::vector<std::string> images, why;
  for (const json& image : found["images"]) {
    images.push_back(image["image"]);
    why.push_back(image["why"]);
    ASSERT_EQ(image["neighbours"].size(), 5u);
    for (size_t n = 0; n < 5; ++n) {
      EXPECT_EQ(image["neighbours"][n]["label"], image["label"]);  // features stand apart
      EXPECT_LE(image["neighbours"][n]["similarity"], image["neighbours"][n == 0 ? 0 : n - 1]["similarity"]);
    }
  }
  const auto key = [&](size_t query) { return set.dataset.key(set.data.queries[query]); };
  // mistakes 0, 1 (not 2: the third of its confusion), 3, 12; then the rarest classes 2, 1, 0, without what is there already
  EXPECT_THAT(images, ElementsAre(key(0), key(1), key(3), key(12), key(11), key(6), key(4)));
  EXPECT_THAT(why, ElementsAre("mistake", "mistake", "mistake", "mistake", "rare class, right", "rare class, right", "rare class, right"));
  EXPECT_EQ(found["images"].at(0)["answer"], "class1");
  EXPECT_EQ(found["images"].at(0)["probability"], 1.0);
  EXPECT_EQ(found["method"], json({"linear", "teacher", "plain"}));
  Prediction without = answers_of(set, {{0, 1}});
  without.probabilities.clear();
  EXPECT_TRUE(neighbour_evidence(input_of(set, *comm), "knn", without)["images"].at(0)["probability"].is_null());
}

TEST(FeatureHealth, SpreadFeaturesAreHealthyAndCollapsedOnesAreNot) {
  Set set = make_set({200, 200}, {2, 2}, 1.0);
  for (int64_t row = 0; row < 400; ++row) {  // all around the sphere
    CounterRng rng(1, static_cast<uint64_t>(row), 0, Purpose::kEval);
    for (int64_t j = 0; j < kDim; ++j) set.features.memory[row][j] = rng.normal();
  }
  set.features.memory = normalize_rows(set.features.memory);
  const auto comm = make_self_communicator();
  const json healthy = feature_health(input_of(set, *comm));
  EXPECT_GT(healthy["effective_rank"], 0.98 * kDim);
  EXPECT_NEAR(healthy["deviation"].get<double>(), 1.0, 0.02);
  EXPECT_EQ(healthy["dead_dimensions"], 0.0);
  EXPECT_NEAR(healthy["mean_cosine"].get<double>(), 0.0, 0.01);
  EXPECT_NEAR(healthy["distance"].get<double>(), 2.0, 0.02);
  EXPECT_NEAR(healthy["alignment"].get<double>(), 2.0, 0.02);
  // E exp(4 cosine - 4) over the sphere in 12 dimensions: 1 + 8/12 + 32 * 3 / (12 * 14) / 3 + ...
  EXPECT_NEAR(healthy["uniformity"].get<double>(), -4 + std::log(1.9), 0.1);
  ASSERT_EQ(healthy["spectrum"].size(), 12u);
  EXPECT_NEAR(healthy["spectrum"].back()["up_to"].get<double>(), 1.0, 1e-12);
  set.features.memory.narrow(1, 6, 6).fill_(0);
  set.features.memory = normalize_rows(set.features.memory);
  EXPECT_EQ(feature_health(input_of(set, *comm))["dead_dimensions"], 0.5);
  set.features.memory.copy_(set.features.memory[0].clone().expand({400, kDim}));
  const json collapsed = feature_health(input_of(set, *comm));
  EXPECT_NEAR(collapsed["effective_rank"].get<double>(), 1.0, 1e-3);
  EXPECT_EQ(collapsed["dead_dimensions"], 1.0);
  EXPECT_NEAR(collapsed["uniformity"].get<double>(), 0.0, 1e-5);
  EXPECT_NEAR(collapsed["distance"].get<double>(), 0.0, 1e-5);
}

TEST(FeatureHealth, WhatIsNotDefinedHasAReason) {
  const auto comm = make_self_communicator();
  Set set = make_set({1, 1, 1}, {1, 1, 1});
  const json pairs = feature_health(input_of(set, *comm));
  EXPECT_TRUE(pairs["alignment"].is_null());
  EXPECT_THAT(pairs["undefined"]["alignment"].get<std::string>(), HasSubstr("no class has two"));
  EXPECT_TRUE(pairs["deviation"].is_number());
  set.features.memory = set.features.memory.narrow(0, 0, 1);
  const json one = feature_health(input_of(set, *comm));
  EXPECT_TRUE(one["spectrum"].is_null());
  EXPECT_NE(one["undefined"]["spectrum"], "");
}

TEST(RankingCurves, RareClassesWithTestImagesOnly) {
  const Set set = make_set({40, 3, 2, 9}, {5, 0, 3, 4});
  EXPECT_THAT(rarest_classes(set.data, 9), ElementsAre(2, 3, 0));
  const json curves = ranking_curves(set.dataset, set.data, answers_of(set, {{0, 2}}));
  ASSERT_EQ(curves["classes"].size(), 3u);
  const json& rare = curves["classes"].at(0);
  EXPECT_EQ(rare["name"], "class2");
  // the first image is taken for class 2 with the highest score of all, then come the three that are of it, then eight with a zero
  EXPECT_EQ(rare["roc"], json({{0.0, 0.0}, {1.0 / 9, 0.0}, {1.0 / 9, 1.0}, {1.0, 1.0}}));
  EXPECT_EQ(rare["pr"].at(0), json({0.0, 0.0}));
  EXPECT_DOUBLE_EQ(rare["operating_points"].at(0)["precision"].get<double>(), 2.0 / 3);
  EXPECT_EQ(rare["operating_points"].at(0)["answers"], 3);
  EXPECT_DOUBLE_EQ(rare["operating_points"].at(3)["recall"].get<double>(), 1.0);
  EXPECT_DOUBLE_EQ(rare["auroc"].get<double>(), 8.0 / 9);
  const Set one = make_set({4, 4}, {6, 0});
  const json undefined = ranking_curves(one.dataset, one.data, answers_of(one, {}))["classes"].at(0);
  for (const char* key : {"roc", "pr", "auroc", "operating_points"}) {
    EXPECT_TRUE(undefined[key].is_null()) << key;
    EXPECT_THAT(undefined["undefined"][key].get<std::string>(), HasSubstr("all test images are of the class"));
  }
}

TEST(ThinCurve, TheCornersOfAStaircaseStay) {
  std::vector<CurvePoint> stairs;
  for (int i = 0; i <= 60; ++i) stairs.push_back({i < 30 ? 0.0 : (i - 30) / 60.0, i < 30 ? i / 30.0 : 1.0});
  EXPECT_EQ(thin_curve(stairs, 100), (std::vector<CurvePoint>{stairs[0], stairs[30], stairs[60]}));
  EXPECT_EQ(thin_curve(stairs, 2).size(), 2u);
  EXPECT_EQ(thin_curve(std::vector<CurvePoint>{{0, 0}}, 5).size(), 1u);
}

// A network by hand: 4 x 4 patches of 3 numbers, two heads that look at the brightest.
Embedder seeing() {
  Embedder embedder = kEmbedder;
  embedder.patches = [](const at::Tensor& images) {
    return at::adaptive_avg_pool2d(images, {4, 4}).flatten(2).transpose(1, 2).contiguous();
  };
  embedder.attention = [](const at::Tensor& images) {
    const at::Tensor brightness = at::adaptive_avg_pool2d(images, {4, 4}).mean(1).flatten(1);
    return at::softmax(at::stack({brightness, 3 * brightness}, 1), -1);
  };
  return embedder;
}

void paint(Set& set, uint64_t id) {
  Image image{8, 8, {}};
  for (uint64_t i = 0; i < 192; ++i) image.data.push_back(static_cast<uint8_t>((i * 37 + id * 101) % 251));
  set.dataset.set_bytes(id, encode_png(image));
}

TEST(FeaturePictures, EachImageHasItsPanelsAndNumbers) {
  Set set = make_set({4, 4}, {3, 3});
  const std::vector<uint64_t> ids{set.data.queries[0], set.data.queries[4]};
  for (const uint64_t id : ids) paint(set, id);
  const ExtractOptions images{{0, 8}, imagenet_normalization(), 1};
  const auto comm = make_self_communicator();
  const Embedder embedder = seeing();
  const FeaturePictures pictures = feature_pictures(input_of(set, *comm, embedder, &images), ids);
  ASSERT_EQ(pictures.section["images"].size(), 2u);
  EXPECT_EQ(pictures.section["grid"], json({4, 4}));
  double explained = 0;
  for (const json& share : pictures.section["explained"]) explained += share.get<double>();
  EXPECT_NEAR(explained, 1.0, 1e-9);  // three numbers have three components
  size_t named = 0;
  for (const json& image : pictures.section["images"]) {
    for (const auto& [kind, file] : image["files"].items()) {
      for (const json& name : file.is_array() ? file : json::array({file})) {
        ++named;
        ASSERT_TRUE(pictures.files.contains(name)) << name;
        Image decoded;
        const std::string& png = pictures.files.at(name);
        decode_image({reinterpret_cast<const uint8_t*>(png.data()), png.size()}, decoded);
        EXPECT_EQ(decoded.width, 8);
      }
    }
    EXPECT_GT(image["attention"]["share_of_patches_with_60_percent"], 0.0);
    EXPECT_LE(image["norms"]["min"], image["norms"]["median"]);
  }
  EXPECT_EQ(named, pictures.files.size());
  EXPECT_EQ(named, 14u);
  // the input is the image itself
  Image input;
  const std::string& png = pictures.files.at("features_8_input.png");
  decode_image({reinterpret_cast<const uint8_t*>(png.data()), png.size()}, input);
  for (size_t i = 0; i < 192; ++i) EXPECT_NEAR(input.data[i], (i * 37 + ids[0] * 101) % 251, 1) << i;
}

TEST(FeaturePictures, WithoutPatchesThereIsAReason) {
  const Set set = make_set({4, 4}, {3, 3});
  const auto comm = make_self_communicator();
  const std::vector<uint64_t> ids{set.data.queries[0]};
  const FeaturePictures pictures = feature_pictures(input_of(set, *comm), ids);
  EXPECT_NE(pictures.section["left_out"], "");
  EXPECT_TRUE(pictures.files.empty());
}

TEST(Evidence, EqualAtAnyNumberOfRanksAndThreads) {
  Set set = make_set({70, 40, 23}, {9, 5, 4}, 0.6);
  const std::vector<uint64_t> ids{set.data.queries[0], set.data.queries[7]};
  for (const uint64_t id : ids) paint(set, id);
  const ExtractOptions images{{0, 8}, imagenet_normalization(), 1};
  const Embedder embedder = seeing();
  const auto all = [&](Communicator& comm, int threads) {
    const ProtocolInput input = input_of(set, comm, embedder, &images, threads);
    const FeaturePictures pictures = feature_pictures(input, ids);
    return std::pair{json{label_suspicions(input), neighbour_evidence(input, "knn", answers_of(set, {{0, 1}, {3, 2}})),
                          feature_health(input), pictures.section},
                     pictures.files};
  };
  const auto self = make_self_communicator();
  const auto alone = all(*self, 1);
  for (int size = 1; size <= 4; ++size)
    run_thread_ranks(size, [&](const std::shared_ptr<Communicator>& comm) {
      const auto together = all(*comm, 2);
      EXPECT_EQ(together.first.dump(), alone.first.dump()) << size << " ranks";
      EXPECT_EQ(together.second, alone.second);
    });
}

}  // namespace
}  // namespace dinoxx::eval
