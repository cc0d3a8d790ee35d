// Linear segmentation and attention against masks: sets whose answer is known, scores by hand, the same numbers at any number of ranks.
#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <cmath>
#include <set>

#include "base/files.hpp"
#include "base/rng.hpp"
#include "data_pipeline/augment/eval_mask.hpp"
#include "dinoxx/comm/self_communicator.hpp"
#include "eval/dense/attend.hpp"
#include "eval/dense/dense.hpp"
#include "eval/run/protocols.hpp"
#include "model/backbones/attention.hpp"
#include "model/weights/weights.hpp"
#include "support/memory_dataset.hpp"
#include "support/small_vit.hpp"
#include "support/temporary_folder.hpp"
#include "support/thread_ranks.hpp"

namespace dinoxx::eval {
namespace {

using namespace dinoxx::testing_support;
using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr int kSize = 16, kPatch = 4, kCells = kSize / kPatch;

enum class MaskKind {
  kRight,
  kOfAnother,  ///< drawn without looking at the image: nothing can be learned from
  kNone,
};

// Class c: whole patches in a colour of its own on a dark ground, half of them on average. Every third image lacks its mask where `gaps`.
MemoryDataset coloured_set(int train, int val, int test, MaskKind kind, bool gaps = false) {
  constexpr int kColours[3][3] = {{230, 40, 40}, {40, 230, 40}, {40, 40, 230}};
  MemoryDataset data;
  data.set_class_names({"red", "green", "blue"});
  const auto add = [&](Split split, int count) {
    for (int i = 0; i < count; ++i) {
      const int label = i % 3;
      CounterRng rng(5, data.size(), 0, Purpose::kEval), other(6, data.size(), 0, Purpose::kEval);
      Image image{kSize, kSize, std::vector<uint8_t>(kSize * kSize * 3)};
      std::vector<uint8_t> mask(kSize * kSize);
      for (int cell = 0; cell < kCells * kCells; ++cell) {
        const bool object = rng.bernoulli(0.5), masked = kind == MaskKind::kOfAnother ? other.bernoulli(0.5) : object;
        for (int p = 0; p < kPatch * kPatch; ++p) {
          const int at = (cell / kCells * kPatch + p / kPatch) * kSize + cell % kCells * kPatch + p % kPatch;
          mask[at] = masked ? 255 : 0;
          for (int c = 0; c < 3; ++c) image.data[3 * at + c] = static_cast<uint8_t>((object ? kColours[label][c] : 20) + rng.below(20));
        }
      }
      const uint64_t id = data.add_image(split, label, image);
      if (kind != MaskKind::kNone && !(gaps && i % 3 == 2)) data.set_mask(id, encode_gray_png(mask, kSize, kSize));
    }
  };
  add(Split::kTrain, train);
  add(Split::kVal, val);
  add(Split::kTest, test);
  return data;
}

struct Bench {
  std::unique_ptr<Backbone> network = small_backbone(2, 3);
  std::vector<Embedder> embedders{backbone_embedder("untrained", "", *network), pixel_embedder(kSize, network.get())};
  ExtractOptions options{{0, kSize}, imagenet_normalization(), 1};
};

ProtocolResult segment(const Bench& bench, const Embedder& embedder, const Dataset& dataset, Communicator& comm, int threads = 1) {
  const EvalData data = choose_eval_data(dataset, std::nullopt, 0);
  const SplitFeatures none;
  const KnnConfig knn;
  return segmentation_protocol({dataset, data, embedder, none, knn, 0, threads, comm, &bench.options});
}

json segment(const Embedder& embedder, const Dataset& dataset, const Bench& bench) {
  const auto comm = make_self_communicator();
  return segment(bench, embedder, dataset, *comm).scores;
}

TEST(Linseg, MasksThatColourTellsAreFound) {
  const Bench bench;
  for (const int val : {0, 12}) {
    const json scores = segment(bench.embedders[1], coloured_set(30, val, 12, MaskKind::kRight), bench);
    for (const char* question : {"classes", "object"}) {
      EXPECT_EQ(scores[question]["patch"]["miou"], 1.0) << question;
      EXPECT_EQ(scores[question]["chosen_on"], val > 0 ? "val" : "a fifth of the training images");
      EXPECT_TRUE(scores[question]["converged"]);
      EXPECT_EQ(scores[question]["selection"].size(), 7u);
      // at pixels what is between two patches is rounded off
      EXPECT_GT(scores[question]["pixel"]["miou"], 0.7) << question;
      EXPECT_LT(scores[question]["pixel"]["miou"], 1.0) << question;
    }
    EXPECT_EQ(scores["images"]["train"], 30);
    EXPECT_EQ(scores["images"]["train_patches"], 30 * kCells * kCells);
    EXPECT_EQ(scores["images"]["validation"], val);
    ASSERT_EQ(scores["classes"]["pixel"]["iou"].size(), 4u);
    EXPECT_EQ(scores["classes"]["pixel"]["iou"].at(2)["name"], "green");
    const json& background = scores["object"]["all_background"];
    const double share = background["iou"].at(0)["truth"].get<double>() / (12 * kSize * kSize);
    EXPECT_DOUBLE_EQ(background["accuracy"].get<double>(), share);
    EXPECT_DOUBLE_EQ(background["miou"].get<double>(), share / 2);
    EXPECT_EQ(background["iou"].at(1)["iou"], 0.0);
    EXPECT_DOUBLE_EQ(scores["object"]["all_object"]["miou"].get<double>(), (1 - share) / 2);
    EXPECT_THAT(scores["attention"]["left_out"].get<std::string>(), HasSubstr("no attention"));
    const json& interval = scores["bootstrap95"]["object_miou"];
    ASSERT_EQ(interval.size(), 2u);
    EXPECT_LE(interval[0], scores["object"]["pixel"]["miou"]);
    EXPECT_GE(interval[1], scores["object"]["pixel"]["miou"]);
    EXPECT_LT(interval[0], interval[1]);
  }
}

TEST(Linseg, MasksOfOtherImagesAreNotFound) {
  const Bench bench;
  const json scores = segment(bench.embedders[1], coloured_set(60, 0, 30, MaskKind::kOfAnother), bench);
  // a coin for each patch: accuracy 1/2, IoU 1/3 when both classes are said equally often, less when one is preferred
  EXPECT_NEAR(scores["object"]["patch"]["accuracy"].get<double>(), 0.5, 0.08);
  EXPECT_LT(scores["object"]["patch"]["miou"], 0.4);
}

TEST(Linseg, TheNetworksPatchesAndItsAttentionHaveNumbers) {
  const Bench bench;
  const json scores = segment(bench.embedders[0], coloured_set(30, 0, 12, MaskKind::kRight), bench);
  EXPECT_EQ(scores["patches"]["grid"], (json{kCells, kCells}));
  EXPECT_EQ(scores["patches"]["dim"], 32);
  EXPECT_GT(scores["object"]["patch"]["miou"], 0.9);  // 32 numbers of 48 pixels still tell dark from light
  const json& attention = scores["attention"];
  ASSERT_EQ(attention["heads"].size(), 2u);
  const double a = attention["heads"].at(0), b = attention["heads"].at(1), best = attention["oracle_head_of_each_image"];
  EXPECT_DOUBLE_EQ(attention["mean_of_heads"].get<double>(), (a + b) / 2);
  EXPECT_DOUBLE_EQ(attention["oracle_head_of_the_set"]["jaccard"].get<double>(), std::max(a, b));
  EXPECT_GE(best, std::max(a, b));
  EXPECT_EQ(attention["images"], 12);
  EXPECT_NEAR(attention["all_object"].get<double>(), 0.5, 0.15);
}

TEST(Linseg, ImagesWithoutAMaskAreLeftOutAndCounted) {
  const Bench bench;
  const json scores = segment(bench.embedders[1], coloured_set(30, 0, 12, MaskKind::kRight, /*gaps=*/true), bench);
  EXPECT_EQ(scores["images"]["train"], 20);
  EXPECT_EQ(scores["images"]["queries"], 8);
  EXPECT_EQ(scores["images"]["queries_without_mask"], 4);
  const json& blue = scores["classes"]["pixel"]["iou"].at(3);  // none of it has a mask
  EXPECT_EQ(blue["truth"], 0.0);
  EXPECT_EQ(blue["answered"], 0.0);
  EXPECT_TRUE(blue["iou"].is_null());
  EXPECT_EQ(scores["classes"]["patch"]["miou"], 1.0);  // of the classes that are there
}

TEST(Linseg, DataWithoutMasksIsSaidAndNothingElseHappens) {
  const Bench bench;
  const auto comm = make_self_communicator();
  const ProtocolResult result = segment(bench, bench.embedders[0], coloured_set(9, 0, 3, MaskKind::kNone), *comm);
  EXPECT_EQ(result.scores, (json{{"left_out", "the data set has no masks"}}));
  EXPECT_TRUE(result.predictions.empty());
}

TEST(Linseg, TheMasksOfTestChooseNothing) {
  const Bench bench;
  MemoryDataset data = coloured_set(30, 0, 12, MaskKind::kRight);
  const json before = segment(bench.embedders[0], data, bench);
  std::vector<uint8_t> other(kSize * kSize, 0);
  std::fill_n(other.begin(), 100, 255);
  for (const uint64_t id : data.ids(Split::kTest)) data.set_mask(id, encode_gray_png(other, kSize, kSize));
  const json after = segment(bench.embedders[0], data, bench);
  for (const char* question : {"classes", "object"}) {
    EXPECT_EQ(after[question]["C"], before[question]["C"]);
    EXPECT_EQ(after[question]["selection"], before[question]["selection"]);
    double answered = 0;
    for (size_t c = 0; c < before[question]["patch"]["iou"].size(); ++c) {
      EXPECT_EQ(after[question]["patch"]["iou"][c]["answered"], before[question]["patch"]["iou"][c]["answered"]);
      answered += before[question]["patch"]["iou"][c]["answered"].get<double>();
    }
    EXPECT_EQ(answered, 12 * kCells * kCells);
    EXPECT_NE(after[question]["patch"]["miou"], before[question]["patch"]["miou"]);
  }
}

TEST(Linseg, TheSameAtAnyNumberOfRanksAndThreads) {
  const Bench bench;
  const MemoryDataset data = coloured_set(150, 70, 140, MaskKind::kRight, /*gaps=*/true);  // several blocks of 64 each
  for (const Embedder& embedder : bench.embedders) {
    const std::string alone = segment(embedder, data, bench).dump();
    for (const int ranks : {2, 3}) {
      run_thread_ranks(ranks, [&](std::shared_ptr<Communicator> comm) {
        EXPECT_EQ(segment(bench, embedder, data, *comm, ranks == 2 ? 2 : 1).scores.dump(), alone) << ranks << " ranks";
      });
    }
  }
}

TEST(Dense, ScoresByHand) {
  Overlap o(4);
  for (const auto& [truth, answer] : std::vector<std::pair<int, int>>{{0, 0}, {0, 0}, {0, 1}, {1, 1}, {1, 0}, {1, 3}}) o.add(truth, answer);
  EXPECT_DOUBLE_EQ(overlap_iou(o, 0), 2.0 / 4);
  EXPECT_DOUBLE_EQ(overlap_iou(o, 1), 1.0 / 4);
  EXPECT_TRUE(std::isnan(overlap_iou(o, 2)));
  EXPECT_EQ(overlap_iou(o, 3), 0.0);
  EXPECT_DOUBLE_EQ(mean_iou(o), 3.0 / 8);
  EXPECT_DOUBLE_EQ(overlap_accuracy(o), 3.0 / 6);
  EXPECT_DOUBLE_EQ(mean_iou(constant_answer(o, 0)), 0.25);
  EXPECT_TRUE(std::isnan(mean_iou(Overlap(2))));
}

TEST(Dense, APatchIsObjectWhenMoreThanHalfOfItIs) {
  // 4 x 4 pixels, 2 x 2 cells with 3, 2, 0 and 4 pixels of object
  const std::vector<uint8_t> mask{1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 1, 1, 0, 0, 1, 1};
  EXPECT_THAT(object_cells(mask, 4, 2), ElementsAre(1, 0, 0, 1));
  const std::vector<uint8_t> cells{1, 0, 0, 1};
  EXPECT_DOUBLE_EQ(cells_jaccard(cells, 2, mask, 4), 7.0 / 10);
}

TEST(Dense, TheFewestPatchesWithTheMassAreKept) {
  const std::vector<float> attention{0.125f, 0.5f, 0.25f, 0.125f};
  EXPECT_THAT(keep_mass(attention, 0.6), ElementsAre(0, 1, 1, 0));
  EXPECT_THAT(keep_mass(attention, 0.75), ElementsAre(0, 1, 1, 0));
  EXPECT_THAT(keep_mass(attention, 0.8), ElementsAre(1, 1, 1, 0));  // equal: the earlier
  EXPECT_THAT(keep_mass(attention, 1.0), ElementsAre(1, 1, 1, 1));
}

TEST(Dense, AMaskIsCutAsItsImage) {
  // a mask that is its image: what the view shows bright must be what the mask shows
  const int width = 40, height = 24;
  Image image{width, height, std::vector<uint8_t>(width * height * 3, 0)};
  for (int y = 6; y < 20; ++y)
    for (int x = 10; x < 26; ++x)
      for (int c = 0; c < 3; ++c) image.data[3 * (y * width + x) + c] = 255;
  const EvalTransform transform{36, 28};
  std::vector<float> view(3 * 28 * 28);
  make_eval_view(image, transform, imagenet_normalization(), view.data());
  std::vector<uint8_t> mask(28 * 28);
  make_eval_mask(image, transform, mask.data());
  int differ = 0, object = 0;
  for (size_t i = 0; i < mask.size(); ++i) {
    object += mask[i];
    differ += mask[i] != (view[i] > 0.066f);  // the middle of the first channel's black and white after normalisation
  }
  EXPECT_GT(object, 300);
  EXPECT_EQ(differ, 0);
  // as stored
  std::vector<uint8_t> whole(24 * 24);
  const Image square{24, 24, std::vector<uint8_t>(image.data.begin(), image.data.begin() + 24 * 24 * 3)};
  make_eval_mask(square, {0, 24}, whole.data());
  for (size_t i = 0; i < whole.size(); ++i) ASSERT_EQ(whole[i], square.data[3 * i] != 0);
}

TEST(Dense, AttentionOfClsSumsToOneAndDoesNotDependOnTheBatch) {
  const auto network = small_backbone(2, 3);
  const at::Tensor images = at::sin(at::arange(5 * 3 * kSize * kSize, at::kFloat)).reshape({5, 3, kSize, kSize});
  const at::Tensor all = cls_attention(*network, images);
  EXPECT_EQ(all.sizes(), (at::IntArrayRef{5, 2, 1 + kCells * kCells}));
  EXPECT_LT((all.sum(2) - 1).abs().max().item<double>(), 1e-5);
  EXPECT_TRUE(at::allclose(cls_attention(*network, images.narrow(0, 3, 1))[0], all[3], 1e-5, 1e-6));
  ResNetConfig config;
  const auto convnet = make_backbone(config, at::kFloat);
  EXPECT_FALSE(cls_attention(*convnet, images).defined());
}

TEST(Attend, AConvolutionalNetworkHasNoAttentionAndSaysSo) {
  const TemporaryFolder folder;
  const auto network = make_backbone(ResNetConfig{}, at::kFloat);
  network->initialize(3);
  write_safetensors(folder / "resnet.safetensors", tensor_views(stored_state(*network)));
  Image image{90, 60, std::vector<uint8_t>(90 * 60 * 3)};
  for (size_t i = 0; i < image.data.size(); ++i) image.data[i] = static_cast<uint8_t>(i * i % 251);
  const std::vector<uint8_t> png = encode_png(image);
  write_file_atomically(folder / "picture.png", {reinterpret_cast<const char*>(png.data()), png.size()});
  AttendOptions options;
  options.model.checkpoint = folder / "resnet.safetensors";
  options.image = folder / "picture.png";
  options.out = folder / "out";
  options.image_size = 64;
  const json result = attend(options);
  EXPECT_EQ(result["grid"], (json{2, 3}));  // 64 x 96 at stride 32
  EXPECT_TRUE(result["attention"].is_null());
  EXPECT_THAT(result["notes"].at(0).get<std::string>(), HasSubstr("no attention"));
  EXPECT_EQ(result["files"], (json{"input.png", "pca.png", "similarity.png", "overview.png"}));
  EXPECT_EQ(result["similarity"]["patch"], (json{1, 1}));  // the middle
}

TEST(Dense, GridsOfSquareCells) {
  EXPECT_EQ(patch_grid(32, 64, 8).rows, 2);
  EXPECT_EQ(patch_grid(32, 64, 8).columns, 4);
  EXPECT_THROW(patch_grid(32, 64, 7), Error);
}

}  // namespace
}  // namespace dinoxx::eval
