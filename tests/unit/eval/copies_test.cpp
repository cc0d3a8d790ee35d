// Copy detection: a part of the zero-shot step that looks at images itself.
#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "base/rng.hpp"
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

}  // namespace
}  // namespace dinoxx::testing_support
