// Copy detection: a part of the zero-shot step that looks at images itself.
#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "base/rng.hpp"
#include "eval/evidence/leaks.hpp"
#include "eval/features/perceptual_hash.hpp"
#include "eval/run/answers.hpp"
#include "ladder_sets.hpp"
#include "support/thread_ranks.hpp"

namespace dinoxx::testing_support {
namespace {

// Four colours in four quarters: an image that survives a crop, and of which no two are alike.
Image quarters(uint64_t id) {
  CounterRng rng(5, id, 0, Purpose::kEval);
  uint8_t color[2][2][3];
  for (auto& row : color)
    for (auto& cell : row)
      for (uint8_t& value : cell) value = static_cast<uint8_t>(rng.below(256));
  Image image{24, 24, {}};
  for (int y = 0; y < 24; ++y)
    for (int x = 0; x < 24; ++x)
      for (int c = 0; c < 3; ++c) image.data.push_back(color[y / 12][x / 12][c]);
  return image;
}

struct Pictures {
  MemoryDataset dataset;
  EvalData data;
  SplitFeatures features;
  Embedder embedder = pixel_embedder(16);
  ExtractOptions options{{0, 16}, imagenet_normalization(), 1};
};

Pictures make_pictures(int train, int test) {
  Pictures p;
  p.dataset.set_class_names({"a", "b"});
  for (int i = 0; i < train; ++i) p.dataset.add_image(Split::kTrain, i % 2, quarters(p.dataset.size()));
  for (int i = 0; i < test; ++i) p.dataset.add_image(Split::kTest, i % 2, quarters(p.dataset.size()));
  p.data = choose_eval_data(p.dataset, std::nullopt, 0);
  return p;
}

void embed(Pictures& p) {
  const auto comm = make_self_communicator();
  LocalFeatures local = embed_all(p.dataset, p.data, false, {&p.embedder, 1}, p.options, *comm);
  p.features = take_features(local, 0, p.data, *comm);
}

json copies(const Pictures& p, Communicator& comm, int threads = 1) {
  const KnnConfig knn;
  return clustering_protocol({p.dataset, p.data, p.embedder, p.features, knn, 0, threads, comm, &p.options}).scores["copies"];
}

TEST(Copies, AreFoundAmongAllImagesAndAFeatureThatKnowsNothingFindsNone) {
  Pictures p = make_pictures(61, 70);
  embed(p);
  const auto comm = make_self_communicator();
  const json found = copies(p, *comm);
  EXPECT_EQ(found["images"], 70);
  EXPECT_EQ(found["database"], 131);
  const json &mild = found["distortions"]["mild"], &strong = found["distortions"]["strong"];
  EXPECT_GT(mild["recall_at_1"].get<double>(), 0.9);
  EXPECT_GT(mild["muap"].get<double>(), 0.9);
  EXPECT_LT(strong["recall_at_1"].get<double>(), mild["recall_at_1"].get<double>());
  EXPECT_LT(strong["cosine"]["median"].get<double>(), mild["cosine"]["median"].get<double>());
  EXPECT_GT(mild["near_identical"].get<double>(), strong["near_identical"].get<double>());

  // the first pixel tells nothing that a crop keeps
  p.embedder.embed = [](const at::Tensor& images) { return at::ones({images.size(0), 2}) + 1e-3 * images.flatten(1).narrow(1, 0, 2); };
  p.embedder.dim = 2;
  embed(p);
  const json blind = copies(p, *comm);
  EXPECT_LT(blind["distortions"]["strong"]["recall_at_1"].get<double>(), 0.2);
  EXPECT_LT(blind["distortions"]["strong"]["muap"].get<double>(), 0.2);
}

TEST(Copies, TheSamePictureUnderAnotherNameIsRight) {
  Pictures p = make_pictures(4, 4);
  p.dataset.set_bytes(p.data.memory[0], encode_png(quarters(p.data.queries[2])));  // its copies find the memory's row first: the lower id
  embed(p);
  const auto comm = make_self_communicator();
  EXPECT_EQ(copies(p, *comm)["distortions"]["mild"]["correct"], 3);
  for (uint64_t id = 0; id < p.dataset.size(); ++id) p.dataset.set_content_id(id, {id + 1, 0});
  p.dataset.set_content_id(p.data.memory[0], p.dataset.content_id(p.data.queries[2]));
  EXPECT_EQ(copies(p, *comm)["distortions"]["mild"]["correct"], 4);
}

TEST(Copies, EqualAtAnyNumberOfRanksAndWithoutLabels) {
  Pictures p = make_pictures(30, 131);
  embed(p);
  const auto self = make_self_communicator();
  const json alone = copies(p, *self);
  for (const int size : {2, 3}) {
    run_thread_ranks(size, [&](const std::shared_ptr<Communicator>& comm) { EXPECT_EQ(copies(p, *comm, 2), alone) << size << " ranks"; });
  }
  std::reverse(p.data.query_labels.begin(), p.data.query_labels.end());
  p.data.query_labels[0] = 1 - p.data.query_labels[0];
  EXPECT_EQ(copies(p, *self), alone);
}

TEST(Copies, AreASampleOfManyAndLeftOutWithoutImages) {
  Pictures p = make_pictures(2, 520);
  embed(p);
  const auto comm = make_self_communicator();
  EXPECT_EQ(copies(p, *comm)["images"], 500);
  const KnnConfig knn;
  const ProtocolResult without = clustering_protocol({p.dataset, p.data, p.embedder, p.features, knn, 0, 1, *comm});
  EXPECT_EQ(without.scores["copies"]["left_out"], "no images available");
}

// Patches of many sizes and colours: no two are alike.
Image scene(uint64_t id) {
  CounterRng rng(11, id, 0, Purpose::kEval);
  Image image{48, 48, std::vector<uint8_t>(48 * 48 * 3, 128)};
  for (int patch = 0; patch < 40; ++patch) {
    const uint64_t left = rng.below(44), top = rng.below(44), width = 4 + rng.below(24), height = 4 + rng.below(24);
    const auto bright = static_cast<uint8_t>(rng.below(256));
    for (uint64_t y = top; y < std::min<uint64_t>(48, top + height); ++y)
      for (uint64_t x = left; x < std::min<uint64_t>(48, left + width); ++x)
        for (uint64_t c = 0; c < 3; ++c) image.data[(y * 48 + x) * 3 + c] = static_cast<uint8_t>((bright + c * 40) % 256);
  }
  return image;
}

Image mirrored(Image image) {
  const Image before = image;
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < image.width; ++x)
      for (int c = 0; c < 3; ++c) image.data[(y * image.width + x) * 3 + c] = before.data[(y * image.width + image.width - 1 - x) * 3 + c];
  return image;
}

Image doubled(const Image& image) {
  Image large{image.width * 2, image.height * 2, {}};
  for (int y = 0; y < large.height; ++y)
    for (int x = 0; x < large.width; ++x)
      for (int c = 0; c < 3; ++c) large.data.push_back(image.data[(y / 2 * image.width + x / 2) * 3 + c]);
  return large;
}

// As an encoder with losses leaves it.
Image noisy(Image image, uint64_t seed) {
  CounterRng rng(12, seed, 0, Purpose::kEval);
  for (uint8_t& value : image.data) value = static_cast<uint8_t>(std::clamp<int>(value + static_cast<int>(rng.below(25)) - 12, 0, 255));
  return image;
}

// 60 training images; test images of which the first seven are leaks: identical, noisy, mirrored, doubled, mirrored and doubled and noisy,
// of one group, identical with another label. Then one without structure, and 30 that are new.
struct Leaky {
  MemoryDataset dataset;
  EvalData data;
  SplitFeatures hashes;
};

void add_images(Leaky& set) {
  MemoryDataset& d = set.dataset;
  d.set_class_names({"a", "b"});
  for (uint64_t i = 0; i < 60; ++i) d.add_image(Split::kTrain, static_cast<int32_t>(i % 2), scene(i));
  const auto add = [&](const Image& image, int32_t label) { return d.add_image(Split::kTest, label, image); };
  add(scene(0), 0);
  add(noisy(scene(1), 1), 1);
  add(mirrored(scene(2)), 0);
  add(doubled(scene(3)), 1);
  add(noisy(doubled(mirrored(scene(4))), 2), 0);
  add(scene(100), 1);
  add(scene(6), 1);
  add(Image{48, 48, std::vector<uint8_t>(48 * 48 * 3, 90)}, 0);
  for (uint64_t i = 0; i < 30; ++i) add(scene(200 + i), static_cast<int32_t>(i % 2));
  d.add_image(Split::kTrain, 0, Image{48, 48, std::vector<uint8_t>(48 * 48 * 3, 200)});
  for (uint64_t id = 0; id < d.size(); ++id) d.set_content_id(id, {id + 1, 0});
  d.set_content_id(60, {1, 0});
  d.set_content_id(66, {7, 0});
  d.set_group(5, 3);
  d.set_group(65, 3);
}

void hash(Leaky& set, Communicator& comm) {
  set.data = choose_eval_data(set.dataset, std::nullopt, 0);
  const Embedder embedder = hash_embedder();
  LocalFeatures local = embed_all(set.dataset, set.data, true, {&embedder, 1}, {{37, 32}, imagenet_normalization(), 1}, comm);
  set.hashes = take_features(local, 0, set.data, comm);
}

TEST(Leaks, CopiesAreFoundWithoutFeaturesAndNothingElseIs) {
  Leaky set;
  add_images(set);
  const auto comm = make_self_communicator();
  hash(set, *comm);
  json checks = {{"warnings", json::array()}};
  const Leaks leaks = find_leaks(set.dataset, set.data, set.hashes, 0, 1, *comm, checks);
  ASSERT_EQ(leaks.queries.size(), 38u);
  for (size_t q = 0; q < 38; ++q) EXPECT_EQ(leaks.queries[q], q < 7) << q;
  ASSERT_EQ(leaks.list.size(), 7u);
  const char* kinds[] = {"identical pixels",    "near copy",  "near copy, mirrored", "near copy",
                         "near copy, mirrored", "same group", "identical pixels"};
  for (size_t q = 0; q < 7; ++q) {
    EXPECT_EQ(leaks.list[q].kind, kinds[q]) << q;
    EXPECT_EQ(leaks.list[q].other, q) << q;
  }
  EXPECT_EQ(checks["leaks"]["queries"], 7);
  EXPECT_EQ(checks["leaks"]["kinds"], json({{"identical", 2}, {"near_copy", 4}, {"same_group", 1}}));
  EXPECT_TRUE(checks["near_copies"]["tells_apart"].get<bool>());
  EXPECT_THAT(checks["warnings"].at(0).get<std::string>(), testing::HasSubstr("4 of 38 images of test are near copies of images of train"));
  const std::string table = leaks_csv(set.dataset, leaks);
  EXPECT_THAT(table, testing::HasSubstr("image66.png,test,b,identical pixels,,image6.png,train,a\n"));
  EXPECT_EQ(std::count(table.begin(), table.end(), '\n'), 8);
}

TEST(Leaks, EqualAtAnyNumberOfRanks) {
  Leaky set;
  add_images(set);
  const auto self = make_self_communicator();
  hash(set, *self);
  json alone = {{"warnings", json::array()}};
  const std::string table = leaks_csv(set.dataset, find_leaks(set.dataset, set.data, set.hashes, 0, 1, *self, alone));
  run_thread_ranks(3, [&](const std::shared_ptr<Communicator>& comm) {
    json checks = {{"warnings", json::array()}};
    EXPECT_EQ(leaks_csv(set.dataset, find_leaks(set.dataset, set.data, set.hashes, 0, 2, *comm, checks)), table);
    EXPECT_EQ(checks, alone);
  });
}

// One scene with small changes: a hash sees copies everywhere, and must not take test images away.
TEST(Leaks, ASetWhoseImagesAreAllAlikeHasNone) {
  Leaky set;
  set.dataset.set_class_names({"a", "b"});
  for (uint64_t i = 0; i < 60; ++i) {
    Image image = scene(1);
    const Image other = scene(300 + i);
    for (size_t k = 0; k < image.data.size(); ++k) image.data[k] = static_cast<uint8_t>((image.data[k] * 7 + other.data[k] * 3) / 10);
    set.dataset.add_image(i < 30 ? Split::kTrain : Split::kTest, static_cast<int32_t>(i % 2), image);
  }
  set.dataset.set_bytes(31, encode_png(noisy(scene(1), 5)));
  set.dataset.set_bytes(1, encode_png(scene(1)));
  const auto comm = make_self_communicator();
  hash(set, *comm);
  json checks = {{"warnings", json::array()}};
  const Leaks leaks = find_leaks(set.dataset, set.data, set.hashes, 0, 1, *comm, checks);
  EXPECT_TRUE(leaks.list.empty());
  EXPECT_TRUE(checks["warnings"].empty());
  EXPECT_FALSE(checks["near_copies"]["tells_apart"].get<bool>());
  ASSERT_TRUE(checks["near_copies"].contains("notes"));
  EXPECT_THAT(checks["near_copies"]["notes"].at(0).get<std::string>(), testing::HasSubstr("not counted as leaks"));
}

// Nearly all test images are copies: there is hardly an ordinary image to compare with.
TEST(Leaks, ATestSetOfCopiesIsOne) {
  Leaky set;
  set.dataset.set_class_names({"a", "b"});
  for (uint64_t i = 0; i < 40; ++i) set.dataset.add_image(Split::kTrain, static_cast<int32_t>(i % 2), scene(i));
  for (uint64_t i = 0; i < 24; ++i)
    set.dataset.add_image(Split::kTest, static_cast<int32_t>(i % 2), i < 22 ? noisy(scene(i), i) : scene(500 + i));
  const auto comm = make_self_communicator();
  hash(set, *comm);
  json checks = {{"warnings", json::array()}};
  EXPECT_EQ(find_leaks(set.dataset, set.data, set.hashes, 0, 1, *comm, checks).list.size(), 22u);
}

TEST(Leaks, EveryScoreIsGivenWithoutThemToo) {
  Set set = make_set({10, 10}, {12, 12});
  const auto comm = make_self_communicator();
  std::vector<bool> leaked(24);
  std::vector<int32_t> answers(24);
  for (size_t q = 0; q < 24; ++q) {
    leaked[q] = q % 12 < 11;                                // 22 of 24
    answers[q] = leaked[q] ? set.data.query_labels[q] : 1;  // of the others one of two is right
  }
  const Embedder embedder = kEmbedder;
  const auto score = [&] {
    std::vector<ProtocolAnswers> answered{
        {&protocols().front(), {{"results", json::array({{{"name", "teacher"}}})}}, {{{"vote", answers, {}, {}}}}}};
    json results;
    add_intervals(set.dataset, set.data, {}, {}, leaked, {&embedder, 1}, answered, results, EvaluateOptions{}, *comm);
    return std::pair(answered[0].section["results"][0]["methods"]["vote"], results);
  };
  const auto [vote, results] = score();
  EXPECT_DOUBLE_EQ(vote["accuracy"].get<double>(), 23.0 / 24);
  EXPECT_EQ(vote["without_leaks"]["count"], 2);
  EXPECT_DOUBLE_EQ(vote["without_leaks"]["accuracy"].get<double>(), 0.5);
  EXPECT_DOUBLE_EQ(vote["without_leaks"]["balanced_accuracy"].get<double>(), 0.5);
  EXPECT_DOUBLE_EQ(results["majority"]["without_leaks"]["accuracy"].get<double>(), 0.5);
  leaked.assign(24, true);
  EXPECT_TRUE(score().first["without_leaks"].is_null());
  EXPECT_THAT(score().first["undefined"]["without_leaks"].get<std::string>(), testing::HasSubstr("every test image"));
  leaked.assign(24, false);
  EXPECT_FALSE(score().first.contains("without_leaks"));
}

}  // namespace
}  // namespace dinoxx::testing_support
