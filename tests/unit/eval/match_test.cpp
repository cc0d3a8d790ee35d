// Patches found again in warped and in other images: warps and points whose answer is known.
#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <cmath>

#include "base/files.hpp"
#include "base/rng.hpp"
#include "dinoxx/base/error.hpp"
#include "dinoxx/comm/self_communicator.hpp"
#include "eval/correspondence/match.hpp"
#include "eval/run/protocols.hpp"
#include "model/weights/weights.hpp"
#include "support/memory_dataset.hpp"
#include "support/small_vit.hpp"
#include "support/temporary_folder.hpp"
#include "support/thread_ranks.hpp"

namespace dinoxx::eval {
namespace {

using namespace dinoxx::testing_support;
using nlohmann::json;
using testing::HasSubstr;

Image noise_image(int width, int height, uint64_t seed) {
  Image image{width, height, std::vector<uint8_t>(static_cast<size_t>(width) * height * 3)};
  CounterRng rng(seed, 2, 0, Purpose::kEval);
  for (uint8_t& byte : image.data) byte = static_cast<uint8_t>(rng.below(256));
  return image;
}

void save(const std::filesystem::path& path, const Image& image) {
  const std::vector<uint8_t> png = encode_png(image);
  write_file_atomically(path, {reinterpret_cast<const char*>(png.data()), png.size()});
}

TEST(Match, PointsByHand) {
  // 2 x 2 patches of a 4 x 4 image; patches 0 and 1 change places, 2 looks like 1 too, 3 stays
  const at::Tensor first = at::tensor({1., 0., 0., 0., 1., 0., 0., 0.9, 0.1, 0., 0., 1.}).reshape({4, 3});
  const at::Tensor second = at::tensor({0., 1., 0., 1., 0., 0., -1., 0., 0., 0., 0., 1.}).reshape({4, 3});
  const PatchMap a{first, 2, 2, 4, 4}, b{second, 2, 2, 4, 4};
  const std::vector<KeyPoint> points{{1, 1, 3, 1}, {3, 1, 1, 1}, {1, 3, 1, 3}, {3, 3, 2.9, 3}};
  const PointTally tally = match_points(a, b, points, 4);
  EXPECT_EQ(tally.points, 4);
  EXPECT_THAT(tally.right, testing::ElementsAre(3, 3, 3));  // the third is found two pixels away, 0.5 of the length
  EXPECT_EQ(tally.mutual, 3);                               // what it finds is nearer to the second
  EXPECT_THAT(tally.mutual_right, testing::ElementsAre(3, 3, 3));
  EXPECT_THAT(tally.best, testing::ElementsAre(4, 4, 4));
  EXPECT_THAT(tally.chance, testing::ElementsAre(1, 1, 1));                             // one patch of four for each of four points
  EXPECT_EQ(match_points(a, b, std::vector<KeyPoint>{{1, 1, 2.5, 1}}, 4).right[1], 0);  // half a pixel off, 0.125 of the length
  EXPECT_EQ(match_points(a, b, std::vector<KeyPoint>{{1, 1, 2.5, 1}}, 4).right[2], 1);
  EXPECT_TRUE(tally_json(PointTally{})["pck"]["0.1"].is_null());
  EXPECT_EQ(tally_json(PointTally{})["pck"]["undefined"]["0.1"], "no points");
  EXPECT_EQ(tally_json(PointTally{})["mutual"]["undefined"]["share"], "no points");
}

TEST(Match, WarpsAndTheirInverse) {
  for (uint64_t id = 0; id < 50; ++id) {
    const Warp warp = draw_warp(3, id, 64), back = warp.inverse();
    const auto [x, y] = warp(10, 50);
    EXPECT_NEAR(back(x, y).first, 10, 1e-9);
    EXPECT_NEAR(back(x, y).second, 50, 1e-9);
    const double area = warp.a * warp.e - warp.b * warp.d;
    EXPECT_GE(area, 0.64 - 1e-9);
    EXPECT_LE(area, 1.5625 + 1e-9);
    const auto [mx, my] = warp(32, 32);
    EXPECT_LE(std::abs(mx - 32), 6.4);
    EXPECT_LE(std::abs(my - 32), 6.4);
  }
  EXPECT_NE(draw_warp(3, 0, 64).a, draw_warp(3, 1, 64).a);
  EXPECT_NE(draw_warp(3, 0, 64).a, draw_warp(4, 0, 64).a);
}

TEST(Match, APictureMovesWithItsPoints) {
  // a spot on black: after the warp its centre of mass is where the warp puts it
  at::Tensor image = at::zeros({3, 64, 64}, at::kFloat);
  image.narrow(1, 20, 4).narrow(2, 36, 4).fill_(1);
  for (uint64_t id = 0; id < 10; ++id) {
    const Warp warp = draw_warp(1, id, 64);
    const at::Tensor warped = warped_image(image, warp)[0];
    const at::Tensor centres = at::arange(64, at::kFloat) + 0.5;
    const auto [x, y] = warp(38, 22);
    EXPECT_NEAR((warped.sum(0) * centres).sum().item<double>() / warped.sum().item<double>(), x, 0.1);
    EXPECT_NEAR((warped.sum(1) * centres).sum().item<double>() / warped.sum().item<double>(), y, 0.1);
  }
  EXPECT_TRUE(at::equal(warped_image(image, Warp{}), image));
}

TEST(Match, AShiftByWholePatchesIsFoundEverywhere) {
  const auto network = small_backbone(2, 3);
  const Embedder raw = pixel_embedder(32, network.get());
  at::Tensor image = at::empty({3, 32, 32}, at::kFloat);
  CounterRng rng(1, 0, 0, Purpose::kEval);
  for (int64_t i = 0; i < image.numel(); ++i) image.data_ptr<float>()[i] = static_cast<float>(rng.normal());
  Warp shift;
  shift.c = 8;
  shift.f = -4;
  const std::vector<KeyPoint> points = warp_points(shift, 8, 32);
  EXPECT_EQ(points.size(), 6u * 7u);  // of 8 x 8 two columns and a row leave the image
  const auto patches = [&](const at::Tensor& picture) { return PatchMap{raw.patches(picture.unsqueeze(0))[0], 8, 8, 32, 32}; };
  const PointTally tally = match_points(patches(image), patches(warped_image(image, shift)), points, 32);
  EXPECT_THAT(tally.right, testing::Each(tally.points));
  EXPECT_EQ(tally.mutual, tally.points);
  const PointTally wrong = match_points(patches(image), patches(warped_image(image, shift.inverse())), points, 32);
  EXPECT_LT(wrong.right[2], 0.2 * wrong.points);
  std::vector<uint8_t> asked(64, 0);
  asked[9] = asked[0] = 1;
  EXPECT_EQ(warp_points(shift, 8, 32, asked).size(), 1u);  // the first row has left
}

struct Bench {
  std::unique_ptr<Backbone> network = small_backbone(2, 3);
  std::vector<Embedder> embedders{backbone_embedder("untrained", "", *network), pixel_embedder(16, network.get())};
  ExtractOptions options{{0, 16}, imagenet_normalization(), 1};
};

ProtocolResult matched(const Bench& bench, const Embedder& embedder, const Dataset& dataset, Communicator& comm, int threads = 1) {
  const EvalData data = choose_eval_data(dataset, std::nullopt, 0);
  const SplitFeatures none;
  const KnnConfig knn;
  return match_protocol({dataset, data, embedder, none, knn, 0, threads, comm, &bench.options});
}

TEST(Match, TheStepIsTheSameAtAnyNumberOfRanksAndAsksForObjectsAlone) {
  MemoryDataset data;
  data.set_class_names({"a", "b"});
  std::vector<uint8_t> mask(256, 0), empty(256, 0);
  std::fill_n(mask.begin(), 128, 255);  // the upper half
  for (int i = 0; i < 140; ++i) {
    const uint64_t id = data.add_image(i < 4 ? Split::kTrain : Split::kTest, i % 2, noise_image(16, 16, 9 + i));
    if (i % 3 == 1) data.set_mask(id, encode_gray_png(i == 4 ? empty : mask, 16, 16));
  }
  const Bench bench;
  for (const Embedder& embedder : bench.embedders) {
    std::string alone;
    for (int ranks = 1; ranks <= 4; ++ranks) {
      run_thread_ranks(ranks, [&](std::shared_ptr<Communicator> comm) {
        const ProtocolResult result = matched(bench, embedder, data, *comm, ranks == 2 ? 2 : 1);
        if (ranks == 1) alone = result.scores.dump();
        EXPECT_EQ(result.scores.dump(), alone);
        EXPECT_EQ(result.figures.size(), 3u);
        EXPECT_EQ(result.scores["images"], 136);
        EXPECT_GE(result.scores["images_without_points"], 1);
        EXPECT_LE(result.scores["pck"]["0.1"], result.scores["best_of_grid"]["0.1"]);
        EXPECT_GT(result.scores["pck"]["0.2"], result.scores["chance"]["0.2"]);
        EXPECT_LE(result.scores["bootstrap95"]["0.2"].at(0), result.scores["pck"]["0.2"]);
      });
    }
  }
}

TEST(Match, PairsWithPoints) {
  const TemporaryFolder folder;
  // the second image is the first, two patches further to the right, with other content on its left
  const Image first = noise_image(32, 16, 1);
  Image second = noise_image(32, 16, 2);
  for (int y = 0; y < 16; ++y) std::copy_n(first.data.begin() + 96 * y, 72, second.data.begin() + 96 * y + 24);
  save(folder / "a.png", first);
  save(folder / "b.png", second);
  write_file_atomically(folder / "pairs.json", R"([
    {"first": "a.png", "second": "b.png", "points": [[2, 2, 10, 2], [10, 6, 18, 6], [22, 14, 30, 14]]},
    {"first": "a.png", "second": "b.png", "points": [[2, 2, 12, 2], [6, 6, 6, 6]], "box": [0, 0, 10, 4]}])");
  const auto network = small_backbone(2, 3);
  write_safetensors(folder / "weights.safetensors", tensor_views(stored_state(*network)));
  MatchOptions options;
  options.model.checkpoint = folder / "weights.safetensors";
  options.model.model_settings.push_back({"model.heads", "2", "test"});
  options.pairs = folder / "pairs.json";
  options.images = folder.path();
  options.image_size = 16;
  std::string alone;
  for (int ranks = 1; ranks <= 3; ++ranks) {
    options.out = folder / ("out" + std::to_string(ranks));
    run_thread_ranks(ranks, [&](std::shared_ptr<Communicator> comm) {
      json results = match_pairs(options, *comm);
      results.erase("run");
      if (ranks > 1) {
        EXPECT_EQ(results.dump(), alone);
        return;
      }
      alone = results.dump();
      ASSERT_EQ(results["results"].size(), 3u);
      const json& raw = results["results"].at(2);
      EXPECT_EQ(raw["name"], "raw");
      EXPECT_EQ(raw["points"], 5.0);
      EXPECT_EQ(raw["pairs"].at(0)["pck"]["0.05"], 1.0);
      EXPECT_EQ(raw["pairs"].at(0)["mutual"]["share"], 1.0);
      // two pixels off, 0.2 of the box; eight pixels off
      EXPECT_EQ(raw["pairs"].at(1)["pck"]["0.1"], 0.0);
      EXPECT_EQ(raw["pairs"].at(1)["pck"]["0.2"], 0.5);
      EXPECT_EQ(raw["pck"]["0.05"], 0.6);
      EXPECT_THAT(match_table(results["results"]), HasSubstr("best of grid"));
    });
  }
  const auto comm = make_self_communicator();
  const auto refused = [&](const std::string& text) {
    write_file_atomically(folder / "pairs.json", text);
    try {
      match_pairs(options, *comm);
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("nothing was refused");
  };
  EXPECT_THAT(refused("[]"), HasSubstr("pairs of images"));
  EXPECT_THAT(refused("[{\"first\": \"a.png\"}]"), HasSubstr("points"));
  EXPECT_THAT(refused("[{\"first\": \"a.png\", \"second\": \"c.png\", \"points\": []}]"), HasSubstr("c.png"));
  EXPECT_THAT(refused("[{\"first\": \"a.png\", \"second\": \"b.png\", \"points\": [[2, 2, 40, 2]]}]"), HasSubstr("32 x 16"));
}

TEST(Paired, DifferencesOfTheSameResamples) {
  std::vector<double> first, second;
  for (int i = 0; i < 1000; ++i) {
    first.push_back(i * 0.001);
    second.push_back(i * 0.001 - 0.25 - 0.01 * (i % 2));  // always so much less, however far the resamples are apart
  }
  const std::vector<std::string> names{"teacher", "raw", "untrained"};
  const std::vector<std::vector<ResampledFigure>> figures{
      {{"a", 0.5, first}, {"b", 0.5, first}}, {{"a", 0.25, second}}, {{"b", std::nan(""), first}}};
  const json rows = paired_differences(names, figures);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0]["second"], "raw");
  EXPECT_EQ(rows[0]["difference"], 0.25);
  EXPECT_NEAR(rows[0]["interval95"].at(0).get<double>(), 0.25, 1e-12);
  EXPECT_NEAR(rows[0]["interval95"].at(1).get<double>(), 0.26, 1e-12);
  EXPECT_TRUE(rows[1]["difference"].is_null());
  EXPECT_EQ(rows[1]["undefined"]["difference"], "the figure is undefined for one of the two");
  EXPECT_TRUE(rows[1]["interval95"].is_null());  // always the same difference: nothing is known of its spread
  EXPECT_THAT(rows[1]["undefined"]["interval95"].get<std::string>(), HasSubstr("the same value"));
}

}  // namespace
}  // namespace dinoxx::eval
