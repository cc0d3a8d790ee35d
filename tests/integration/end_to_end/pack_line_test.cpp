// What options of pack and of info do as they are typed. The work behind them: tests/unit/data, tests/fault/data.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.hpp"
#include "dinoxx/data_pipeline/dataset.hpp"
#include "image_files.hpp"
#include "png_parts.hpp"
#include "program.hpp"
#include "version_one.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using namespace testing_support;

class PackLine : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  RunResult packed(const std::string& more, const std::string& out = "out") const {
    return dinoxx_run("pack --from-folder " + path("in") + " --out " + path(out) + " " + more);
  }
  /// `n` images of each of two classes, a third of them in test.
  void sound_images(int n) const {
    for (int i = 0; i < 2 * n; ++i)
      write_png(folder_ / fmt::format("in/{}/{}/{}.png", i % 6 < 4 ? "train" : "test", i % 2 == 0 ? "a" : "b", i),
                static_cast<uint32_t>(i));
  }
  std::vector<uint8_t> pixels(const std::string& data, const std::string& key) const {
    const auto set = Dataset::open(folder_ / data);
    std::vector<uint8_t> bytes;
    Image image;
    for (uint64_t id = 0; id < set->size(); ++id) {
      if (set->key(id) != key) continue;
      set->read(id, bytes);
      decode_image(bytes, image);
    }
    return image.data;
  }
  const TemporaryFolder folder_;
};

TEST_F(PackLine, StrictMakesAWarningAnError) {
  sound_images(30);
  const RunResult sound = packed("--strict");
  ASSERT_EQ(sound.code, 0) << sound.output;
  EXPECT_THAT(sound.output, Not(HasSubstr("warning:")));
  EXPECT_EQ(dinoxx_run("info --data " + path("out") + " --strict").code, 0);

  // a warning that is known before an image is packed, and one that only its pixels tell
  write_png(folder_ / "in/train/c/only.png", 1000);
  expect_refusal(packed("--strict", "few"), 1, {"expected an input without warnings (--strict)", "Nothing was written"}, path("few"));
  fs::remove_all(folder_ / "in/train/c");
  write_bytes(folder_ / "in/train/a/dark.png", deep_png({0, 1000, 2048, 4095}, 2));
  expect_refusal(packed("--strict", "dark"), 1, {"(--strict)", "--used-bits 12", "Nothing was written"}, path("dark"));

  const RunResult plain = packed("", "dark");
  ASSERT_EQ(plain.code, 0) << plain.output;
  EXPECT_THAT(plain.output, HasSubstr("warning: "));
  expect_refusal(packed("--strict", "dark"), 1, {"(--strict)"});  // what is packed already is no excuse
  const RunResult info = dinoxx_run("info --data " + path("dark"));
  EXPECT_EQ(info.code, 0) << info.output;
  EXPECT_THAT(info.output, HasSubstr("warning: "));
  expect_refusal(dinoxx_run("info --data " + path("dark") + " --strict"), 1,
                 {path("dark"), "expected a data folder without warnings (--strict)", "found 1 of them", "pack again"});
  expect_refusal(dinoxx_run("info --strict"), 2, {"--strict: expected --data beside it"});
}

TEST_F(PackLine, ToleranceSaysWhichFaultsArePacked) {
  sound_images(3);
  std::vector<uint8_t> longer = golden_file("jpeg_420");  // with bytes before its end: all pixels are there
  longer.insert(longer.end() - 2, 30, 0);
  write_bytes(folder_ / "in/train/a/longer.jpg", longer);
  std::vector<uint8_t> cut = encode_png(test_image(40, 30, 5));
  cut.resize(cut.size() / 2);
  write_bytes(folder_ / "in/train/b/cut.png", cut);
  for (const auto& [tolerance, images] : {std::pair("strict", 6), std::pair("pixels", 7), std::pair("lenient", 8)}) {
    const RunResult run = packed(fmt::format("--max-bad-fraction 0.5 --tolerance {}", tolerance), tolerance);
    ASSERT_EQ(run.code, 0) << run.output;
    EXPECT_THAT(run.output, HasSubstr(fmt::format("{}: {} images", path(tolerance), images)));
  }
  EXPECT_EQ(pixels("strict", "train/a/longer.jpg").size(), 0u);
  EXPECT_EQ(pixels("lenient", "train/b/cut.png").size(), 40u * 30 * 3);
  const RunResult usual = packed("--max-bad-fraction 0.5", "usual");
  EXPECT_THAT(usual.output, HasSubstr(path("usual") + ": 7 images")) << "pixels is what counts when nothing is said";
  expect_refusal(packed("--tolerance loose", "none"), 2, {"--tolerance: expected strict, pixels or lenient, found \"loose\""},
                 path("none"));
}

TEST_F(PackLine, UsedBitsScaleImagesOfSixteen) {
  sound_images(3);
  write_bytes(folder_ / "in/train/a/dark.png", deep_png({0, 1000, 2048, 4095}, 2));
  const std::string key = "train/a/dark.png";
  using testing::ElementsAre;
  for (const char* bits : {"12", "auto"}) {
    const RunResult run = packed(fmt::format("--used-bits {}", bits), bits);
    ASSERT_EQ(run.code, 0) << run.output;
    EXPECT_THAT(pixels(bits, key), ElementsAre(0, 0, 0, 62, 62, 62, 128, 128, 128, 255, 255, 255)) << bits;
    EXPECT_EQ(Dataset::open(folder_ / bits)->used_bits(), 12) << bits;
  }
  ASSERT_EQ(packed("", "all").code, 0);
  EXPECT_THAT(pixels("all", key), ElementsAre(0, 0, 0, 3, 3, 3, 8, 8, 8, 15, 15, 15)) << "all 16 count when nothing is said";
  for (const char* wrong : {"7", "17", "12.5", "many", "-12"})
    expect_refusal(packed(fmt::format("--used-bits={}", wrong), "none"), 2,
                   {fmt::format("--used-bits: expected 8 to 16, or auto, found \"{}\"", wrong), "A camera of 12 bits needs 12"},
                   path("none"));
}

TEST_F(PackLine, InfoSaysWhatAFolderOfVersionOneLeavesOpen) {
  for (uint32_t i = 0; i < 4; ++i) write_png(folder_ / fmt::format("{}.png", i), i);
  write_words(folder_ / "list.csv", "path,label,group\n0.png,x,0\n1.png,x,0\n2.png,y,1\n3.png,y,\n");
  const RunResult run = dinoxx_run("pack --list " + path("list.csv") + " --out " + path("out"));
  ASSERT_EQ(run.code, 0) << run.output;
  const std::string words = "note: 3 images have group 0 in a data folder of format version 1";
  EXPECT_THAT(dinoxx_run("info --data " + path("out")).output, Not(HasSubstr("format version 1")));
  ASSERT_NO_FATAL_FAILURE(make_version_one_data(folder_ / "out"));
  const RunResult info = dinoxx_run("info --data " + path("out"));
  EXPECT_EQ(info.code, 0) << info.output;
  EXPECT_THAT(info.output, AllOf(HasSubstr(words), HasSubstr("Pack again to make it known")));
}

}  // namespace
}  // namespace dinoxx
