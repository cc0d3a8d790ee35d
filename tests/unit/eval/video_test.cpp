// Labels that follow a video: measures by hand, videos whose answer is known, what is refused, the same at any number of ranks.
#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <cmath>
#include <filesystem>

#include "base/files.hpp"
#include "base/rng.hpp"
#include "data_pipeline/codec/label_image.hpp"
#include "data_pipeline/toy/toy_video.hpp"
#include "dinoxx/base/error.hpp"
#include "eval/correspondence/propagate.hpp"
#include "eval/correspondence/video_scores.hpp"
#include "model/weights/weights.hpp"
#include "support/small_vit.hpp"
#include "support/temporary_folder.hpp"
#include "support/thread_ranks.hpp"

namespace dinoxx::eval {
namespace {

using namespace dinoxx::testing_support;
namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

std::vector<uint8_t> mask_of(int width, int height, const std::function<bool(int x, int y)>& object) {
  std::vector<uint8_t> mask;
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) mask.push_back(object(x, y) ? 1 : 0);
  return mask;
}

TEST(VideoScores, RegionsByHand) {
  EXPECT_DOUBLE_EQ(region_similarity(std::vector<uint8_t>{1, 1, 1, 1, 0, 0}, std::vector<uint8_t>{0, 0, 0, 1, 1, 0}), 1.0 / 5);
  EXPECT_EQ(region_similarity(std::vector<uint8_t>{0, 0}, std::vector<uint8_t>{0, 0}), 1.0);
  EXPECT_EQ(region_similarity(std::vector<uint8_t>{0, 0}, std::vector<uint8_t>{0, 1}), 0.0);
}

TEST(VideoScores, BoundariesByHand) {
  const auto right_of = [](int border) { return mask_of(10, 10, [=](int x, int) { return x >= border; }); };
  // the diagonal is 14.1 pixels: 0.008 of it is one pixel when rounded up
  EXPECT_EQ(boundary_measure(right_of(5), right_of(6), 10, 10), 1.0);
  EXPECT_EQ(boundary_measure(right_of(5), right_of(7), 10, 10), 0.0);
  EXPECT_EQ(boundary_measure(right_of(5), right_of(7), 10, 10, 0.1), 1.0);
  EXPECT_EQ(boundary_measure(right_of(5), right_of(10), 10, 10), 0.0);
  EXPECT_EQ(boundary_measure(right_of(0), right_of(10), 10, 10), 1.0);  // neither has a boundary
  // truth: 10 pixels in column 4. Answer: column 5 in rows 0 to 4, the step's pixels (4, 6) and (4, 7), column 7 in rows 5 to 9: 12 pixels,
  // of which 5 are one pixel off; of the truth's the 5 in rows 0 to 4 have one of these beside them
  const std::vector<uint8_t> step = mask_of(10, 10, [](int x, int y) { return x >= (y < 5 ? 6 : 8); });
  EXPECT_DOUBLE_EQ(boundary_measure(right_of(5), step, 10, 10), 2 * (5.0 / 12) * (5.0 / 10) / (5.0 / 12 + 5.0 / 10));
}

TEST(VideoScores, ASeriesByHand) {
  const std::vector<double> frames{1, 0.9, 0.8, 0.7, 0.4, 0.2, 0.1, 0.06};
  const std::optional<SeriesScores> scores = series_scores(frames);
  ASSERT_TRUE(scores);
  EXPECT_DOUBLE_EQ(scores->mean, 4.16 / 8);
  EXPECT_EQ(scores->recall, 0.5);
  EXPECT_DOUBLE_EQ(scores->decay.value(), 0.9 - 0.36 / 3);
  EXPECT_FALSE(series_scores(std::span(frames).first(3)).value().decay.has_value());
  EXPECT_FALSE(series_scores({}).has_value());
}

at::Tensor noise(uint64_t seed, at::IntArrayRef shape) {
  const at::Tensor result = at::empty(shape, at::kFloat);
  CounterRng rng(seed, 0, 0, Purpose::kEval);
  for (int64_t i = 0; i < result.numel(); ++i) result.data_ptr<float>()[i] = static_cast<float>(rng.normal());
  return result;
}

TEST(Propagation, WhatStandsStillKeepsItsLabels) {
  const at::Tensor features = noise(1, {11, 13, 24});
  at::Tensor labels = at::zeros({11, 13, 3}, at::kDouble);
  CounterRng rng(2, 0, 0, Purpose::kEval);
  for (int64_t y = 0; y < 11; ++y)
    for (int64_t x = 0; x < 13; ++x) labels[y][x][static_cast<int64_t>(rng.below(3))] = 1;
  LabelPropagation propagation({}, features, labels);
  for (int frame = 0; frame < 12; ++frame) EXPECT_TRUE(at::equal(propagation.next(features).argmax(2), labels.argmax(2))) << frame;
}

// A square of 3 x 3 patches goes two patches to the right in each of five frames. Share of its patches that are found in the last.
double followed(const PropagationConfig& config) {
  const at::Tensor ground = noise(3, {9, 16, 32}), square = noise(4, {3, 3, 32});
  const auto frame = [&](int t) {
    at::Tensor features = ground.clone();
    features.narrow(0, 3, 3).narrow(1, 1 + 2 * t, 3).copy_(square);
    return features;
  };
  at::Tensor labels = at::zeros({9, 16, 2}, at::kDouble);
  labels.select(2, 0).fill_(1);
  labels.narrow(0, 3, 3).narrow(1, 1, 3).copy_(at::tensor({0.0, 1.0}).expand({3, 3, 2}));
  LabelPropagation propagation(config, frame(0), labels);
  at::Tensor last;
  for (int t = 1; t <= 5; ++t) last = propagation.next(frame(t)).argmax(2);
  return last.narrow(0, 3, 3).narrow(1, 11, 3).to(at::kDouble).mean().item<double>();
}

TEST(Propagation, AMovingSquareIsFollowedWithinTheWindow) {
  EXPECT_EQ(followed({7, 5, 2, 0.1}), 1.0);
  EXPECT_EQ(followed({7, 1, 2, 0.1}), 1.0);
  EXPECT_LT(followed({7, 5, 1, 0.1}), 0.5);  // it goes two patches a frame
  EXPECT_LT(followed({0, 5, 2, 0.1}), 0.5);  // from the first frame it is ten away
  EXPECT_EQ(followed({0, 5, 10, 0.1}), 1.0);
  EXPECT_LT(followed({7, 500, 12, 50.}), 0.5);  // the mean of all labels
}

TEST(Propagation, APatchIsLikeThoseOfTheEarlierFrameWhenAllAreEqual) {
  // one patch looks like every other: its labels are of the five first in reading order
  const at::Tensor features = at::ones({3, 4, 2});
  at::Tensor labels = at::zeros({3, 4, 2}, at::kDouble);
  labels.select(2, 0).fill_(1);
  labels[0][0] = at::tensor({0.0, 1.0});
  LabelPropagation propagation({}, features, labels);
  EXPECT_TRUE(at::allclose(propagation.next(features).select(2, 1), at::full({3, 4}, 0.2, at::kDouble), 1e-12));
}

class VideoFolder {
 public:
  void write(const std::string& name, int frame, const Image& image, const std::optional<LabelImage>& labels) {
    const std::string file = std::to_string(10000 + frame) + ".png";
    save(folder / "frames" / name / file, encode_png(image));
    if (labels) save(folder / "masks" / name / file, encode_label_png(*labels));
  }
  static void save(const fs::path& path, const std::vector<uint8_t>& bytes) {
    fs::create_directories(path.parent_path());
    write_file_atomically(path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }
  std::vector<Video> videos() const { return find_videos(folder / "frames", folder / "masks", std::nullopt); }
  const TemporaryFolder folder;
};

Image noise_image(int width, int height, uint64_t seed) {
  Image image{width, height, std::vector<uint8_t>(static_cast<size_t>(width) * height * 3)};
  CounterRng rng(seed, 1, 0, Purpose::kEval);
  for (uint8_t& byte : image.data) byte = static_cast<uint8_t>(rng.below(256));
  return image;
}

struct Bench {
  std::unique_ptr<Backbone> network = small_backbone(2, 3);
  Embedder raw = pixel_embedder(16, network.get());
};

TEST(Videos, AVideoWithoutMotionIsPerfectAndSoIsOneWhoSaysSo) {
  VideoFolder folder;
  const Image image = noise_image(40, 22, 1);  // not a multiple of the patch: 40 x 24 for the network
  LabelImage labels{40, 22, {}};
  for (int y = 0; y < 22; ++y)
    for (int x = 0; x < 40; ++x) labels.data.push_back(x < 12 ? 4 : x < 24 ? 9 : 0);
  for (int f = 0; f < 8; ++f) folder.write("still", f, image, labels);
  const Video video = folder.videos().at(0);
  EXPECT_EQ(video.name, "still");
  EXPECT_EQ(video.objects, (std::vector<uint8_t>{4, 9}));
  const Bench bench;
  for (const VideoResult& scores :
       {propagate_video(video, bench.raw, imagenet_normalization(), 0, 4, {}, folder.folder.path()), still_video(video)}) {
    EXPECT_EQ(scores.frames, (std::vector<int64_t>{1, 2, 3, 4, 5, 6}));
    for (int object = 0; object < 2; ++object) {
      EXPECT_THAT(scores.region[object], testing::Each(1.0));
      EXPECT_THAT(scores.boundary[object], testing::Each(1.0));
    }
  }
  const std::string png = read_text(folder.folder / "10007.png");
  EXPECT_EQ(decode_label_png({reinterpret_cast<const uint8_t*>(png.data()), png.size()}).data, labels.data);
}

TEST(Videos, ATexturedSquareIsFollowedByItsPixels) {
  VideoFolder folder;
  const Image ground = noise_image(64, 40, 1), square = noise_image(12, 12, 2);
  for (int f = 0; f < 8; ++f) {
    Image image = ground;
    LabelImage labels{64, 40, std::vector<uint8_t>(64 * 40)};
    for (int y = 0; y < 12; ++y) {
      for (int x = 0; x < 12; ++x) {
        const int to = (y + 12) * 64 + x + 4 + 4 * f;
        labels.data[to] = 255;  // a mask of black and white
        for (int c = 0; c < 3; ++c) image.data[3 * to + c] = square.data[3 * (y * 12 + x) + c];
      }
    }
    folder.write("square", f, image, labels);
  }
  const Video video = folder.videos().at(0);
  EXPECT_EQ(video.objects, (std::vector<uint8_t>{255}));
  EXPECT_EQ(video.void_number, -1);
  const Bench bench;
  const auto mean = [](const VideoResult& scores) { return series_scores(scores.region.at(0)).value().mean; };
  // corners of three patches are rounded off by interpolation; what the square uncovers has never been seen before
  const double followed = mean(propagate_video(video, bench.raw, imagenet_normalization(), 0, 4, {})), still = mean(still_video(video));
  EXPECT_GT(followed, 0.85);
  EXPECT_LT(mean(propagate_video(video, bench.raw, imagenet_normalization(), 0, 4, {7, 5, 0, 0.1})), 0.6);    // no window
  EXPECT_LT(mean(propagate_video(video, bench.raw, imagenet_normalization(), 0, 4, {7, 500, 12, 50})), 0.6);  // no choice of patches
  EXPECT_LT(still, 0.4);
}

TEST(Videos, PixelsOfVoidCountForNobody) {
  VideoFolder folder;
  const Image image = noise_image(32, 16, 1);
  for (int f = 0; f < 3; ++f) {
    LabelImage labels{32, 16, {}};
    for (int i = 0; i < 32 * 16; ++i)
      labels.data.push_back(f == 1 && i % 32 < 16 && i % 32 >= 8    ? 255
                            : i % 32 < 8 || (f != 1 && i % 32 < 16) ? 1
                            : i < 10 * 32                           ? 0
                            : f == 0                                ? 255
                                                                    : 0);
    folder.write("void", f, image, labels);
  }
  const Video video = folder.videos().at(0);
  EXPECT_EQ(video.objects, (std::vector<uint8_t>{1}));
  EXPECT_EQ(video.void_number, 255);
  EXPECT_EQ(still_video(video).region[0], std::vector<double>{1.0});  // eight columns of it are void in the second frame
}

TEST(Videos, FramesWithoutAnnotationAreFollowedAndNotScored) {
  VideoFolder folder;
  const ToyVideo video = draw_toy_video({48, 32, 6, 2, 0}, 0);
  for (int f = 0; f < 6; ++f)
    folder.write("toy", f, video.frames[f], f == 0 || f == 3 || f == 5 ? std::optional(video.masks[f]) : std::nullopt);
  const Bench bench;
  const VideoResult scores = propagate_video(folder.videos().at(0), bench.raw, imagenet_normalization(), 0, 4, {});
  EXPECT_EQ(scores.frames, std::vector<int64_t>{3});
}

std::string refusal(const std::function<void()>& what) {
  try {
    what();
  } catch (const Error& e) {
    return e.what();
  }
  return "nothing was refused";
}

TEST(Videos, WhatIsMissingIsNamed) {
  const ToyVideo video = draw_toy_video({48, 32, 3, 1, 0}, 0);
  const LabelImage empty{48, 32, std::vector<uint8_t>(48 * 32)};
  const auto asks = [](const VideoFolder& folder) { return refusal([&] { folder.videos(); }); };
  {
    VideoFolder folder;
    folder.write("one", 0, video.frames[0], video.masks[0]);
    EXPECT_THAT(asks(folder), HasSubstr("two frames or more"));
  }
  {
    VideoFolder folder;
    for (int f = 0; f < 3; ++f) folder.write("a", f, video.frames[f], f == 0 ? empty : video.masks[f]);
    EXPECT_THAT(asks(folder), HasSubstr("the objects to follow"));
  }
  {
    VideoFolder folder;
    for (int f = 0; f < 3; ++f) folder.write("a", f, video.frames[f], f == 0 ? std::nullopt : std::optional(video.masks[f]));
    EXPECT_THAT(asks(folder), testing::AllOf(HasSubstr("annotation of its first frame"), HasSubstr("10000.png")));
  }
  {
    VideoFolder folder;
    for (int f = 0; f < 3; ++f) folder.write("a", f, video.frames[f], video.masks[f]);
    fs::remove(folder.folder / "frames/a/10001.png");
    EXPECT_THAT(asks(folder), testing::AllOf(HasSubstr("10001.png"), HasSubstr("Frames are missing")));
    fs::remove_all(folder.folder / "masks/a");
    EXPECT_THAT(asks(folder), HasSubstr("annotations below --masks"));
    EXPECT_THAT(refusal([&] { find_videos(folder.folder / "no", folder.folder / "masks", std::nullopt); }), HasSubstr("--frames"));
    write_file_atomically(folder.folder / "list.txt", "a\nb\n");
    EXPECT_THAT(refusal([&] { find_videos(folder.folder / "frames", folder.folder / "masks", folder.folder / "list.txt"); }),
                HasSubstr("folder"));
  }
  const Bench bench;
  {
    VideoFolder folder;
    for (int f = 0; f < 3; ++f) folder.write("a", f, f == 2 ? noise_image(48, 40, 1) : video.frames[f], video.masks[f]);
    EXPECT_THAT(refusal([&] { propagate_video(folder.videos().at(0), bench.raw, imagenet_normalization(), 0, 4, {}); }),
                testing::AllOf(HasSubstr("10002.png"), HasSubstr("48 x 40")));
  }
  {
    VideoFolder folder;
    const ToyVideo wide = draw_toy_video({64, 32, 3, 1, 0}, 0);
    for (int f = 0; f < 3; ++f) folder.write("a", f, video.frames[f], f == 1 ? wide.masks[f] : video.masks[f]);
    EXPECT_THAT(refusal([&] { propagate_video(folder.videos().at(0), bench.raw, imagenet_normalization(), 0, 4, {}); }),
                testing::AllOf(HasSubstr("10001.png"), HasSubstr("64 x 32")));
    EXPECT_THAT(refusal([&] { decode_label_png(encode_png(video.frames[0])); }), HasSubstr("indexed"));
  }
}

TEST(ToyVideo, ObjectsMoveAndVideosDiffer) {
  const ToyVideoOptions options{48, 32, 5, 2, 7};
  const ToyVideo first = draw_toy_video(options, 0), again = draw_toy_video(options, 0), other = draw_toy_video(options, 1);
  EXPECT_EQ(first.frames[4].data, again.frames[4].data);
  EXPECT_NE(first.frames[4].data, other.frames[4].data);
  EXPECT_NE(first.masks[0].data, first.masks[4].data);
  for (const LabelImage& mask : first.masks) EXPECT_EQ(*std::max_element(mask.data.begin(), mask.data.end()), 2);
}

TEST(Propagate, TheSameAtAnyNumberOfRanksAndThreads) {
  const TemporaryFolder folder;
  write_toy_videos(folder.path(), 5, {48, 32, 7, 2, 0});
  const auto network = small_backbone(2, 3);
  write_safetensors(folder / "weights.safetensors", tensor_views(stored_state(*network)));
  PropagateOptions options;
  options.model.checkpoint = folder / "weights.safetensors";
  options.model.model_settings.push_back({"model.heads", "2", "test"});
  options.frames = folder / "frames";
  options.masks = folder / "masks";
  std::string alone, csv;
  for (int ranks = 1; ranks <= 4; ++ranks) {
    options.out = folder / ("out" + std::to_string(ranks));
    options.threads = ranks == 2 ? 2 : 1;
    run_thread_ranks(ranks, [&](std::shared_ptr<Communicator> comm) {
      json results = propagate(options, *comm);
      results.erase("run");
      if (ranks > 1) {
        EXPECT_EQ(results.dump(), alone) << ranks;
        return;
      }
      alone = results.dump();
      ASSERT_EQ(results["results"].size(), 4u);
      EXPECT_EQ(results["results"].at(3)["name"], "still");
      for (const json& result : results["results"]) {
        EXPECT_EQ(result["objects"], 10.0);
        EXPECT_EQ(result["films"].size(), 5u);
        EXPECT_LE(result["bootstrap95"].at(0), result["j_and_f"]);
        EXPECT_GE(result["bootstrap95"].at(1), result["j_and_f"]);
        EXPECT_DOUBLE_EQ(result["j_and_f"].get<double>(), (result["j"]["mean"].get<double>() + result["f"]["mean"].get<double>()) / 2);
      }
      EXPECT_EQ(results["paired"].size(), 3u);
      EXPECT_THAT(propagate_table(results), HasSubstr("untrained"));
    });
    if (ranks == 1) csv = read_text(options.out / "objects.csv");
    EXPECT_EQ(read_text(options.out / "objects.csv"), csv);
    EXPECT_EQ(std::distance(fs::directory_iterator(options.out / "masks/toy_04"), {}), 7);
  }
}

}  // namespace
}  // namespace dinoxx::eval
