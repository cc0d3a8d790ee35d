// A second pack: of the same input, of one that has grown, and after an interruption.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "base/files.hpp"
#include "data_pipeline/format/manifest.hpp"
#include "data_pipeline/pack/pack.hpp"
#include "dinoxx/base/error.hpp"
#include "support/image_files.hpp"
#include "support/temporary_folder.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;
using testing_support::TemporaryFolder;
using testing_support::write_png;
using testing_support::write_words;

class PackAgain : public testing::Test {
 protected:
  void SetUp() override {
    options_.input = folder_ / "in";
    options_.out = folder_ / "out";
    options_.threads = 2;
    options_.shard_bytes = 4096;
  }
  void images(const std::string& label, uint32_t begin, uint32_t end) {
    for (uint32_t i = begin; i < end; ++i) write_png(folder_ / fmt::format("in/{}/{}.png", label, i), i);
  }
  /// Packs until so many images are done, then asks to stop.
  void interrupted(uint64_t images) {
    uint64_t done = 0;
    PackOptions stopping = options_;
    stopping.progress = [&](const PackProgress& p) {
      if (std::string(p.what) == "pack") done = p.done;
    };
    stopping.stop = [&] { return done >= images; };
    try {
      pack(stopping);
      ADD_FAILURE() << "it was not stopped";
    } catch (const Error& error) {
      code_ = error.exit_code();
      words_ = error.what();
    }
  }
  std::map<std::string, SampleMeta> samples() {
    const auto set = Dataset::open(folder_ / "out");
    std::map<std::string, SampleMeta> metas;
    for (uint64_t id = 0; id < set->size(); ++id) metas[set->key(id)] = set->meta(id);
    return metas;
  }
  TemporaryFolder folder_;
  PackOptions options_;
  ExitCode code_ = ExitCode::kDone;
  std::string words_;
};

TEST_F(PackAgain, OfTheSameInputIsDone) {
  images("cat", 0, 20);
  images("dog", 20, 40);
  const PackReport first = pack(options_);
  EXPECT_FALSE(first.already);
  const std::string manifest = read_text(folder_ / "out/manifest.json");
  const PackReport second = pack(options_);
  EXPECT_TRUE(second.already);
  EXPECT_EQ(second.fingerprint, first.fingerprint);
  EXPECT_EQ(second.samples, 40u);
  EXPECT_EQ(second.preflight, first.preflight);
  EXPECT_EQ(read_text(folder_ / "out/manifest.json"), manifest);
  options_.seed = 1;
  EXPECT_THAT([&] { pack(options_); }, ThrowsMessage<UsageError>(AllOf(HasSubstr("another input or of other options"),
                                                                       HasSubstr("--append"), HasSubstr("--overwrite"))));
}

TEST_F(PackAgain, AChangedFileOrAnotherFileIsAnotherInput) {
  images("cat", 0, 4);
  pack(options_);
  images("cat", 4, 5);
  EXPECT_THROW(pack(options_), UsageError);
  fs::remove(folder_ / "in/cat/4.png");
  EXPECT_TRUE(pack(options_).already);
  write_png(folder_ / "in/cat/3.png", 99);
  fs::last_write_time(folder_ / "in/cat/3.png", fs::last_write_time(folder_ / "in/cat/3.png") + std::chrono::seconds(5));
  EXPECT_THROW(pack(options_), UsageError);
}

TEST_F(PackAgain, AppendAddsWhatIsNewAndKeepsNumbers) {
  images("cat", 0, 20);
  images("dog", 20, 40);
  write_words(folder_ / "in/dog/bad.png", "no image");
  options_.max_bad_fraction = 0.1;
  pack(options_);
  write_words(folder_ / "out/notes.txt", "mine");
  const auto before = samples();
  images("ape", 40, 50);
  images("cat", 50, 55);
  options_.append = true;
  const PackReport report = pack(options_);
  EXPECT_EQ(report.added, 15u);
  EXPECT_EQ(report.samples, 55u);
  EXPECT_THAT(report.notes, Contains(HasSubstr("40 images of the input are in the data folder already")));
  const auto set = Dataset::open(folder_ / "out");
  EXPECT_THAT(set->class_names(), ElementsAre("cat", "dog", "ape"));  // numbers stay
  auto after = samples();
  EXPECT_EQ(after.size(), 55u);
  for (const auto& [key, meta] : before) EXPECT_EQ(after[key].label, meta.label) << key;
  EXPECT_EQ(after["ape/40.png"].label, 2);
  EXPECT_EQ(after["cat/50.png"].label, 0);
  const VerifyReport verified = verify_dataset(folder_ / "out");
  EXPECT_TRUE(verified.problems.empty());
  EXPECT_EQ(verified.duplicates, 0u);
  EXPECT_EQ(read_text(folder_ / "out/notes.txt"), "mine");
  EXPECT_EQ(read_data_manifest(folder_ / "out").bad, 1u);  // tried again, and counted once
  EXPECT_EQ(folder_.listing(), "in out");
  EXPECT_TRUE(pack(options_).already);
  options_.append = false;
  EXPECT_TRUE(pack(options_).already);
}

