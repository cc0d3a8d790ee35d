#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "base/files.hpp"
#include "data_pipeline/pack/pack.hpp"
#include "dinoxx/base/error.hpp"
#include "support/image_files.hpp"
#include "support/in_child.hpp"
#include "support/temporary_folder.hpp"

// Where a data folder may be made: mount points, links, folders with what file systems put there; and what a killed run leaves.
namespace dinoxx {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;
using testing_support::in_child;
using testing_support::TemporaryFolder;
using testing_support::write_png;
using testing_support::write_words;

class PackOutput : public testing::Test {
 protected:
  PackOutput() {
    options_.input = folder_ / "in";
    options_.out = folder_ / "out";
    options_.threads = 2;
    images(6);
  }
  void images(uint32_t n) {
    for (uint32_t i = 0; i < n; ++i) write_png(folder_ / fmt::format("in/{}/{:03}.png", i % 2 == 0 ? "a" : "b", i), i);
  }
  /// Names in a folder, hidden ones too.
  static std::string listing(const fs::path& folder) {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename().string());
    return fmt::format("{}", fmt::join(names, " "));
  }
  TemporaryFolder folder_;
  PackOptions options_;
};

constexpr const char* kDataFolder = "bad.csv manifest.json shard-00000.h5";

TEST_F(PackOutput, AMountPoint) {
  fs::create_directories(folder_ / "out");
  const std::string text = in_child([&] {
    testing_support::mount_tmpfs(folder_ / "out", "size=4m");
    fs::create_directory(folder_ / "out/lost+found");
    const uint64_t packed = pack(options_).samples;
    options_.overwrite = true;
    images(8);
    const uint64_t again = pack(options_).samples;
    const uint64_t read = Dataset::open(folder_ / "out")->size();
    throw std::runtime_error(fmt::format("{}, {}, {}: {}", packed, again, read, listing(folder_ / "out")));
  });
  if (text.starts_with("no mount")) GTEST_SKIP() << "no right to mount a file system: " << text;
  EXPECT_EQ(text, "6, 8, 8: bad.csv lost+found manifest.json shard-00000.h5");
}

TEST_F(PackOutput, AMountPointThatIsNotWritableIsFoundBeforeTheWork) {
  fs::create_directories(folder_ / "out");
  bool worked = false;
  options_.progress = [&](const PackProgress&) { worked = true; };
  const std::string text = in_child([&] {
    testing_support::mount_tmpfs(folder_ / "out", "size=4m");
    if (::mount("tmpfs", (folder_ / "out").c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, nullptr) != 0)
      throw std::runtime_error("no mount: remount");
    try {
      pack(options_);
    } catch (const Error& error) {
      throw std::runtime_error(std::string(worked ? "late: " : "early: ") + error.what());
    }
  });
  if (text.starts_with("no mount")) GTEST_SKIP() << "no right to mount a file system: " << text;
  EXPECT_THAT(text, AllOf(testing::StartsWith("early: "), HasSubstr("Read-only file system")));
}

TEST_F(PackOutput, ADiskThatIsTooSmallIsFoundBeforeTheWork) {
  fs::create_directories(folder_ / "out");
  for (uint32_t i = 0; i < 40; ++i) write_png(folder_ / fmt::format("in/a/large{}.png", i), i, 100, 100);  // 1.2 MB
  bool worked = false;
  options_.progress = [&](const PackProgress&) { worked = true; };
  const std::string text = in_child([&] {
    testing_support::mount_tmpfs(folder_ / "out", "size=600k");
    try {
      pack(options_);
    } catch (const Error& error) {
      throw std::runtime_error(std::string(worked ? "late: " : "early: ") + error.what());
    }
  });
  if (text.starts_with("no mount")) GTEST_SKIP() << "no right to mount a file system: " << text;
  EXPECT_THAT(text,
              AllOf(testing::StartsWith("early: "), HasSubstr("expected about 1 MB free"), HasSubstr("Free space on that file system")));
}

