// Groups of a list: which images have one, and that the program's own splits keep each on one side.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/files.hpp"
#include "data_pipeline/format/describe.hpp"
#include "data_pipeline/pack/pack.hpp"
#include "dinoxx/base/error.hpp"
#include "support/image_files.hpp"
#include "support/pack_options.hpp"
#include "support/temporary_folder.hpp"
#include "support/version_one.hpp"

namespace dinoxx {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing_support::list_options;
using testing_support::TemporaryFolder;
using testing_support::write_png;

std::map<std::string, SampleMeta> by_key(const Dataset& set) {
  std::map<std::string, SampleMeta> metas;
  for (uint64_t id = 0; id < set.size(); ++id) metas[set.key(id)] = set.meta(id);
  return metas;
}

TEST(Groups, TheFirstIsAGroupAndABlankIsNone) {
  const TemporaryFolder folder;
  for (uint32_t i = 0; i < 8; ++i) write_png(folder / fmt::format("{}.png", i), i);
  PackReport report =
      pack(list_options(folder, "path,group\n0.png,0\n1.png,0\n2.png,1\n3.png,\n4.png,\" 1 \"\n5.png,nan\n6.png,anna\n7.png,anna \n"));
  EXPECT_THAT(report.warnings, Contains(HasSubstr("2 of 8 images have no group")));
  const auto set = Dataset::open(folder / "out");
  auto meta = by_key(*set);
  EXPECT_TRUE(set->has_groups());
  EXPECT_EQ(meta["0.png"].group, std::optional<uint64_t>(0));
  EXPECT_EQ(meta["1.png"].group, std::optional<uint64_t>(0));
  EXPECT_EQ(meta["2.png"].group, std::optional<uint64_t>(1));
  EXPECT_EQ(meta["4.png"].group, std::optional<uint64_t>(1));
  EXPECT_FALSE(meta["3.png"].group);
  EXPECT_FALSE(meta["5.png"].group);
  ASSERT_TRUE(meta["6.png"].group);
  EXPECT_EQ(meta["6.png"].group, meta["7.png"].group);
  EXPECT_THAT(describe_data(folder / "out").text, HasSubstr("3, 0 of them in several splits; and 2 images without one"));
  EXPECT_TRUE(set->notes().empty());
}

TEST(Groups, ANumberIsAFunctionOfTheNameAlone) {
  const TemporaryFolder folder;
  for (uint32_t i = 0; i < 2; ++i) write_png(folder / fmt::format("{}.png", i), i);
  pack(list_options(folder, "path,group\n0.png,berta\n1.png,7\n"));
  const auto first = by_key(*Dataset::open(folder / "out"));
  pack(list_options(folder, "path,group\n0.png,anna\n1.png,berta\n"));
  const auto second = by_key(*Dataset::open(folder / "out"));
  EXPECT_EQ(first.at("0.png").group, second.at("1.png").group);
  EXPECT_EQ(first.at("1.png").group, std::optional<uint64_t>(7));
  EXPECT_NE(second.at("0.png").group, second.at("1.png").group);
  pack(list_options(folder, "path,group\n0.png,7.0\n1.png,7.5\n"));  // as a table with a missing value writes whole numbers
  const auto third = by_key(*Dataset::open(folder / "out"));
  EXPECT_EQ(third.at("0.png").group, std::optional<uint64_t>(7));
  EXPECT_NE(third.at("1.png").group, std::optional<uint64_t>(7));
}

TEST(Groups, FormatVersionSaysWhatTheFolderNeeds) {
  const TemporaryFolder folder;
  write_png(folder / "0.png", 0);
  pack(list_options(folder, "path,group\n0.png,0\n"));
  EXPECT_THAT(read_text(folder / "out/manifest.json"), HasSubstr("\"format_version\": 2"));
  pack(list_options(folder, "path\n0.png\n"));
  EXPECT_THAT(read_text(folder / "out/manifest.json"), HasSubstr("\"format_version\": 1"));
}

// What a folder of the first version cannot say is said to whoever looks at it or evaluates on it.
TEST(Groups, AFolderOfVersionOneSaysHowManyImagesMayHaveOne) {
  const TemporaryFolder folder;
  for (uint32_t i = 0; i < 6; ++i) write_png(folder / fmt::format("{}.png", i), i, 40, 30);
  PackOptions options = list_options(folder, "path,group\n0.png,0\n1.png,0\n2.png,1\n3.png,1\n4.png,\n5.png,anna\n");
  options.shard_bytes = 4096;
  pack(options);
  ASSERT_TRUE(std::filesystem::exists(folder / "out/shard-00001.h5")) << "images of several shards are counted";
  ASSERT_NO_FATAL_FAILURE(testing_support::make_version_one_data(folder / "out"));
  const auto set = Dataset::open(folder / "out");
  const auto meta = by_key(*set);
  for (const char* without : {"0.png", "1.png", "4.png"}) EXPECT_FALSE(meta.at(without).group) << without;
  EXPECT_EQ(meta.at("2.png").group, std::optional<uint64_t>(1));
  EXPECT_TRUE(meta.at("5.png").group);
  const auto note = testing::ElementsAre(testing::AllOf(testing::StartsWith("3 images have group 0"), HasSubstr("format version 1"),
                                                        HasSubstr("count as images without one"), HasSubstr("Pack again")));
  EXPECT_THAT(set->notes(), note);
  EXPECT_THAT(describe_data(folder / "out").notes, note);
}

/// Splits in which each group occurs.
std::map<uint64_t, std::set<Split>> sides_of(const Dataset& set) {
  std::map<uint64_t, std::set<Split>> sides;
  for (uint64_t id = 0; id < set.size(); ++id)
    if (const auto& group = set.meta(id).group) sides[*group].insert(set.meta(id).split);
  return sides;
}

TEST(HoldOut, WholeGroupsInTheSharesOfTheirClasses) {
  const TemporaryFolder folder;
  std::string csv = "path,label,group\n";
  for (uint32_t i = 0; i < 400; ++i) {  // 40 patients, each of one class; a quarter of them cats
    write_png(folder / fmt::format("{}.png", i), i);
    csv += fmt::format("{}.png,{},p{}\n", i, i / 10 % 4 == 0 ? "cat" : "dog", i / 10);
  }
  PackOptions options = list_options(folder, csv);
  options.val_fraction = 0.1;
  options.test_fraction = 0.2;
  for (uint64_t seed = 0; seed < 3; ++seed) {
    options.seed = seed;
    const PackReport report = pack(options);
    EXPECT_THAT(report.split_count, testing::ElementsAre(280, 40, 80));
    const auto set = Dataset::open(folder / "out");
    const auto sides = sides_of(*set);
    EXPECT_EQ(sides.size(), 40u);
    for (const auto& [group, splits] : sides) EXPECT_EQ(splits.size(), 1u) << group;
    std::map<std::pair<Split, int>, int> count;
    for (uint64_t id = 0; id < set->size(); ++id) ++count[{set->meta(id).split, set->meta(id).label}];
    EXPECT_EQ((count[{Split::kVal, 0}]), 10);
    EXPECT_EQ((count[{Split::kTest, 0}]), 20);
  }
}

TEST(HoldOut, MixedGroupsAndImagesWithoutOne) {
  const TemporaryFolder folder;
  std::string csv = "path,label,group\n";
  for (uint32_t i = 0; i < 120; ++i) {  // 12 patients of both classes; four of them have no name
    write_png(folder / fmt::format("{}.png", i), i);
    const uint32_t patient = i % 60 / 5;
    csv += fmt::format("{}.png,{},{}\n", i, i < 60 ? "cat" : "dog", patient < 4 ? "" : fmt::format("{}", patient - 4));
  }
  PackOptions options = list_options(folder, csv);
  options.val_fraction = 0.1;
  options.test_fraction = 0.2;
  EXPECT_THAT(pack(options).split_count, testing::ElementsAre(84, 12, 24));
  for (const auto& [group, splits] : sides_of(*Dataset::open(folder / "out"))) EXPECT_EQ(splits.size(), 1u) << group;
}

TEST(HoldOut, EachShareGetsAGroupHoweverLargeTheyAre) {
  const TemporaryFolder folder;
  std::string csv = "path,group\n";
  for (uint32_t i = 0; i < 60; ++i) {
    write_png(folder / fmt::format("{}.png", i), i);
    csv += fmt::format("{}.png,{}\n", i, i / 20);
  }
  PackOptions options = list_options(folder, csv);
  options.val_fraction = options.test_fraction = 0.05;
  EXPECT_THAT(pack(options).split_count, testing::ElementsAre(20, 20, 20));
}

TEST(HoldOut, AnEmptyShareIsSaidWithItsReason) {
  const TemporaryFolder folder;
  for (uint32_t i = 0; i < 34; ++i) write_png(folder / fmt::format("in/{}/{}.png", i % 2, i), i);
  PackOptions options;
  options.input = folder / "in";
  options.out = folder / "out";
  options.val_fraction = 0.0001;
  EXPECT_THAT(pack(options).warnings,
              testing::Contains(testing::AllOf(testing::HasSubstr("val has 0 %"), testing::HasSubstr("a larger share is needed"))));
}

TEST(HoldOut, CopiesOfAPictureStayTogether) {
  const TemporaryFolder folder;
  for (uint32_t i = 0; i < 60; ++i) write_png(folder / fmt::format("in/{}/{}.png", i % 2, i), i / 4);  // each picture four times
  PackOptions options;
  options.input = folder / "in";
  options.out = folder / "out";
  options.val_fraction = 0.2;
  options.test_fraction = 0.2;
  const PackReport report = pack(options);
  EXPECT_GE(report.split_count[1], 8u);
  EXPECT_GE(report.split_count[2], 8u);
  const VerifyReport verified = verify_dataset(folder / "out");
  EXPECT_EQ(verified.duplicates, 45u);
  EXPECT_EQ(verified.duplicates_across_splits, 0u);
}

TEST(HoldOut, AnImageInTwoGroupsJoinsThem) {
  const TemporaryFolder folder;
  std::string csv = "path,group\n";
  for (uint32_t i = 0; i < 40; ++i) {
    write_png(folder / fmt::format("{}.png", i), i == 20 ? 0 : i);  // the first picture of group 0 again in group 10
    csv += fmt::format("{}.png,{}\n", i, i / 2);
  }
  PackOptions options = list_options(folder, csv);
  options.val_fraction = 0.5;
  for (options.seed = 0; options.seed < 8; ++options.seed) {
    pack(options);
    const auto sides = sides_of(*Dataset::open(folder / "out"));
    EXPECT_EQ(sides.at(0), sides.at(10)) << options.seed;
  }
}

TEST(HoldOut, ValIsTakenOfTrainWhereTheInputHasATestSplit) {
  const TemporaryFolder folder;
  for (uint32_t i = 0; i < 50; ++i) write_png(folder / fmt::format("in/{}/a/{}.png", i < 40 ? "train" : "test", i), i);
  PackOptions options;
  options.input = folder / "in";
  options.out = folder / "out";
  options.val_fraction = 0.1;
  EXPECT_THAT(pack(options).split_count, testing::ElementsAre(36, 4, 10));
  options.test_fraction = 0.1;
  options.overwrite = true;
  EXPECT_THAT([&] { pack(options); },
              testing::ThrowsMessage<UsageError>(HasSubstr("--test-fraction: expected input without a test split of its own")));
}

}  // namespace
}  // namespace dinoxx