TEST_F(PackAgain, AnInterruptedAppendGoesOn) {
  images("cat", 0, 60);
  pack(options_);
  write_words(folder_ / "in/dog/bad.png", "no image");
  images("dog", 60, 200);
  options_.append = true;
  options_.max_bad_fraction = 0.1;
  options_.val_fraction = 0.2;
  const auto before = samples();
  interrupted(100);
  EXPECT_EQ(code_, ExitCode::kStopped);
  EXPECT_THAT(words_, HasSubstr("The same command goes on"));
  EXPECT_EQ(samples().size(), before.size());  // what is there stays usable
  interrupted(130);
  const PackReport report = pack(options_);
  EXPECT_GT(report.gone_on_at, 60u);
  EXPECT_EQ(report.added, 140u);
  EXPECT_EQ(report.samples, 200u);
  EXPECT_EQ(read_data_manifest(folder_ / "out").bad, 1u);
  EXPECT_TRUE(verify_dataset(folder_ / "out").problems.empty());
  EXPECT_TRUE(pack(options_).already);
  EXPECT_FALSE(fs::exists(folder_ / "out/.partial"));
  // as one that was not interrupted
  const std::map<std::string, SampleMeta> gone_on = samples();
  const std::string fingerprint = report.fingerprint;
  fs::remove_all(folder_ / "out");
  fs::rename(folder_ / "in/dog", folder_ / "dog");
  options_.append = false;
  options_.val_fraction = 0;
  pack(options_);
  fs::rename(folder_ / "dog", folder_ / "in/dog");
  options_.append = true;
  options_.val_fraction = 0.2;
  EXPECT_EQ(pack(options_).fingerprint, fingerprint);
  for (const auto& [key, meta] : samples()) EXPECT_EQ(meta.split, gone_on.at(key).split) << key;
}

TEST_F(PackAgain, WhatAnotherAppendLeftIsNotGoneOnWith) {
  images("cat", 0, 60);
  pack(options_);
  images("dog", 60, 200);
  options_.append = true;
  interrupted(100);
  ASSERT_EQ(code_, ExitCode::kStopped);
  options_.seed = 1;  // another order
  const PackReport report = pack(options_);
  EXPECT_EQ(report.gone_on_at, 0u);
  EXPECT_EQ(report.samples, 200u);
  EXPECT_TRUE(verify_dataset(folder_ / "out").problems.empty());
}

TEST_F(PackAgain, AppendKeepsAGroupOnItsSide) {
  std::string csv = "path,label,group\n";
  for (uint32_t i = 0; i < 60; ++i) {
    write_png(folder_ / fmt::format("{}.png", i), i);
    if (i < 40) csv += fmt::format("{}.png,a,p{}\n", i, i % 10);
  }
  write_words(folder_ / "list.csv", csv);
  options_.source = PackOptions::Source::kList;
  options_.input = folder_ / "list.csv";
  options_.val_fraction = 0.3;
  pack(options_);
  for (uint32_t i = 40; i < 60; ++i) csv += fmt::format("{}.png,b,p{}\n", i, i % 20);  // ten known groups, ten new ones
  write_words(folder_ / "list.csv", csv);
  options_.append = true;
  EXPECT_EQ(pack(options_).added, 20u);
  std::map<uint64_t, std::set<Split>> sides;
  for (const auto& [key, meta] : samples()) {
    ASSERT_TRUE(meta.group) << key;
    sides[*meta.group].insert(meta.split);
  }
  EXPECT_EQ(sides.size(), 20u);
  for (const auto& [group, splits] : sides) EXPECT_EQ(splits.size(), 1u);
}

TEST_F(PackAgain, AppendRefusesOtherLabelColumns) {
  images("cat", 0, 2);
  pack(options_);
  write_png(folder_ / "loose/1.png", 5);
  options_.input = folder_ / "loose";
  options_.append = true;
  EXPECT_THAT([&] { pack(options_); }, ThrowsMessage<UsageError>(HasSubstr("the label columns of")));
}

TEST_F(PackAgain, AnInterruptedPackGoesOnAndGivesTheSame) {
  images("cat", 0, 60);
  images("dog", 60, 120);
  write_words(folder_ / "in/cat/bad.png", "no image");
  options_.max_bad_fraction = 0.1;
  options_.val_fraction = 0.2;
  PackOptions whole = options_;
  whole.out = folder_ / "whole";
  const PackReport expected = pack(whole);
  ASSERT_GT(expected.shards, 3u);
  interrupted(60);
  EXPECT_EQ(code_, ExitCode::kStopped);
  EXPECT_THAT(words_, HasSubstr("The same command goes on"));
  EXPECT_TRUE(fs::exists(folder_ / "out/.partial"));
  interrupted(100);
  const PackReport report = pack(options_);
  EXPECT_GT(report.gone_on_at, 30u);
  EXPECT_EQ(report.fingerprint, expected.fingerprint);
  EXPECT_EQ(report.preflight, expected.preflight);
  EXPECT_EQ(read_text(folder_ / "out/bad.csv"), read_text(folder_ / "whole/bad.csv"));
  EXPECT_EQ(folder_.listing(), "in out whole");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_ / "out"), fs::directory_iterator()), static_cast<long>(report.shards) + 2);
}

TEST_F(PackAgain, ALeftoverOfAnotherInputIsNotTaken) {
  images("cat", 0, 60);
  interrupted(50);
  ASSERT_TRUE(fs::exists(folder_ / "out/.partial"));
  images("cat", 60, 61);
  const PackReport report = pack(options_);
  EXPECT_EQ(report.gone_on_at, 0u);
  EXPECT_EQ(report.samples, 61u);
  EXPECT_EQ(folder_.listing(), "in out");
}

TEST_F(PackAgain, StoppedBeforeAnythingIsWorthKeepingLeavesNothing) {
  images("cat", 0, 60);
  options_.shard_bytes = uint64_t{1} << 20;
  interrupted(50);
  EXPECT_EQ(code_, ExitCode::kFailed);
  EXPECT_EQ(folder_.listing(), "in");
}

}  // namespace
}  // namespace dinoxx
