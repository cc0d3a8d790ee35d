// The report that ends a pack: what makes numbers wrong or mean less.
#include "data_pipeline/format/preflight.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data_pipeline/format/describe.hpp"
#include "data_pipeline/pack/pack.hpp"
#include "dinoxx/base/error.hpp"
#include "support/image_files.hpp"
#include "support/pack_options.hpp"
#include "support/temporary_folder.hpp"

namespace dinoxx {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::ThrowsMessage;
using testing_support::list_options;
using testing_support::TemporaryFolder;
using testing_support::write_png;
using testing_support::write_words;

TEST(Preflight, SaysNothingOfACleanSet) {
  const TemporaryFolder folder;
  for (uint32_t i = 0; i < 12; ++i)
    write_png(folder / fmt::format("in/{}/{}/{}.png", i % 3 == 0 ? "test" : "train", i % 2 ? "cat" : "dog", i), i);
  PackOptions options;
  options.input = folder / "in";
  options.out = folder / "out";
  options.strict = true;
  const PackReport report = pack(options);
  EXPECT_THAT(report.warnings, IsEmpty());
  EXPECT_THAT(report.preflight, AllOf(HasSubstr("train 8, val 0, test 4"), HasSubstr("groups       no"),
                                      HasSubstr("0 within a split, 0 across splits, 0 with another label"),
                                      HasSubstr("12 images of 8 bits"), HasSubstr("left out     0 bad inputs")));
  EXPECT_THAT(describe_data(folder / "out").text, HasSubstr(report.preflight));
  EXPECT_THAT(describe_data(folder / "out").warnings, IsEmpty());
}

TEST(Preflight, GroupsAndCopiesOnSeveralSides) {
  const TemporaryFolder folder;
  for (uint32_t i = 0; i < 6; ++i) write_png(folder / fmt::format("{}.png", i), i == 5 ? 0 : i);
  const PackReport report = pack(list_options(folder,
                                              "path,label,split,group\n0.png,cat,train,0\n1.png,dog,train,1\n2.png,cat,test,0\n3.png,dog,"
                                              "test,2\n4.png,cat,train,\n5.png,dog,test,3\n"));
  EXPECT_THAT(report.warnings, Contains(HasSubstr("1 of 4 groups are in several splits, as 0.png (train) and 2.png (test)")));
  EXPECT_THAT(report.warnings, Contains(HasSubstr("1 images are in another split too, with the same pixels")));
  EXPECT_THAT(report.warnings, Contains(HasSubstr("1 images have the same pixels as an image of another label")));
  EXPECT_THAT(report.preflight, HasSubstr("4, 1 of them in several splits; and 1 images without one"));
}

TEST(Preflight, ClassesThatASplitLacksAndNamesThatMayBeMistakes) {
  const TemporaryFolder folder;
  for (uint32_t i = 0; i < 7; ++i) write_png(folder / fmt::format("{}.png", i), i);
  const PackReport report = pack(list_options(folder,
                                              "path,label,split\n0.png,Cat,train\n1.png,cat,train\n2.png,dog,train\n3.png,dog,test\n4.png,"
                                              "NaN,train\n5.png,big_cat,train\n6.png,big cat,train\n"));
  EXPECT_THAT(report.warnings, Contains(AllOf(HasSubstr("classes without an image in test"), HasSubstr("cat"), Not(HasSubstr("dog")))));
  EXPECT_THAT(report.warnings, Not(Contains(HasSubstr("without an image in val"))));
  EXPECT_THAT(report.warnings, Contains(HasSubstr("\"Cat\" and \"cat\" are 2 classes")));
  EXPECT_THAT(report.warnings, Contains(HasSubstr("\"big cat\" and \"big_cat\" are 2 classes")));
}

TEST(Preflight, NamesThatAPersonTakesForOne) {
  const TemporaryFolder folder;
  for (uint32_t i = 0; i < 8; ++i) write_png(folder / fmt::format("{}.png", i), i);
  const PackReport report =
      pack(list_options(folder,
                        "path,label,group,patient_id,weather\n0.png,caf\u00e9,P1,1,x\n1.png,cafe\u0301,p1,1,x\n2.png,cafe,p2,1,x\n"
                        "3.png,tea,p2,1,x\n4.png,tea,p 1,1,x\n5.png,tea,7,1,x\n6.png,tea,7,1,x\n7.png,tea,,1,x\n"));
  EXPECT_THAT(report.warnings, Contains(HasSubstr("\"cafe\u0301\" and \"caf\u00e9\" are 2 classes, and may be meant as one")));
  EXPECT_THAT(report.warnings, Contains(HasSubstr("\"P1\" and \"p 1\" and \"p1\" are different groups")));
  EXPECT_THAT(report.warnings, Contains(AllOf(HasSubstr("column \"patient_id\" is not used"), HasSubstr("call it \"group\""))));
  EXPECT_THAT(report.warnings, Contains(AllOf(HasSubstr("column \"weather\" is not used; called \"label_weather\" it is packed as labels"),
                                              Not(HasSubstr("group")))));
  EXPECT_THAT([&] { pack(list_options(folder, "path;label\n0.png;cat\n")); }, ThrowsMessage<UsageError>(HasSubstr("separated by commas")));
}

TEST(Preflight, LeftOutByClassAndReason) {
  const TemporaryFolder folder;
  for (uint32_t i = 0; i < 6; ++i) write_png(folder / fmt::format("in/{}/{}.png", i % 2 ? "cat" : "dog", i), i);
  write_words(folder / "in/owl/1.png", "no image");
  write_words(folder / "in/owl/2.png", "no image");
  write_words(folder / "in/cat/3.gif", "GIF89a no");
  PackOptions options;
  options.input = folder / "in";
  options.out = folder / "out";
  options.max_bad_fraction = 0.5;
  const PackReport report = pack(options);
  EXPECT_THAT(report.preflight, AllOf(HasSubstr("3 bad inputs"), HasSubstr("  2  owl: "), HasSubstr("  1  cat: ")));
  EXPECT_THAT(report.warnings, Contains(HasSubstr("1 classes lost all their images, see bad.csv: owl")));
  EXPECT_THAT(describe_data(folder / "out").text, HasSubstr("  2  owl: "));
}

TEST(Preflight, DepthAgainstTheValuesUsed) {
  const TemporaryFolder folder;
  Image dark = testing_support::test_image(8, 6, 1);
  for (uint8_t& value : dark.data) value /= 16;
  testing_support::write_bytes(folder / "in/a.png", encode_png(dark));
  Image flat = dark;
  for (uint8_t& value : flat.data) value = 7;
  testing_support::write_bytes(folder / "in/b.png", encode_png(flat));
  PackOptions options;
  options.input = folder / "in";
  options.out = folder / "out";
  const PackReport report = pack(options);
  EXPECT_THAT(report.warnings, Contains(HasSubstr("2 images of 8 bits are dark: no pixel of them is brighter than 15 of 255")));
  EXPECT_THAT(report.warnings, Contains(HasSubstr("1 images are of one colour throughout")));
}

TEST(Preflight, StrictMakesWarningsErrorsAndWritesNothing) {
  const TemporaryFolder folder;
  write_png(folder / "in/1.png", 1);
  PackOptions options;
  options.input = folder / "in";
  options.out = folder / "out";
  options.strict = true;
  EXPECT_THAT([&] { pack(options); }, ThrowsMessage<Error>(AllOf(HasSubstr("without warnings (--strict)"), HasSubstr("no labels"))));
  EXPECT_EQ(folder.listing(), "in");
}

// What can be known from names, splits and groups ends a strict pack before it packs an image.
TEST(Preflight, StrictComplainsBeforeTheWorkOfWhatIsKnown) {
  const std::vector<std::pair<std::string, std::string>> lists{
      {"0.png,cat,train,1\n1.png,dog,train,2\n2.png,cat,test,1\n3.png,dog,test,3\n", "1 of 3 groups are in several splits"},
      {"0.png,cat,train,1\n1.png,Cat,train,2\n2.png,cat,test,3\n3.png,Cat,test,4\n", "\"Cat\" and \"cat\" are 2 classes"},
      {"0.png,cat,train,1\n1.png,unknown,train,2\n2.png,cat,test,3\n3.png,unknown,test,4\n", "is this a class? \"unknown\""},
      {"0.png,cat,train,1\n1.png,?,train,2\n2.png,cat,test,3\n3.png,?,test,4\n", "is this a class? \"?\""},
      {"0.png,cat,train,1\n1.png,dog,train,2\n2.png,cat,test,3\n3.png,cat,test,4\n", "1 classes without an image in test: dog"}};
  for (const auto& [rows, complaint] : lists) {
    const TemporaryFolder folder;
    for (uint32_t i = 0; i < 4; ++i) write_png(folder / fmt::format("{}.png", i), i);
    write_words(folder / "list.csv", "path,label,split,group\n" + rows);
    PackOptions options;
    options.source = PackOptions::Source::kList;
    options.input = folder / "list.csv";
    options.out = folder / "out";
    options.strict = true;
    uint64_t packed = 0;
    options.progress = [&](const PackProgress& p) { packed += std::string(p.what) == "pack"; };
    EXPECT_THAT([&] { pack(options); }, ThrowsMessage<Error>(AllOf(HasSubstr("(--strict)"), HasSubstr(complaint))));
    EXPECT_EQ(packed, 0u) << complaint;
    EXPECT_FALSE(std::filesystem::exists(folder / "out"));
    // what it said is what a pack that is not strict warns of
    options.strict = false;
    EXPECT_THAT(pack(options).warnings, Contains(HasSubstr(complaint)));
  }
}

}  // namespace
}  // namespace dinoxx
