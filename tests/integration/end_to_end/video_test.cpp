// Labels that follow a video and points that are matched, as a user runs them.
#include <gmock/gmock.h>

#include "base/files.hpp"
#include "program.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;
using namespace testing_support;

TEST(Video, DrawnFilmsAreFollowedAndTheNumbersAreThoseOfOneRank) {
  Workshop& shop = Workshop::get();
  const fs::path films = shop.folder / "films", list = shop.folder / "list.txt";
  const RunResult drawn = dinoxx_run("propagate --toy " + films.string());
  ASSERT_EQ(drawn.code, 0) << drawn.output;
  EXPECT_THAT(drawn.output, HasSubstr("--masks " + (films / "masks").string()));
  write_file_atomically(list, "toy_01\ntoy_04\ntoy_07\n");
  const std::string line = "propagate --checkpoint " + shop.run().string() + " --frames " + (films / "frames").string() + " --masks " +
                           (films / "masks").string() + " --list " + list.string() + " --image-size 64";
  json alone;
  for (const int ranks : {0, 2}) {
    const fs::path out = shop.folder / ("propagate" + std::to_string(ranks));
    const RunResult run = dinoxx_run(line + " --out " + out.string(), ranks);
    ASSERT_EQ(run.code, 0) << run.output;
    const json results = results_without_run(out);
    if (ranks > 0) {
      EXPECT_EQ(results.dump(), alone.dump());
      continue;
    }
    alone = results;
    for (const char* part : {"3 videos", "teacher", "untrained", "raw", "still", "J&F"}) EXPECT_THAT(run.output, HasSubstr(part));
    ASSERT_EQ(results["results"].size(), 4u);
    EXPECT_EQ(results["results"].at(0)["films"].at(2)["name"], "toy_07");
    EXPECT_EQ(results["results"].at(0)["films"].at(0)["scored_frames"].size(), 22u);
    // what moves is followed better by its pixels than by standing still
    EXPECT_GT(results["results"].at(2)["j_and_f"], results["results"].at(3)["j_and_f"]);
    for (const char* file : {"objects.csv", "masks/toy_01/00000.png", "masks/toy_07/00023.png"})
      EXPECT_TRUE(fs::exists(out / file)) << file;
  }
  const fs::path none = shop.folder / "none";
  const std::string elsewhere = "propagate --checkpoint " + shop.run().string() + " --out " + none.string();
  const std::string frames = " --frames " + (films / "frames").string();
  expect_refusal(dinoxx_run(elsewhere + frames), 2, {"--masks"}, none);
  expect_refusal(dinoxx_run(elsewhere + frames + " --masks " + (films / "no").string()), 2, {"--masks", "no folder"}, none);
  write_file_atomically(list, "toy_1\n");
  expect_refusal(dinoxx_run(elsewhere + frames + " --masks " + (films / "masks").string() + " --list " + list.string()), 2,
                 {"toy_1", "Did you mean"}, none);
  EXPECT_THAT(dinoxx_run("propagate --help").output, HasSubstr("JPEGImages"));
}

TEST(Video, PlacesAreFoundAgainInWarpedImagesAndInPairs) {
  Workshop& shop = Workshop::get();
  const fs::path out = shop.folder / "warped";
  const RunResult run = dinoxx_run("eval --checkpoint " + shop.run().string() + " --data " + shop.data().string() +
                                   " --protocol match,segmentation --out " + out.string());
  ASSERT_EQ(run.code, 0) << run.output;
  EXPECT_THAT(run.output, HasSubstr("best of grid"));
  const json results = results_without_run(out);
  for (const json& result : results["suites"]["match"]["results"]) {
    EXPECT_EQ(result["images"], 32);
    EXPECT_LE(result["pck"]["0.2"], result["best_of_grid"]["0.2"]) << result["name"];
    EXPECT_GT(result["pck"]["0.2"], result["chance"]["0.2"]) << result["name"];
  }
  EXPECT_EQ(results["suites"]["match"]["paired"].size(), 2u * 3u);
  const json& paired = results["suites"]["linseg"]["paired"];
  const json& of = results["suites"]["linseg"]["results"];
  ASSERT_GE(of.size(), 3u);
  int compared = 0;
  for (const json& row : paired) {
    if (row["figure"] != "object_miou" || row["second"] != "raw") continue;
    ++compared;
    EXPECT_DOUBLE_EQ(row["difference"].get<double>(),
                     of[0]["object"]["pixel"]["miou"].get<double>() - of[2]["object"]["pixel"]["miou"].get<double>());
  }
  EXPECT_EQ(compared, 1);
  int with_interval = 0;
  for (const char* step : {"linseg", "match"})
    for (const json& row : results["suites"][step]["paired"]) {
      const json& interval = row["interval95"];
      if (interval.is_null()) {  // the same difference in every resample, as where both call everything an object
        EXPECT_THAT(row["undefined"]["interval95"].get<std::string>(), HasSubstr("the same value")) << row;
        continue;
      }
      ++with_interval;
      ASSERT_EQ(interval.size(), 2u) << row;
      EXPECT_LE(interval[0], row["difference"]) << row;
      EXPECT_GE(interval[1], row["difference"]) << row;
    }
  EXPECT_GT(with_interval, 0);

  const fs::path films = shop.folder / "pairs";
  ASSERT_EQ(dinoxx_run("propagate --toy " + films.string()).code, 0);
  const fs::path frames = films / "frames/toy_00", list = frames / "pairs.json";
  write_file_atomically(list, R"([{"first": "00000.png", "second": "00000.png", "points": [[20, 20, 20, 20], [100, 60, 100, 60]]}])");
  const fs::path found = shop.folder / "found";
  const RunResult match = dinoxx_run("match --checkpoint " + shop.run().string() + " --pairs " + list.string() + " --out " +
                                     found.string() + " --image-size 96");
  ASSERT_EQ(match.code, 0) << match.output;
  EXPECT_EQ(json_file(found / "results.json")["results"].at(0)["pck"]["0.1"], 1.0);  // of itself
  EXPECT_TRUE(json_file(found / "results.json")["results"].at(0)["bootstrap95"]["0.1"].is_null());
  expect_refusal(dinoxx_run("match --checkpoint " + shop.run().string() + " --pairs " + (frames / "no.json").string() + " --out " +
                            (shop.folder / "none").string()),
                 2, {"--pairs", "no.json"}, shop.folder / "none");
}

}  // namespace
}  // namespace dinoxx