TEST_F(PackOutput, ALinkStaysALink) {
  fs::create_directories(folder_ / "disk/data");
  fs::create_directory_symlink("disk/data", folder_ / "out");
  pack(options_);
  EXPECT_TRUE(fs::is_symlink(folder_ / "out"));
  EXPECT_EQ(listing(folder_ / "disk/data"), kDataFolder);
  EXPECT_EQ(folder_.listing(), "disk in out");
  options_.overwrite = true;
  images(8);
  pack(options_);
  EXPECT_TRUE(fs::is_symlink(folder_ / "out"));
  EXPECT_EQ(Dataset::open(folder_ / "disk/data")->size(), 8u);
}

TEST_F(PackOutput, ALinkToNothingNamesTheFolderToMake) {
  fs::create_directories(folder_ / "disk");
  fs::create_directory_symlink("disk/new/data", folder_ / "middle");
  fs::create_directory_symlink("middle", folder_ / "out");
  pack(options_);
  EXPECT_TRUE(fs::is_symlink(folder_ / "out"));
  EXPECT_EQ(listing(folder_ / "disk/new/data"), kDataFolder);
  fs::create_directory_symlink("loop", folder_ / "loop");
  options_.out = folder_ / "loop";
  EXPECT_THAT([&] { pack(options_); }, ThrowsMessage<UsageError>(HasSubstr("a link that leads to itself")));
}

TEST_F(PackOutput, NothingIsLeftOfFoldersThatWereMadeForIt) {
  int calls = 0;
  options_.stop = [&] { return ++calls > 3; };
  options_.out = folder_ / "new/deep/out";
  EXPECT_THROW(pack(options_), Error);
  EXPECT_EQ(folder_.listing(), "in");
  fs::create_directories(folder_ / "new");
  EXPECT_THROW(pack(options_), Error);
  EXPECT_EQ(folder_.listing(), "in new");
  EXPECT_TRUE(fs::is_empty(folder_ / "new"));
}

TEST_F(PackOutput, WhatIsNotOfTheDataFolderIsNeverTaken) {
  pack(options_);
  write_words(folder_ / "out/.notes", "mine");
  write_words(folder_ / "out/thesis.tex", "precious");
  options_.overwrite = true;
  pack(options_);
  EXPECT_EQ(read_text(folder_ / "out/thesis.tex"), "precious");
  EXPECT_EQ(read_text(folder_ / "out/.notes"), "mine");
}

TEST_F(PackOutput, AKilledRunIsCleanedUp) {
  // before the files moved up
  write_words(folder_ / "out/.partial/shard-00009.h5", "left");
  pack(options_);
  EXPECT_EQ(listing(folder_ / "out"), kDataFolder);
  // while they did: there is no manifest yet
  fs::remove(folder_ / "out/manifest.json");
  write_words(folder_ / "out/.partial/manifest.json", "left");
  write_words(folder_ / "out/shard-00007.h5", "left");
  EXPECT_THAT([&] { Dataset::open(folder_ / "out"); }, ThrowsMessage<Error>(HasSubstr("not finished")));
  pack(options_);
  EXPECT_EQ(listing(folder_ / "out"), kDataFolder);
}

TEST_F(PackOutput, AReplacementThatWasKilledHalfWayIsTakenBack) {
  pack(options_);
  const std::string before = read_text(folder_ / "out/manifest.json");
  fs::create_directories(folder_ / "out/.partial/.replaced");
  for (const char* name : {"manifest.json", "bad.csv", "shard-00000.h5"}) {
    fs::rename(folder_ / "out" / name, folder_ / "out/.partial/.replaced" / name);
  }
  write_words(folder_ / "out/shard-00000.h5", "of the new set");
  write_words(folder_ / "out/shard-00001.h5", "of the new set");
  options_.overwrite = true;
  int calls = 0;
  options_.stop = [&] { return ++calls > 3; };
  EXPECT_THROW(pack(options_), Error);  // taken back, and this run changes nothing
  EXPECT_EQ(read_text(folder_ / "out/manifest.json"), before);
  EXPECT_EQ(listing(folder_ / "out"), kDataFolder);
  EXPECT_EQ(Dataset::open(folder_ / "out")->size(), 6u);
}

}  // namespace
}  // namespace dinoxx
