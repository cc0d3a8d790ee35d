#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <map>

#include "base/files.hpp"
#include "data_pipeline/pack/pack.hpp"
#include "dinoxx/base/error.hpp"
#include "support/image_files.hpp"
#include "support/in_child.hpp"
#include "support/temporary_folder.hpp"

// Bad input and bad luck for pack and for reading: a message that says what to do, and nothing half written.
namespace dinoxx {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;
using testing_support::in_child;
using testing_support::TemporaryFolder;
using testing_support::write_bytes;
using testing_support::write_png;
using testing_support::write_words;

class PackFault : public testing::Test {
 protected:
  PackFault() {
    options_.input = folder_ / "in";
    options_.out = folder_ / "out";
    options_.threads = 2;
  }
  void good_images(uint32_t n, int width = 8, int height = 6) {
    for (uint32_t i = 0; i < n; ++i) write_png(folder_ / fmt::format("in/{}/{:03}.png", i % 2 == 0 ? "a" : "b", i), i, width, height);
  }
  template <class Kind>
  void refused(const std::string& words) {
    const std::string before = folder_.listing();
    EXPECT_THAT([&] { pack(options_); }, ThrowsMessage<Kind>(HasSubstr(words)));
    EXPECT_EQ(folder_.listing(), before);
  }
  TemporaryFolder folder_;
  PackOptions options_;
};

TEST_F(PackFault, MissingFolder) {
  refused<UsageError>("nothing there");
}

TEST_F(PackFault, AFileForAFolder) {
  write_words(folder_ / "in", "x");
  refused<UsageError>("--list");
}

TEST_F(PackFault, EmptyFolder) {
  fs::create_directories(folder_ / "in/cats");
  refused<UsageError>("an empty folder");
}

TEST_F(PackFault, FolderWithoutAnImage) {
  write_words(folder_ / "in/cats/readme.txt", "x");
  write_words(folder_ / "in/cats/data.csv", "x");
  refused<UsageError>("2 files that are no images by their names");
}

TEST_F(PackFault, MissingList) {
  options_.source = PackOptions::Source::kList;
  refused<UsageError>("a CSV file");
}

TEST_F(PackFault, OneClassOnlyIsAWarning) {
  write_png(folder_ / "in/only/1.png", 1);
  EXPECT_THAT(pack(options_).warnings, testing::ElementsAre(HasSubstr("only one class")));
}

TEST_F(PackFault, BadImagesAreSkippedCountedAndListed) {
  good_images(20);
  write_words(folder_ / "in/a/empty.png", "");
  write_words(folder_ / "in/a/text.jpg", "this is text");
  std::vector<uint8_t> jpeg = testing_support::golden_file("jpeg_420");
  jpeg.resize(jpeg.size() - 20);
  write_bytes(folder_ / "in/b/cut.jpg", jpeg);
  write_words(folder_ / "in/b/other.webp", std::string_view("RIFF\0\0\0\0WEBPVP8 ", 16));
  // a header that promises 100000 x 100000 pixels
  std::vector<uint8_t> huge = testing_support::golden_file("png_rgb");
  for (const size_t at : {size_t{16}, size_t{20}}) {
    huge[at] = 0;
    huge[at + 1] = 1;
    huge[at + 2] = 0x86;
    huge[at + 3] = 0xA0;
  }
  const uint8_t crc[4] = {0x27, 0x30, 0x9C, 0x9F};
  std::copy(crc, crc + 4, huge.begin() + 29);
  write_bytes(folder_ / "in/b/huge.png", huge);
  fs::create_symlink(folder_ / "nowhere.png", folder_ / "in/b/dangling.png");
  options_.max_bad_fraction = 0.5;
  const PackReport report = pack(options_);
  EXPECT_EQ(report.samples, 20u);
  std::map<std::string, std::string> bad;
  for (const BadInput& one : report.bad) bad[one.key] = one.reason;
  ASSERT_EQ(bad.size(), 6u);
  EXPECT_THAT(bad["a/empty.png"], HasSubstr("an empty file"));
  EXPECT_THAT(bad["a/text.jpg"], HasSubstr("no known image format"));
  EXPECT_THAT(bad["b/cut.jpg"], HasSubstr("Premature end"));
  EXPECT_THAT(bad["b/other.webp"], HasSubstr("WebP"));
  EXPECT_THAT(bad["b/huge.png"], HasSubstr("100000 x 100000"));
  EXPECT_THAT(bad["b/dangling.png"], HasSubstr("No such file"));
  EXPECT_THAT(report.warnings, testing::Contains(HasSubstr("6 bad images were left out")));
  const std::string csv = read_text(folder_ / "out/bad.csv");
  EXPECT_THAT(csv, AllOf(testing::StartsWith("path,reason,kind\n"), HasSubstr("b/cut.jpg,"), HasSubstr("a/empty.png,")));
  EXPECT_EQ(Dataset::open(folder_ / "out")->size(), 20u);
}

TEST_F(PackFault, MoreThanOnePercentBadIsAnError) {
  good_images(199);
  write_words(folder_ / "in/a/1.png", "bad");
  write_words(folder_ / "in/a/2.png", "bad");
  EXPECT_EQ(pack(options_).bad.size(), 2u);  // 2 of 201: not more than 1 %
  write_words(folder_ / "in/a/3.png", "bad");
  options_.overwrite = true;
  const std::string before = read_text(folder_ / "out/manifest.json");
  EXPECT_THAT([&] { pack(options_); }, ThrowsMessage<Error>(AllOf(HasSubstr("at most 1 % of 202 images"), HasSubstr("a/3.png"),
                                                                  HasSubstr("--max-bad-fraction"), HasSubstr("out.bad.csv"))));
  EXPECT_EQ(folder_.listing(), "in out out.bad.csv");
  EXPECT_THAT(read_text(folder_ / "out.bad.csv"), HasSubstr("a/3.png"));
  EXPECT_EQ(read_text(folder_ / "out/manifest.json"), before);  // the old set is untouched
}

TEST_F(PackFault, AllImagesBad) {
  write_words(folder_ / "in/a/1.png", "bad");
  options_.max_bad_fraction = 0.999;
  EXPECT_THAT([&] { pack(options_); }, ThrowsMessage<Error>(HasSubstr("a/1.png")));
  EXPECT_FALSE(fs::exists(folder_ / "out"));
  options_.max_bad_fraction = 1;
  EXPECT_THAT([&] { pack(options_); }, ThrowsMessage<Error>(HasSubstr("a good image")));
  EXPECT_FALSE(fs::exists(folder_ / "out"));
}

TEST_F(PackFault, AMaskOfAnotherSizeIsBad) {
  write_png(folder_ / "1.png", 1);
  write_bytes(folder_ / "m.png", encode_gray_png(std::vector<uint8_t>(12), 4, 3));
  write_words(folder_ / "list.csv", "path,mask\n1.png,m.png\n");
  options_.source = PackOptions::Source::kList;
  options_.input = folder_ / "list.csv";
  EXPECT_THAT([&] { pack(options_); }, ThrowsMessage<Error>(HasSubstr("8 x 6 as its image, found 4 x 3")));
}

TEST_F(PackFault, ExistingOutputIsKept) {
  good_images(4);
  write_words(folder_ / "out/thesis.tex", "precious");
  refused<UsageError>("a folder with other files");
  options_.overwrite = true;
  refused<UsageError>("only data folders are overwritten");
  EXPECT_EQ(read_text(folder_ / "out/thesis.tex"), "precious");
  options_.out = folder_ / "out/thesis.tex";
  refused<UsageError>("a file of that name");
}

TEST_F(PackFault, OverwriteOnlyWhenAsked) {
  good_images(4);
  fs::create_directories(folder_ / "out");  // empty: may be taken
  pack(options_);
  EXPECT_TRUE(pack(options_).already);
  good_images(8);
  refused<UsageError>("--overwrite");
  options_.overwrite = true;
  pack(options_);
  EXPECT_EQ(Dataset::open(folder_ / "out")->size(), 8u);
  EXPECT_EQ(folder_.listing(), "in out");
}

TEST_F(PackFault, StoppedLeavesNothingAndAKilledRunIsCleanedUp) {
  good_images(30);
  int calls = 0;
  options_.stop = [&] { return ++calls > 10; };
  refused<Error>("a request to stop");
  options_.stop = nullptr;
  write_words(folder_ / "out/.partial/shard-00009.h5", "left by a killed run");
  pack(options_);
  EXPECT_EQ(folder_.listing(), "in out");
  EXPECT_FALSE(fs::exists(folder_ / "out/shard-00009.h5"));
}

TEST_F(PackFault, UnwritableOutput) {
  good_images(4);
  options_.out = "/proc/dinoxx/data";  // refused to root too
  refused<Error>("/proc/dinoxx");
}

TEST_F(PackFault, AWriteThatFailsLeavesNothing) {
  good_images(40, 64, 64);
  const std::string text = in_child([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{100000, 100000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    pack(options_);
  });
  EXPECT_THAT(text, AllOf(HasSubstr("shard-00000.h5"), HasSubstr("File too large"))) << text;
  EXPECT_EQ(folder_.listing(), "in");
}

TEST_F(PackFault, FullDisk) {
  options_.source = PackOptions::Source::kToy;  // nobody knows the size before
  options_.toy.count = 2000;
  fs::create_directories(folder_ / "small");
  options_.out = folder_ / "small/out";
  options_.shard_bytes = 400000;  // some shards fit
  const std::string text = in_child([&] {
    testing_support::mount_tmpfs(folder_ / "small", "size=1m");
    std::string message;
    try {
      pack(options_);
    } catch (const Error& error) {
      message = error.what();
    }
    // the mount is seen by this process alone
    const bool clean = fs::is_empty(folder_ / "small");
    throw std::runtime_error(message + (clean ? " [clean]" : " [left something]"));
  });
  if (text.starts_with("no mount"))
    GTEST_SKIP() << "a full file system needs the right to mount one; AWriteThatFailsLeavesNothing covers the code path: " << text;
  EXPECT_THAT(text, AllOf(HasSubstr("No space left on device"), HasSubstr("Free space"), HasSubstr("[clean]"))) << text;
}

class DataFault : public testing::Test {
 protected:
  void SetUp() override {
    for (uint32_t i = 0; i < 40; ++i) write_png(folder_ / fmt::format("in/{}/{:03}.png", i % 2 == 0 ? "a" : "b", i), i);
    PackOptions options;
    options.input = folder_ / "in";
    options.out = folder_ / "data";
    options.shard_bytes = 4096;
    pack(options);
    ASSERT_TRUE(fs::exists(folder_ / "data/shard-00001.h5"));
  }
  void refused(const std::string& words) {
    EXPECT_THAT([&] { Dataset::open(folder_ / "data"); }, ThrowsMessage<Error>(HasSubstr(words)));
  }
  void edit(const std::string& name, const std::string& from, const std::string& to) {
    std::string text = read_text(folder_ / name);
    const size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos);
    write_words(folder_ / name, text.replace(at, from.size(), to));
  }
  TemporaryFolder folder_;
};

TEST_F(DataFault, NothingThere) {
  EXPECT_THAT([&] { Dataset::open(folder_ / "nowhere"); },
              ThrowsMessage<Error>(AllOf(HasSubstr("nothing there"), HasSubstr("dinoxx pack"))));
  EXPECT_THAT([&] { Dataset::open(folder_ / "in"); }, ThrowsMessage<Error>(HasSubstr("manifest.json")));
  EXPECT_THAT([&] { Dataset::open(folder_ / "data/shard-00000.h5"); }, ThrowsMessage<Error>(HasSubstr("a data folder")));
}

TEST_F(DataFault, OpensByFolderOrManifest) {
  EXPECT_EQ(Dataset::open(folder_ / "data")->size(), 40u);
  EXPECT_EQ(Dataset::open(folder_ / "data/manifest.json")->size(), 40u);
}

TEST_F(DataFault, MissingShard) {
  fs::remove(folder_ / "data/shard-00001.h5");
  refused("shard-00001.h5");
}

TEST_F(DataFault, TornShard) {
  fs::resize_file(folder_ / "data/shard-00001.h5", fs::file_size(folder_ / "data/shard-00001.h5") / 2);
  refused("shard-00001.h5");
}

TEST_F(DataFault, ShardsSwapped) {
  fs::rename(folder_ / "data/shard-00001.h5", folder_ / "data/x");
  fs::rename(folder_ / "data/shard-00000.h5", folder_ / "data/shard-00001.h5");
  fs::rename(folder_ / "data/x", folder_ / "data/shard-00000.h5");
  refused("as the manifest says");
}

TEST_F(DataFault, DamagedManifest) {
  const std::string good = read_text(folder_ / "data/manifest.json");
  write_words(folder_ / "data/manifest.json", good.substr(0, good.size() / 2));
  refused("a JSON object");
  write_words(folder_ / "data/manifest.json", "{}");
  refused("format \"dinoxx-data\"");
  write_words(folder_ / "data/manifest.json", good);
  edit("data/manifest.json", "\"format_version\": 1", "\"format_version\": 3");
  refused("format version 1 to 2, found 3");
  write_words(folder_ / "data/manifest.json", good);
  edit("data/manifest.json", "\"has_groups\": false", "\"has_groups\": 7");
  refused("all fields of a manifest");
  write_words(folder_ / "data/manifest.json", good);
  edit("data/manifest.json", "\"uuid\": \"", "\"uuid\": \"0");
  refused("fingerprint");
  write_words(folder_ / "data/manifest.json", good);
  edit("data/manifest.json", "shard-00000.h5", "../00000.h5");
  refused("files of this folder");
  write_words(folder_ / "data/manifest.json", good);
  edit("data/manifest.json", "\"a\"", "\"x\"");
  refused("the classes that the manifest names");
}

TEST_F(DataFault, UsedBitsThatNoImageHasAreRefused) {
  const std::string good = read_text(folder_ / "data/manifest.json"), before = "\"has_masks\": false,";
  for (const auto& [bits, found] : {std::pair("12", ""), std::pair("8", ""), std::pair("7", "found 7"), std::pair("17", "found 17"),
                                    std::pair("-1", "found -1"), std::pair("\"12\"", "found ")}) {
    write_words(folder_ / "data/manifest.json", good);
    edit("data/manifest.json", before, fmt::format("{} \"used_bits\": {},", before, bits));
    const bool typed = std::string_view(bits).starts_with('"');
    if (*found == '\0')
      EXPECT_EQ(Dataset::open(folder_ / "data")->used_bits(), std::stoi(bits));
    else
      EXPECT_THAT([&] { Dataset::open(folder_ / "data"); },
                  ThrowsMessage<Error>(AllOf(HasSubstr("manifest.json: expected"),
                                             HasSubstr(typed ? "all fields of a manifest" : "used_bits from 8 to 16"), HasSubstr(found),
                                             HasSubstr("Copy the data folder again from its source, or pack again"))))
          << bits;
  }
}

TEST_F(DataFault, AFlippedByteIsFoundByReadAndByVerify) {
  EXPECT_TRUE(verify_dataset(folder_ / "data").problems.empty());
  const auto before = Dataset::open(folder_ / "data");
  const std::string key = before->key(5);
  std::vector<uint8_t> sample;
  before->read(5, sample);
  std::string shard = read_text(folder_ / "data/shard-00000.h5");
  const size_t at = shard.find(std::string(sample.begin(), sample.end()));
  ASSERT_NE(at, std::string::npos);
  shard[at + sample.size() / 2] ^= 4;
  write_words(folder_ / "data/shard-00000.h5", shard);
  const auto set = Dataset::open(folder_ / "data");
  EXPECT_THAT([&] { set->read(5, sample); }, ThrowsMessage<Error>(AllOf(HasSubstr("shard-00000.h5"), HasSubstr(key), HasSubstr("CRC32C"))));
  set->read(4, sample);
  const VerifyReport report = verify_dataset(folder_ / "data");
  ASSERT_EQ(report.problems.size(), 2u);
  EXPECT_THAT(report.problems[0], HasSubstr("of the file"));
  EXPECT_THAT(report.problems[1], HasSubstr(key));
  EXPECT_THAT([&] { set->meta(40); }, ThrowsMessage<Error>(HasSubstr("below 40")));
}

TEST_F(DataFault, AllProblemsAreCounted) {
  PackOptions options;
  for (uint32_t i = 0; i < 120; ++i) write_png(folder_ / fmt::format("many/{}.png", i), 1000 + i);
  options.input = folder_ / "many";
  options.out = folder_ / "many_packed";
  pack(options);
  std::string shard = read_text(folder_ / "many_packed/shard-00000.h5");
  const auto set = Dataset::open(folder_ / "many_packed");
  std::vector<uint8_t> sample;
  for (uint64_t id = 0; id < set->size(); ++id) {
    set->read(id, sample);
    const size_t at = shard.find(std::string(sample.begin(), sample.end()));
    ASSERT_NE(at, std::string::npos);
    shard[at + sample.size() / 2] ^= 4;
  }
  write_words(folder_ / "many_packed/shard-00000.h5", shard);
  const VerifyReport report = verify_dataset(folder_ / "many_packed");
  EXPECT_EQ(report.problem_count, 121u);  // and the file's own checksum
  EXPECT_EQ(report.problems.size(), 100u);
}

TEST_F(DataFault, AFileCutWhileItIsOpenIsAnErrorNotASignal) {
  const auto set = Dataset::open(folder_ / "data");
  fs::resize_file(folder_ / "data/shard-00000.h5", 1000);
  std::vector<uint8_t> sample;
  EXPECT_THAT([&] { set->read(0, sample); }, ThrowsMessage<Error>(HasSubstr("cut short")));
}

}  // namespace
}  // namespace dinoxx
