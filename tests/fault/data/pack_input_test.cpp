#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/files.hpp"
#include "data_pipeline/pack/pack.hpp"
#include "data_pipeline/pack/pack_plan.hpp"
#include "dinoxx/base/error.hpp"
#include "support/image_files.hpp"
#include "support/in_child.hpp"
#include "support/png_parts.hpp"
#include "support/temporary_folder.hpp"

// What users' folders and lists hold, and what pack makes of it: which files are taken, which are left out and by what reason.
namespace dinoxx {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;
using testing::ThrowsMessage;
using testing_support::golden_file;
using testing_support::in_child;
using testing_support::TemporaryFolder;
using testing_support::write_bytes;
using testing_support::write_png;
using testing_support::write_words;

class PackInput : public testing::Test {
 protected:
  PackInput() {
    options_.input = folder_ / "in";
    options_.out = folder_ / "out";
    options_.threads = 2;
    options_.max_bad_fraction = 0.5;
  }
  void good_images(uint32_t n) {
    for (uint32_t i = 0; i < n; ++i) write_png(folder_ / fmt::format("in/{}/{:03}.png", i % 2 == 0 ? "a" : "b", i), i);
  }
  /// kind of each bad image
  std::map<std::string, std::string> kinds(const PackReport& report) {
    std::map<std::string, std::string> kinds;
    for (const BadInput& one : report.bad) kinds[one.key] = one.kind;
    return kinds;
  }
  TemporaryFolder folder_;
  PackOptions options_;
};

std::vector<uint8_t> with_bytes_before_the_end(std::vector<uint8_t> jpeg) {
  jpeg.insert(jpeg.end() - 2, 30, 0);
  return jpeg;
}

// ---- faults of files

TEST_F(PackInput, FaultsThatCostNoPixelAreTakenCountedAndNamed) {
  good_images(2);
  const std::vector<uint8_t> sound = golden_file("jpeg_420");
  for (int i = 0; i < 3; ++i) write_bytes(folder_ / fmt::format("in/a/phone{}.jpg", i), with_bytes_before_the_end(sound));
  std::vector<uint8_t> png = golden_file("png_rgb");
  png.resize(png.size() - 12);
  write_bytes(folder_ / "in/b/end.png", png);
  const PackReport report = pack(options_);
  EXPECT_EQ(report.samples, 6u);
  EXPECT_TRUE(report.bad.empty());
  EXPECT_THAT(report.warnings,
              Contains(AllOf(HasSubstr("cost no pixel"), HasSubstr("3 extraneous bytes before a marker, 1 damage after the last pixel"))));
  const std::string list = read_text(folder_ / "out/faults.csv");
  EXPECT_THAT(list, testing::StartsWith("path,fault,pixels\na/phone0.jpg,extraneous bytes before a marker,sound\n"));
  EXPECT_TRUE(verify_dataset(folder_ / "out").problems.empty());

  options_.tolerance = Tolerance::kStrict;
  options_.out = folder_ / "strict";
  options_.max_bad_fraction = 0.7;
  const PackReport strict = pack(options_);
  EXPECT_EQ(strict.samples, 2u);
  EXPECT_EQ(kinds(strict)["a/phone0.jpg"], "damaged");
  EXPECT_FALSE(fs::exists(folder_ / "strict/faults.csv"));
}

TEST_F(PackInput, TheLenientKeepWhatIsLeft) {
  good_images(3);
  std::vector<uint8_t> cut = encode_png(testing_support::test_image(40, 30, 5));
  cut.resize(cut.size() / 2);
  write_bytes(folder_ / "in/a/cut.png", cut);
  EXPECT_EQ(kinds(pack(options_))["a/cut.png"], "damaged");
  options_.out = folder_ / "lenient";
  options_.tolerance = Tolerance::kLenient;
  const PackReport report = pack(options_);
  EXPECT_TRUE(report.bad.empty());
  EXPECT_THAT(report.warnings, Contains(HasSubstr("1 images have lost a part of their pixels")));
  EXPECT_THAT(read_text(folder_ / "lenient/faults.csv"), HasSubstr("a/cut.png,truncated,lost"));
  const auto set = Dataset::open(folder_ / "lenient");
  std::vector<uint8_t> bytes;
  for (uint64_t id = 0; id < set->size(); ++id) {  // every reader can read it: what is stored is a sound file
    set->read(id, bytes);
    DecodeLimits strict;
    strict.tolerance = Tolerance::kStrict;
    Image image;
    decode_image(bytes, image, strict);
    if (set->key(id) == "a/cut.png") EXPECT_EQ(image.width, 40);
  }
}

// ---- bad.csv

TEST_F(PackInput, TheListOfBadImagesIsCompleteAndByKind) {
  good_images(4);
  for (int i = 0; i < 40; ++i) write_words(folder_ / fmt::format("in/a/bad{:02}.png", i), i % 2 == 0 ? "text" : "");
  options_.max_bad_fraction = 0.05;
  EXPECT_THAT([&] { pack(options_); },
              ThrowsMessage<Error>(AllOf(HasSubstr("at most 5 % of 44 images"), HasSubstr("40 bad (20 empty, 20 not JPEG or PNG)"))));
  const std::string list = read_text(folder_ / "out.bad.csv");
  EXPECT_EQ(std::count(list.begin(), list.end(), '\n'), 41);
  EXPECT_LT(list.find("a/bad39.png"), list.find("a/bad00.png"));  // the empty ones come first, each kind by path
  EXPECT_LT(list.find("a/bad01.png"), list.find("a/bad39.png"));
  EXPECT_FALSE(fs::exists(folder_ / "out"));
}

TEST_F(PackInput, NoGoodImageIsListedToo) {
  write_words(folder_ / "in/a/1.png", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n");
  write_words(folder_ / "in/a/2.jpg", "<html>404</html>");
  options_.max_bad_fraction = 1;
  EXPECT_THAT([&] { pack(options_); }, ThrowsMessage<Error>(AllOf(HasSubstr("a good image"), HasSubstr("2 bad (2 not JPEG or PNG)"),
                                                                  HasSubstr("git lfs pull"), HasSubstr("out.bad.csv"))));
  EXPECT_THAT(read_text(folder_ / "out.bad.csv"), HasSubstr("Get the image again"));
}

TEST_F(PackInput, TheListGoesWhereItCanBeWritten) {
  write_words(folder_ / "in/a/1.png", "bad");
  good_images(2);
  options_.max_bad_fraction = 0;
  fs::create_directories(folder_ / "out.bad.csv");  // in the way
  fs::create_directories(folder_ / "here");
  const std::string text = in_child([&] {
    fs::current_path(folder_ / "here");
    pack(options_);
  });
  EXPECT_THAT(text, HasSubstr((folder_ / "here/out.bad.csv").string()));
  EXPECT_THAT(read_text(folder_ / "here/out.bad.csv"), HasSubstr("a/1.png"));
}

// ---- files that are none, limits, advice

TEST_F(PackInput, WhatIsNoFileIsLeftOutAndDoesNotBlock) {
  good_images(6);
  ASSERT_EQ(::mkfifo((folder_ / "in/a/pipe.jpg").c_str(), 0600), 0);
  fs::create_symlink("/dev/zero", folder_ / "in/a/zero.png");
  fs::create_symlink("pipe.jpg", folder_ / "in/a/link.jpg");
  ::alarm(60);  // the test must be able to fail
  const PackReport report = pack(options_);
  ::alarm(0);
  EXPECT_EQ(report.samples, 6u);
  auto found = kinds(report);
  EXPECT_EQ(found["a/pipe.jpg"], "not a file");
  EXPECT_EQ(found["a/zero.png"], "not a file");
  EXPECT_EQ(found["a/link.jpg"], "not a file");
  EXPECT_THAT(read_text(folder_ / "out/bad.csv"), AllOf(HasSubstr("a named pipe"), HasSubstr("a device")));
}

TEST_F(PackInput, TheLimitOnOpenFilesIsNotAFaultOfTheFiles) {
  good_images(4);
  const std::string text = in_child([&] {
    options_.progress = [&](const PackProgress& p) {  // from the first image on
      if (p.done != 1) return;
      const rlimit limit{3, 3};
      ::setrlimit(RLIMIT_NOFILE, &limit);
    };
    options_.threads = 1;
    for (uint32_t i = 10; i < 60; ++i) write_png(folder_ / fmt::format("in/a/{:03}.png", i), i);
    pack(options_);
  });
  EXPECT_THAT(text, AllOf(HasSubstr("Too many open files"), HasSubstr("ulimit -n"), Not(HasSubstr("images to be bad")))) << text;
  EXPECT_FALSE(fs::exists(folder_ / "out/manifest.json"));
}

TEST_F(PackInput, TheLimitOnOpenFilesIsNotAFaultOfAShard) {
  good_images(4);
  pack(options_);
  const std::string text = in_child([&] {
    const FileDescriptor last("/dev/null");
    const rlimit limit{static_cast<rlim_t>(last.get()) + 2, static_cast<rlim_t>(last.get()) + 2};
    ::setrlimit(RLIMIT_NOFILE, &limit);
    Dataset::open(folder_ / "out");
  });
  EXPECT_THAT(text, AllOf(HasSubstr("Too many open files"), HasSubstr("ulimit -n"))) << text;
}

TEST_F(PackInput, AnUnsupportedKindIsNotCalledDamaged) {
  good_images(4);
  std::vector<uint8_t> deep = golden_file("jpeg_420");
  for (size_t at = 2; at + 4 < deep.size(); at += 2 + (size_t{deep[at + 2]} << 8 | deep[at + 3])) {
    if (deep[at + 1] != 0xC0) continue;
    deep[at + 1] = 0xC1;
    deep[at + 4] = 12;  // bits
    break;
  }
  write_bytes(folder_ / "in/a/deep.jpg", deep);
  std::vector<uint8_t> phone = golden_file("png_rgb");
  const std::vector<uint8_t> chunk = testing_support::chunk("CgBI", std::string("\x50\0\x20\x02", 4));
  phone.insert(phone.begin() + 8 + 25, chunk.begin(), chunk.end());
  write_bytes(folder_ / "in/a/phone.png", phone);
  const PackReport report = pack(options_);
  EXPECT_EQ(kinds(report)["a/deep.jpg"], "unsupported kind of image");
  EXPECT_EQ(kinds(report)["a/phone.png"], "unsupported kind of image");
  EXPECT_THAT(read_text(folder_ / "out/bad.csv"), HasSubstr("Save it again as an ordinary"));
}

TEST_F(PackInput, AdviceFitsTheReason) {
  for (int i = 0; i < 8; ++i) write_png(folder_ / fmt::format("img/{}.png", i), static_cast<uint32_t>(i));
  fs::create_symlink("self.png", folder_ / "img/self.png");
  write_words(
      folder_ / "list.csv",
      "path\nimg/0.png\nimg/1.png\nimg/2.png\nimg/3.png\nimg/4.png\nimg\\5.png\nhttps://x/y.jpg\nimg/none.png\nimg/self.png\nimg\n");
  options_.source = PackOptions::Source::kList;
  options_.input = folder_ / "list.csv";
  const PackReport report = pack(options_);
  std::map<std::string, std::string> reasons;
  for (const BadInput& one : report.bad) reasons[one.key] = one.reason;
  EXPECT_THAT(reasons["img\\5.png"], HasSubstr("Write / between folders"));
  EXPECT_THAT(reasons["https://x/y.jpg"], HasSubstr("Download it first"));
  EXPECT_THAT(reasons["img/none.png"], AllOf(HasSubstr("No such file"), HasSubstr("Check the path")));
  EXPECT_THAT(reasons["img/self.png"], HasSubstr("A link leads to itself"));
  EXPECT_THAT(reasons["img"], HasSubstr("found a folder"));
  EXPECT_THAT(reading_advice(EACCES), AllOf(HasSubstr("permission to read"), Not(HasSubstr("write"))));
}

// ---- lists

TEST_F(PackInput, OneFileUnderTwoSpellingsIsNamedTwice) {
  for (int i = 0; i < 3; ++i) write_png(folder_ / fmt::format("img/{}.png", i), static_cast<uint32_t>(i));
  options_.source = PackOptions::Source::kList;
  options_.input = folder_ / "list.csv";
  const std::string absolute = (folder_ / "img/0.png").string();
  for (const std::string& other :
       {std::string("./img/0.png"), std::string("img//0.png"), std::string("img/../img/0.png"), absolute, "file://" + absolute}) {
    write_words(folder_ / "list.csv", "path,label\nimg/0.png,x\nimg/1.png,y\n" + other + ",y\n");
    EXPECT_THAT([&] { pack(options_); }, ThrowsMessage<UsageError>(HasSubstr("line 4: expected each path once"))) << other;
  }
  write_words(folder_ / "list.csv", "path\n./img/0.png\nimg/./1.png\nfile://" + (folder_ / "img/2.png").string() + "\n");
  pack(options_);
  const auto set = Dataset::open(folder_ / "out");
  std::set<std::string> keys;
  for (uint64_t id = 0; id < set->size(); ++id) keys.insert(set->key(id));
  EXPECT_THAT(keys, testing::ElementsAre((folder_ / "img/2.png").string(), "img/0.png", "img/1.png"));
}

/// Labels as text -> classes and the label of each image.
struct Labels {
  std::vector<std::string> classes, notes;
  std::vector<int32_t> labels;
};
Labels labels_of(std::vector<std::string> texts) {
  Labels out;
  detail::clear_missing_labels("label", texts, out.notes);
  out.classes = detail::number_classes(texts, out.labels);
  return out;
}

TEST(Labels, WhatMeansNothingIsNoClass) {
  using testing::ElementsAre;
  using testing::IsEmpty;
  for (const char* nothing : {"NaN", "nan", "<NA>", "#N/A"}) {
    const Labels found = labels_of({"cat", nothing, "dog", nothing, ""});
    EXPECT_THAT(found.classes, ElementsAre("cat", "dog")) << nothing;
    EXPECT_THAT(found.labels, ElementsAre(0, -1, 1, -1, -1)) << nothing;
    EXPECT_THAT(found.notes, ElementsAre(HasSubstr(fmt::format("2 fields \"{}\" count as no label", nothing))));
  }
  EXPECT_THAT(labels_of({"3", "-1", "10", "-1"}).labels, ElementsAre(0, -1, 1, -1));
  EXPECT_THAT(labels_of({"0", "-1", "1"}).labels, ElementsAre(0, -1, 1));
  EXPECT_THAT(labels_of({"3.0", "-1.0", "10.0", "nan"}).labels, ElementsAre(0, -1, 1, -1));  // by value, not 10.0 before 3.0
  // two classes called -1 and 1, and numbers below: classes
  EXPECT_THAT(labels_of({"1", "-1", "1"}).classes, ElementsAre("-1", "1"));
  EXPECT_THAT(labels_of({"-2", "-1", "0"}).classes, ElementsAre("-2", "-1", "0"));
  EXPECT_THAT(labels_of({"cat", "-1"}).classes, ElementsAre("-1", "cat"));
  EXPECT_THAT(labels_of({"none", "scratch"}).classes, ElementsAre("none", "scratch"));  // a picture without a defect
  EXPECT_THAT(labels_of({"cat", "dog"}).notes, IsEmpty());
}

// ---- 16 bits

TEST_F(PackInput, SixteenBitsOfWhichFewAreUsedAreSaidAndScaled) {
  for (uint16_t i = 0; i < 4; ++i) {
    write_bytes(folder_ / fmt::format("in/{}/{}.png", i % 2 == 0 ? "a" : "b", i),
                testing_support::deep_png({0, static_cast<uint16_t>(1000 + i), 2048, 4095}, 2));
  }
  write_png(folder_ / "in/a/plain.png", 1);
  const PackReport plain = pack(options_);
  EXPECT_THAT(plain.warnings, Contains(AllOf(HasSubstr("4 images of 16 bits are dark"), HasSubstr("pack with --used-bits 12"))));

  const auto pixels = [&](const fs::path& data) {
    const auto set = Dataset::open(data);
    std::vector<uint8_t> bytes;
    Image image;
    for (uint64_t id = 0; id < set->size(); ++id) {
      if (set->key(id) != "a/0.png") continue;
      set->read(id, bytes);
      decode_image(bytes, image);
      EXPECT_EQ(inspect_image(bytes).channels, 1);
    }
    return image.data;
  };
  using testing::ElementsAre;
  EXPECT_THAT(pixels(folder_ / "out"), ElementsAre(0, 0, 0, 3, 3, 3, 8, 8, 8, 15, 15, 15));
  for (const int bits : {12, 0}) {  // by number, and the set's own
    options_.used_bits = bits;
    options_.out = folder_ / fmt::format("scaled{}", bits);
    const PackReport report = pack(options_);
    EXPECT_THAT(report.warnings, Not(Contains(HasSubstr("--used-bits")))) << bits;
    EXPECT_THAT(pixels(options_.out), ElementsAre(0, 0, 0, 62, 62, 62, 128, 128, 128, 255, 255, 255)) << bits;
    EXPECT_EQ(Dataset::open(options_.out)->used_bits(), 12) << "for images that are read later";
  }
  options_.used_bits = 7;
  EXPECT_THAT([&] { pack(options_); }, ThrowsMessage<UsageError>(HasSubstr("--used-bits")));
}

TEST_F(PackInput, AMaskOfSixteenBitsKeepsItsForeground) {
  write_png(folder_ / "1.png", 1, 2, 2);
  write_bytes(folder_ / "m.png", testing_support::deep_png({0, 1, 255, 65535}, 2));
  write_words(folder_ / "list.csv", "path,mask\n1.png,m.png\n");
  options_.source = PackOptions::Source::kList;
  options_.input = folder_ / "list.csv";
  pack(options_);
  std::vector<uint8_t> mask;
  Dataset::open(folder_ / "out")->read_mask(0, mask);
  Image image;
  decode_image(mask, image);
  EXPECT_THAT(image.data, testing::ElementsAre(0, 0, 0, 1, 1, 1, 255, 255, 255, 255, 255, 255));
}

}  // namespace
}  // namespace dinoxx
