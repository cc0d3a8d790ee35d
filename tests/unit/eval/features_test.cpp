#include "eval/features/features.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>

#include "dinoxx/comm/self_communicator.hpp"
#include "eval/classify/knn.hpp"
#include "eval/features/blocks.hpp"
#include "support/small_vit.hpp"
#include "support/synthetic_images.hpp"
#include "support/thread_ranks.hpp"

namespace dinoxx::eval {
namespace {

using namespace dinoxx::testing_support;
using testing::HasSubstr;

TEST(EvalFeatures, TransformLeavesImagesOfTheModelsSizeAlone) {
  MemoryDataset data;
  data.add(Split::kTrain, 0, {}, 32, 32);
  data.add(Split::kTrain, 0, {}, 32, 32);
  const std::vector<uint64_t> two{0, 1}, three{0, 1, 2};
  EXPECT_EQ(choose_transform(data, two, 32).resize, 0);
  EXPECT_EQ(choose_transform(data, two, 224).resize, 256);
  EXPECT_EQ(choose_transform(data, two, 224).crop, 224);
  data.add(Split::kTest, 0, {}, 33, 32);
  EXPECT_EQ(choose_transform(data, three, 32).resize, 37);  // one other size: all go the same way
  EXPECT_EQ(describe({0, 32}), "32 x 32 as stored");
  EXPECT_THAT(describe({256, 224}), HasSubstr("256"));
}

TEST(EvalFeatures, RowsAreTheNormalizedFeaturesOfTheirImages) {
  const auto data = class_dataset(70, 0, 3);
  const VisionTransformer network = small_vit(2, 1);
  const std::vector<Embedder> embedders{backbone_embedder("net", "", network), pixel_embedder(16)};
  const std::vector<uint64_t> ids = data->ids(Split::kTrain);
  ExtractOptions options{{0, 16}, imagenet_normalization(), 1};
  const auto comm = make_self_communicator();
  const FeatureSet features = extract_features(*data, ids, embedders, options, *comm);
  ASSERT_EQ(features.rows.size(), 2u);
  ASSERT_EQ(features.rows[0].sizes(), (std::vector<int64_t>{70, 32}));
  ASSERT_EQ(features.rows[1].sizes(), (std::vector<int64_t>{70, 3 * 16 * 16}));
  const at::NoGradGuard no_grad;
  for (const int64_t row : {0, 63, 64, 69}) {
    EXPECT_EQ(features.ids[row].item<int64_t>(), static_cast<int64_t>(ids[row]));
    Image image;
    std::vector<uint8_t> bytes;
    data->read(ids[row], bytes);
    decode_image(bytes, image);
    const at::Tensor view = at::empty({1, 3, 16, 16});
    make_eval_view(image, options.transform, options.normalization, view.data_ptr<float>());
    const at::Tensor alone = normalize_rows(network.forward(view));
    EXPECT_LT((features.rows[0][row] - alone[0]).abs().max().item<float>(), 1e-5) << row;
    EXPECT_TRUE(at::equal(features.rows[1][row], normalize_rows(view.flatten(1))[0])) << row;
  }
}

TEST(EvalFeatures, BitsDoNotDependOnThreadsOrRanks) {
  const auto data = class_dataset(200, 0, 3);
  const VisionTransformer network = small_vit(2, 2);
  const Embedder embedder = backbone_embedder("net", "", network);
  const std::vector<uint64_t> ids = data->ids(Split::kTrain);
  const auto comm = make_self_communicator();
  const at::Tensor expected = extract_features(*data, ids, {&embedder, 1}, {{0, 16}, imagenet_normalization(), 1}, *comm).rows[0];
  EXPECT_TRUE(at::equal(expected, extract_features(*data, ids, {&embedder, 1}, {{0, 16}, imagenet_normalization(), 3}, *comm).rows[0]));
  for (int size = 2; size <= 5; ++size) {
    run_thread_ranks(size, [&](const std::shared_ptr<Communicator>& rank_comm) {
      Communicator& ranks = *rank_comm;
      const FeatureSet part = extract_features(*data, ids, {&embedder, 1}, {{0, 16}, imagenet_normalization(), 2}, ranks);
      EXPECT_TRUE(at::equal(expected, gather_blocks(ranks, part.rows[0], 200))) << size << " ranks";
    });
  }
}

TEST(EvalFeatures, AnUnreadableImageIsNamedOnEveryRank) {
  const auto data = class_dataset(200, 0, 3);
  data->set_bytes(150, {1, 2, 3});
  const Embedder embedder = pixel_embedder(16);
  const std::vector<uint64_t> ids = data->ids(Split::kTrain);
  run_thread_ranks(3, [&](const std::shared_ptr<Communicator>& rank_comm) {
    Communicator& comm = *rank_comm;
    try {
      extract_features(*data, ids, {&embedder, 1}, {{0, 16}, imagenet_normalization(), 1}, comm);
      ADD_FAILURE() << "accepted on rank " << comm.rank();
    } catch (const Error& e) {
      EXPECT_THAT(e.what(), HasSubstr("image150.png"));
    }
  });
}

TEST(EvalFeatures, LargeImagesBecomeSmallPixelFeatures) {
  const Embedder embedder = pixel_embedder(96);
  const at::Tensor features = embedder.embed(at::ones({2, 3, 96, 96}));
  EXPECT_EQ(features.sizes(), (std::vector<int64_t>{2, 3 * 32 * 32}));
  EXPECT_EQ(embedder.dim, 3 * 32 * 32);
  EXPECT_THAT(embedder.description, HasSubstr("averaged down to 32 x 32"));
}

}  // namespace
}  // namespace dinoxx::eval
