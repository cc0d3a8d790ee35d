// Dense features as a user sees them: linear segmentation of a run's checkpoints on packed masks, and "dinoxx attend" on one picture.
#include <gmock/gmock.h>

#include <cmath>
#include <fstream>

#include "base/files.hpp"
#include "dinoxx/data_pipeline/image.hpp"
#include "program.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;
using namespace testing_support;

Image read_png(const fs::path& path) {
  const std::string bytes = read_text(path);
  Image image;
  decode_image({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, image);
  return image;
}

TEST(Dense, ACheckpointsLinearSegmentationIsTheSameAtAnyNumberOfRanks) {
  Workshop& shop = Workshop::get();
  json alone;
  for (const int ranks : {0, 3}) {
    const fs::path out = shop.folder / ("linseg" + std::to_string(ranks));
    const RunResult run = dinoxx_run("eval --checkpoint " + shop.run().string() + " --checkpoint-step 3 --data " + shop.data().string() +
                                         " --protocol segmentation --out " + out.string(),
                                     ranks);
    ASSERT_EQ(run.code, 0) << run.output;
    const json results = results_without_run(out);
    if (ranks > 0) {
      EXPECT_EQ(results.dump(), alone.dump());
      continue;
    }
    alone = results;
    for (const char* part : {"linear segmentation", "teacher", "untrained", "raw", "background", "best head"})
      EXPECT_THAT(run.output, HasSubstr(part));
    EXPECT_EQ(results["checkpoint"]["step"], 3);
    const json& of_steps = results["suites"]["linseg"]["results"];
    ASSERT_EQ(of_steps.size(), 3u);
    for (const json& result : of_steps) {
      EXPECT_EQ(result["images"]["queries"], 32);
      EXPECT_EQ(result["patches"]["grid"], (json{4, 4}));
      EXPECT_GT(result["object"]["pixel"]["miou"], result["object"]["all_background"]["miou"]) << result["name"];
      EXPECT_EQ(result["attention"].contains("heads"), result["name"] != "raw");
    }
    EXPECT_FALSE(fs::exists(out / "predictions_linseg.csv"));
  }
}

TEST(Dense, AttendWritesPicturesOfThePictureAndItsNumbers) {
  Workshop& shop = Workshop::get();
  const fs::path image = shop.folder / "picture.png", out = shop.folder / "attend";
  Image picture{40, 24, std::vector<uint8_t>(40 * 24 * 3)};
  for (size_t i = 0; i < picture.data.size(); ++i) picture.data[i] = static_cast<uint8_t>(i * i % 251);
  const std::vector<uint8_t> png = encode_png(picture);
  write_file_atomically(image, {reinterpret_cast<const char*>(png.data()), png.size()});
  const std::string line = "attend " + image.string() + " --checkpoint " + shop.run().string() + " --out " + out.string();
  const RunResult run = dinoxx_run(line + " --image-size 32 --patch 1,2");
  ASSERT_EQ(run.code, 0) << run.output;
  const json numbers = json_file(out / "attend.json");
  // short side 24 to 32, long side 40 to 53.3, of which 56 is the nearest multiple of 8
  EXPECT_EQ(numbers["input"], (json{{"width", 56}, {"height", 32}}));
  EXPECT_EQ(numbers["grid"], (json{4, 7}));
  EXPECT_EQ(numbers["checkpoint"]["step"], 6);
  EXPECT_EQ(numbers["files"], (json{"input.png", "attention_mean.png", "attention_head_0.png", "attention_head_1.png", "pca.png",
                                    "similarity.png", "overview.png"}));
  for (const json& file : numbers["files"]) {
    const Image shown = read_png(out / file.get<std::string>());
    const bool all = file == "overview.png";  // six pictures, four in a row
    EXPECT_EQ(shown.width, all ? 4 * 56 + 3 * 4 : 56) << file;
    EXPECT_EQ(shown.height, all ? 2 * 32 + 4 : 32) << file;
  }
  const json& attention = numbers["attention"];
  ASSERT_EQ(attention["heads"].size(), 2u);
  double cls = 0;
  for (const json& head : attention["heads"]) {
    EXPECT_NEAR(head["sum"].get<double>(), 1, 1e-5);
    EXPECT_NEAR(head["mass"]["cls"].get<double>() + head["mass"]["patches"].get<double>(), 1, 1e-5);
    EXPECT_TRUE(head["mass"]["registers"].empty());
    EXPECT_LE(head["entropy"], std::log(29.0) + 1e-6);
    EXPECT_GT(head["entropy"], 0.0);
    cls += head["mass"]["cls"].get<double>() / 2;
  }
  EXPECT_NEAR(attention["mean"]["mass"]["cls"].get<double>(), cls, 1e-6);
  EXPECT_EQ(numbers["similarity"]["patch"], (json{1, 2}));
  EXPECT_NEAR(numbers["similarity"]["max"].get<double>(), 1, 1e-5);
  const Image similarity = read_png(out / "similarity.png");
  EXPECT_EQ(similarity.data[3 * (12 * 56 + 20)], 255);  // the patch itself
  double explained = 0;
  for (const json& share : numbers["pca"]["explained"]) explained += share.get<double>();
  EXPECT_EQ(numbers["pca"]["explained"].size(), 3u);
  EXPECT_LE(explained, 1.0 + 1e-9);
  const Image map = read_png(out / "attention_mean.png");
  EXPECT_EQ(*std::max_element(map.data.begin(), map.data.end()), 255);

  const fs::path none = shop.folder / "none";
  const std::string elsewhere = " --checkpoint " + shop.run().string() + " --out " + none.string();
  expect_refusal(dinoxx_run("attend " + image.string() + elsewhere + " --patch 4,0"), 2, {"--patch", "4,7"}, none);
  expect_refusal(dinoxx_run("attend " + image.string() + elsewhere + " --patch 4"), 2, {"--patch", "ROW,COLUMN"}, none);
  expect_refusal(dinoxx_run("attend " + (shop.folder / "nothing.png").string() + elsewhere), 2, {"nothing.png"}, none);
  expect_refusal(dinoxx_run("attend" + elsewhere), 2, {"one IMAGE"}, none);
  expect_refusal(dinoxx_run("attend " + image.string() + " --out " + none.string()), 2, {"--checkpoint"}, none);
  expect_refusal(dinoxx_run("attend " + (shop.run() / "config.cfg").string() + elsewhere), 1, {"config.cfg"}, none);
}

}  // namespace
}  // namespace dinoxx
