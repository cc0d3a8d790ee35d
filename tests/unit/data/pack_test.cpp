#include "data_pipeline/pack/pack.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/csv.hpp"
#include "data_pipeline/format/describe.hpp"
#include "data_pipeline/pack/pack_plan.hpp"
#include "dinoxx/base/error.hpp"
#include "support/image_files.hpp"
#include "support/pack_options.hpp"
#include "support/temporary_folder.hpp"

namespace dinoxx {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;
using testing_support::folder_options;
using testing_support::list_options;
using testing_support::TemporaryFolder;
using testing_support::write_bytes;
using testing_support::write_png;
using testing_support::write_words;

/// key -> id
std::map<std::string, uint64_t> by_key(const Dataset& set) {
  std::map<std::string, uint64_t> ids;
  for (uint64_t id = 0; id < set.size(); ++id) ids[set.key(id)] = id;
  return ids;
}

TEST(Pack, ClassFoldersBecomeLabels) {
  const TemporaryFolder folder;
  for (uint32_t i = 0; i < 5; ++i) write_png(folder / fmt::format("in/zebra/{}.png", i), i);
  for (uint32_t i = 0; i < 3; ++i) write_png(folder / fmt::format("in/ape/sub/{}.PNG", i), 100 + i);
  write_bytes(folder / "in/ape/photo.jpeg", testing_support::golden_file("jpeg_420"));
  write_words(folder / "in/ape/notes.txt", "not an image");
  write_words(folder / "in/.hidden/x.png", "not looked at");
  const PackReport report = pack(folder_options(folder));
  EXPECT_EQ(report.samples, 9u);
  EXPECT_EQ(report.classes, 2u);
  EXPECT_TRUE(report.bad.empty());
  EXPECT_THAT(report.warnings, ElementsAre(HasSubstr("1 files that are no images")));
  EXPECT_EQ(folder.listing(), "in out");

  const auto set = Dataset::open(folder / "out");
  EXPECT_EQ(set->size(), 9u);
  EXPECT_EQ(set->fingerprint(), report.fingerprint);
  EXPECT_THAT(set->class_names(), ElementsAre("ape", "zebra"));
  const auto ids = by_key(*set);
  std::vector<uint8_t> bytes;
  for (uint32_t i = 0; i < 5; ++i) {
    const uint64_t id = ids.at(fmt::format("zebra/{}.png", i));
    EXPECT_EQ(set->meta(id).label, 1);
    set->read(id, bytes);
    EXPECT_EQ(bytes, encode_png(testing_support::test_image(8, 6, i)));
    EXPECT_EQ(set->meta(id).width, 8u);
    EXPECT_EQ(set->meta(id).height, 6u);
  }
  EXPECT_EQ(set->meta(ids.at("ape/photo.jpeg")).codec, Codec::kJpeg);
  EXPECT_EQ(set->meta(ids.at("ape/sub/2.PNG")).label, 0);
  EXPECT_TRUE(set->has_split(Split::kTrain));
  EXPECT_FALSE(set->has_split(Split::kTest));
  EXPECT_EQ(set->ids(Split::kTrain).size(), 9u);
  EXPECT_THAT(describe_data(folder / "out").text, AllOf(HasSubstr("zebra"), HasSubstr("9 (1 JPEG, 8 PNG)"), HasSubstr(report.fingerprint)));
}

TEST(Pack, SplitFoldersAreUnderstood) {
  const TemporaryFolder folder;
  uint32_t seed = 0;
  for (const char* split : {"train", "Validation", "test"}) {
    for (const char* name : {"a", "b"}) write_png(folder / fmt::format("in/{}/{}/1.png", split, name), seed++);
  }
  pack(folder_options(folder));
  const auto set = Dataset::open(folder / "out");
  const auto ids = by_key(*set);
  EXPECT_EQ(set->meta(ids.at("train/a/1.png")).split, Split::kTrain);
  EXPECT_EQ(set->meta(ids.at("Validation/b/1.png")).split, Split::kVal);
  EXPECT_EQ(set->meta(ids.at("test/b/1.png")).split, Split::kTest);
  EXPECT_EQ(set->meta(ids.at("test/b/1.png")).label, 1);
  EXPECT_THAT(set->class_names(), ElementsAre("a", "b"));
}

TEST(Pack, FlatFolderHasNoLabels) {
  const TemporaryFolder folder;
  for (uint32_t i = 0; i < 3; ++i) write_png(folder / fmt::format("in/{}.png", i), i);
  const PackReport report = pack(folder_options(folder));
  EXPECT_THAT(report.warnings, ElementsAre(HasSubstr("no labels")));
  const auto set = Dataset::open(folder / "out");
  EXPECT_TRUE(set->class_names().empty());
  EXPECT_EQ(set->meta(0).label, -1);
}

TEST(Pack, LooseImagesBesideClassesAreUnlabelledAndSaidSo) {
  const TemporaryFolder folder;
  write_png(folder / "in/a/1.png", 1);
  write_png(folder / "in/b/1.png", 2);
  write_png(folder / "in/loose.png", 3);
  const PackReport report = pack(folder_options(folder));
  EXPECT_THAT(report.warnings, ElementsAre(HasSubstr("1 images lie beside the class folders")));
  const auto set = Dataset::open(folder / "out");
  EXPECT_EQ(set->meta(by_key(*set).at("loose.png")).label, -1);
}

TEST(Pack, EveryKindOfJpegAndPng) {
  const TemporaryFolder folder;
  for (const char* kind :
       {"jpeg_420", "jpeg_progressive", "jpeg_gray", "jpeg_cmyk", "png_rgb", "png_gray", "png_gray_alpha", "png_rgba", "png_bilevel",
        "png_palette", "png_palette_transparent", "png_interlaced", "png_rgb16", "png_gray16", "jpeg_exif_6"}) {
    write_bytes(folder / fmt::format("in/{}{}", kind, kind[0] == 'j' ? ".jpg" : ".png"), testing_support::golden_file(kind));
  }
  const PackReport report = pack(folder_options(folder));
  EXPECT_EQ(report.samples, 15u);
  EXPECT_TRUE(report.bad.empty());
  const auto set = Dataset::open(folder / "out");
  const SampleMeta& turned = set->meta(by_key(*set).at("jpeg_exif_6.jpg"));
  EXPECT_EQ(turned.width, 13u);  // stored as 19 x 13
  EXPECT_EQ(turned.height, 19u);
  EXPECT_TRUE(verify_dataset(folder / "out").problems.empty());
}

TEST(Pack, EqualAtAnyNumberOfThreadsMixedBySeed) {
  const TemporaryFolder folder;
  for (uint32_t i = 0; i < 60; ++i) write_png(folder / fmt::format("in/{}/{}.png", i / 20, i), i);
  PackOptions options = folder_options(folder);
  options.shard_bytes = 4096;
  std::vector<std::string> prints;
  for (const int threads : {1, 4}) {
    options.threads = threads;
    options.out = folder / fmt::format("out{}", threads);
    const PackReport report = pack(options);
    EXPECT_GT(report.shards, 2u);
    prints.push_back(report.fingerprint);
  }
  EXPECT_EQ(prints[0], prints[1]);
  options.seed = 1;
  options.out = folder / "other";
  EXPECT_NE(pack(options).fingerprint, prints[0]);

  const auto set = Dataset::open(folder / "out1");
  std::vector<int> labels;
  for (uint64_t id = 0; id < set->size(); ++id) labels.push_back(set->meta(id).label);
  EXPECT_FALSE(std::is_sorted(labels.begin(), labels.end()));
  std::vector<uint8_t> bytes;
  for (const auto& [key, id] : by_key(*set)) {  // across shards
    set->read(id, bytes);
    EXPECT_EQ(bytes, encode_png(testing_support::test_image(8, 6, static_cast<uint32_t>(std::stoi(key.substr(key.find('/') + 1))))));
  }
}

TEST(Pack, HoldsOutShareOfEachClass) {
  const TemporaryFolder folder;
  for (uint32_t i = 0; i < 60; ++i) write_png(folder / fmt::format("in/{}/{}.png", i < 40 ? "big" : "small", i), i);
  PackOptions options = folder_options(folder);
  options.val_fraction = 0.1;
  options.test_fraction = 0.2;
  const PackReport report = pack(options);
  EXPECT_THAT(report.split_count, ElementsAre(42, 6, 12));
  const auto set = Dataset::open(folder / "out");
  std::map<std::pair<int, int>, int> count;
  for (uint64_t id = 0; id < set->size(); ++id) ++count[{static_cast<int>(set->meta(id).split), set->meta(id).label}];
  EXPECT_EQ((count[{2, 0}]), 8);
  EXPECT_EQ((count[{2, 1}]), 4);
  EXPECT_EQ((count[{1, 1}]), 2);
  options.test_fraction = 0.9;
  options.overwrite = true;
  EXPECT_THAT([&] { pack(options); }, ThrowsMessage<UsageError>(HasSubstr("leave something to train on")));
}

TEST(Pack, LongTailKeepsTheFirstImagesOfEachClassAndAllOfTheTest) {
  const TemporaryFolder folder;
  for (const char* split : {"train", "test"})
    for (uint32_t i = 0; i < 60; ++i) write_png(folder / fmt::format("in/{}/c{}/{:02}.png", split, i % 3, i / 3), i);
  PackOptions options = folder_options(folder);
  options.long_tail = 16;  // 20, 20 / 4, 20 / 16
  const PackReport report = pack(options);
  EXPECT_THAT(report.split_count, ElementsAre(20 + 5 + 1, 0, 60));
  const auto set = Dataset::open(folder / "out");
  std::map<int, std::set<std::string>> kept;
  for (const auto& [key, id] : by_key(*set))
    if (set->meta(id).split == Split::kTrain) kept[set->meta(id).label].insert(key);
  EXPECT_THAT(kept[1], ElementsAre("train/c1/00.png", "train/c1/01.png", "train/c1/02.png", "train/c1/03.png", "train/c1/04.png"));
  EXPECT_EQ(kept[2].size(), 1u);
  options.overwrite = true;
  options.long_tail = 0.5;
  EXPECT_THAT([&] { pack(options); }, ThrowsMessage<UsageError>(HasSubstr("--long-tail")));
}

TEST(Pack, ListWithEverything) {
  const TemporaryFolder folder;
  for (uint32_t i = 0; i < 4; ++i) write_png(folder / fmt::format("images/{}, \"x\".png", i), i);
  write_bytes(folder / "images/mask.png", encode_gray_png(std::vector<uint8_t>(48, 200), 8, 6));
  write_png(folder / "images/colour mask.png", 77);
  PackOptions options = list_options(folder,
                                     "\xEF\xBB\xBFpath,label,label_fine,split,group,mask,weight\r\n"
                                     "\"images/0, \"\"x\"\".png\",dog,10,train,p1,images/mask.png,2.5\r\n"
                                     "\"images/1, \"\"x\"\".png\",cat,9,val,p2,,\r\n"
                                     "\r\n"
                                     "\"images/2, \"\"x\"\".png\",,9,test,p1,\"images/colour mask.png\",0\r\n"
                                     "\"images/3, \"\"x\"\".png\",dog,,,p0,,1\r\n");
  const PackReport report = pack(options);
  EXPECT_EQ(report.samples, 4u);
  const auto set = Dataset::open(folder / "out");
  ASSERT_EQ(set->label_columns().size(), 2u);
  EXPECT_THAT(set->label_columns()[0].classes, ElementsAre("cat", "dog"));
  EXPECT_EQ(set->label_columns()[1].name, "label_fine");
  EXPECT_THAT(set->label_columns()[1].classes, ElementsAre("9", "10"));  // as numbers
  const auto ids = by_key(*set);
  const uint64_t id[4] = {ids.at("images/0, \"x\".png"), ids.at("images/1, \"x\".png"), ids.at("images/2, \"x\".png"),
                          ids.at("images/3, \"x\".png")};
  EXPECT_EQ(set->label(id[0], 0), 1);
  EXPECT_EQ(set->label(id[0], 1), 1);
  EXPECT_EQ(set->label(id[2], 0), -1);
  EXPECT_EQ(set->label(id[3], 1), -1);
  EXPECT_EQ(set->meta(id[1]).split, Split::kVal);
  EXPECT_EQ(set->meta(id[2]).split, Split::kTest);
  EXPECT_EQ(set->meta(id[3]).split, Split::kTrain);
  EXPECT_TRUE(set->has_groups());
  EXPECT_EQ(set->meta(id[0]).group, set->meta(id[2]).group);
  EXPECT_NE(set->meta(id[0]).group, set->meta(id[3]).group);
  EXPECT_EQ(set->meta(id[0]).weight, 2.5f);
  EXPECT_EQ(set->meta(id[1]).weight, 1.0f);
  EXPECT_EQ(set->meta(id[2]).weight, 0.0f);
  EXPECT_TRUE(set->has_masks());
  std::vector<uint8_t> mask;
  set->read_mask(id[0], mask);
  EXPECT_EQ(mask, encode_gray_png(std::vector<uint8_t>(48, 200), 8, 6));
  set->read_mask(id[1], mask);
  EXPECT_TRUE(mask.empty());
  set->read_mask(id[2], mask);
  const ImageInfo info = inspect_image(mask);
  EXPECT_EQ(info.channels, 1);
  EXPECT_EQ(info.width, 8);
}

TEST(Pack, ListSaysWhatIsWrongAndWhere) {
  const TemporaryFolder folder;
  write_png(folder / "1.png", 1);
  const auto refused = [&](std::string_view csv, const std::string& words) {
    const PackOptions options = list_options(folder, csv);
    EXPECT_THAT([&] { pack(options); }, ThrowsMessage<UsageError>(AllOf(HasSubstr("list.csv"), HasSubstr(words)))) << csv;
    EXPECT_FALSE(std::filesystem::exists(folder / "out"));
  };
  refused("", "an empty file");
  refused("path,label\n", "rows after the header");
  refused("label,split\ncat,train\n", "column \"path\"");
  refused("path,lable\n1.png,x\n", "Did you mean \"label\"?");
  refused("path,label,label\n1.png,x,y\n", "\"label\" twice");
  refused("path,split\n1.png,holdout\n", "line 2: expected split to be train, val or test, found \"holdout\"");
  refused("path,weight\n1.png,heavy\n", "weight to be a number");
  refused("path,weight\n1.png,-1\n", "zero or more");
  refused("path,label\n1.png\n", "line 2: expected 2 fields, found 1");
  refused("path,label\n1.png,x\n1.png,y\n", "line 3: expected each path once");
  refused("path,label\n\"1.png,x\n", "closing quote");
  refused("path,label\n\"1.png\"x,y\n", "comma after a closing quote");
  refused("path,label\n,y\n", "a path");
}

TEST(Pack, UnusedColumnsAreSaid) {
  const TemporaryFolder folder;
  write_png(folder / "1.png", 1);
  EXPECT_THAT(pack(list_options(folder, "path,photographer\n1.png,x\n")).warnings,
              testing::Contains(HasSubstr("\"photographer\" is not used")));
}

TEST(Pack, SeveralClassesInOneLabelAreSaid) {
  const TemporaryFolder folder;
  for (int i = 1; i <= 3; ++i) write_png(folder / (std::to_string(i) + ".png"), i);
  EXPECT_THAT(pack(list_options(folder, "path,label\n1.png,cat;dog\n2.png,cat\n3.png,dog|ape\n")).warnings,
              testing::Contains(AllOf(HasSubstr("column \"label\": 2 labels such as \"cat;dog\""), HasSubstr("classes of their own"))));
}

TEST(Pack, ToySetWithMasks) {
  const TemporaryFolder folder;
  PackOptions options = folder_options(folder);
  options.source = PackOptions::Source::kToy;
  options.toy.count = 100;
  const PackReport report = pack(options);
  EXPECT_EQ(report.samples, 100u);
  EXPECT_EQ(report.classes, 8u);
  const auto set = Dataset::open(folder / "out");
  const ToySet toy(options.toy);
  const auto ids = by_key(*set);
  std::vector<uint8_t> bytes;
  Image image;
  for (uint64_t i = 0; i < 100; i += 9) {
    const uint64_t id = ids.at(toy.key(i));
    EXPECT_EQ(set->meta(id).label, toy.label(i));
    EXPECT_EQ(set->meta(id).split, toy.split(i));
    set->read(id, bytes);
    decode_image(bytes, image);
    EXPECT_EQ(image.data, toy.draw(i).image.data);
    set->read_mask(id, bytes);
    decode_image(bytes, image);
    EXPECT_EQ(image.data[0], toy.draw(i).mask[0]);
    EXPECT_EQ(image.data[3 * (16 * 32 + 16)], 255);
  }
}

TEST(Pack, ReportsProgressAndDuplicates) {
  const TemporaryFolder folder;
  write_png(folder / "in/train/a/1.png", 1);
  write_png(folder / "in/train/a/2.png", 1);
  write_png(folder / "in/train/b/3.png", 3);
  write_png(folder / "in/test/b/4.png", 3);
  PackOptions options = folder_options(folder);
  std::vector<uint64_t> done;
  options.progress = [&](const PackProgress& p) {
    done.push_back(p.done);
    EXPECT_EQ(p.total, 4u);
  };
  pack(options);
  EXPECT_THAT(done, ElementsAre(1, 2, 3, 4));
  const VerifyReport verified = verify_dataset(folder / "out");
  EXPECT_EQ(verified.samples, 4u);
  EXPECT_EQ(verified.duplicates, 1u);
  EXPECT_EQ(verified.duplicates_across_splits, 1u);
}

TEST(Csv, FieldsSurvive) {
  for (const std::string text : {"plain", "a,b", "say \"hi\"", "two\nlines", ""}) {
    const CsvTable table = parse_csv("x," + csv_field(text) + "\n", "t");
    ASSERT_EQ(table.rows.size(), 1u) << text;
    EXPECT_EQ(table.rows[0][1], text);
  }
  const CsvTable table = parse_csv("a,\"1\n2\"\nb,c", "t");
  ASSERT_EQ(table.rows.size(), 2u);
  EXPECT_EQ(table.line[1], 3u);
  EXPECT_EQ(table.rows[1][1], "c");
}

}  // namespace
}  // namespace dinoxx
