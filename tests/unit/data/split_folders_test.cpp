// Folders that name splits: spellings, mixtures, and what lies beside them.
#include "data_pipeline/pack/split_folders.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "data_pipeline/pack/pack.hpp"
#include "dinoxx/base/error.hpp"
#include "support/image_files.hpp"
#include "support/temporary_folder.hpp"

namespace dinoxx {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;
using testing_support::TemporaryFolder;
using testing_support::write_png;

class Folders : public testing::Test {
 protected:
  void images(std::initializer_list<const char*> paths) {
    for (const char* path : paths) write_png(folder_ / "in" / path, next_++);
  }
  PackReport packed() {
    options_.input = folder_ / "in";
    options_.out = folder_ / "out";
    options_.overwrite = true;
    return pack(options_);
  }
  std::vector<std::string> classes() { return Dataset::open(folder_ / "out")->class_names(); }
  void refused(const std::string& words, const std::string& more = "") {
    EXPECT_THAT([&] { packed(); }, ThrowsMessage<UsageError>(AllOf(HasSubstr(words), HasSubstr(more))));
    EXPECT_FALSE(std::filesystem::exists(folder_ / "out"));
  }
  TemporaryFolder folder_;
  PackOptions options_;
  uint32_t next_ = 0;
};

TEST(SplitOfFolder, Spellings) {
  const std::map<std::string, Split> known = {
      {"train", Split::kTrain},    {"Training", Split::kTrain},   {"training_set", Split::kTrain}, {"train-images", Split::kTrain},
      {"trainset", Split::kTrain}, {"val", Split::kVal},          {"VALID", Split::kVal},          {"validation", Split::kVal},
      {"dev", Split::kVal},        {"val_data", Split::kVal},     {"test", Split::kTest},          {"Testing", Split::kTest},
      {"test_set", Split::kTest},  {"Test Images", Split::kTest}, {"train2017", Split::kTrain},    {"val_1", Split::kVal}};
  for (const auto& [name, expected] : known) {
    Split split = expected == Split::kTrain ? Split::kTest : Split::kTrain;
    EXPECT_TRUE(detail::split_of_folder(name, split)) << name;
    EXPECT_EQ(split, expected) << name;
  }
  Split split;
  for (const char* name : {"trainer", "test tube", "protest", "data", "", "train_test", "validated", "tests"})
    EXPECT_FALSE(detail::split_of_folder(name, split)) << name;
}

TEST_F(Folders, OtherSpellingsAreSplits) {
  images({"training/cat/1.png", "training/dog/2.png", "validation_set/cat/3.png", "Testing/dog/4.png"});
  EXPECT_THAT(packed().split_count, ElementsAre(2, 1, 1));
  EXPECT_THAT(classes(), ElementsAre("cat", "dog"));
}

TEST_F(Folders, SeveralFoldersOfOneSplitAreSaid) {
  images({"train/cat/1.png", "train2/dog/2.png", "Training-Set/dog/3.png", "test/cat/4.png"});
  const PackReport report = packed();
  EXPECT_THAT(report.split_count, ElementsAre(3, 0, 1));
  EXPECT_THAT(report.warnings, Contains(HasSubstr("Training-Set/ (1 image), train/ (1 image), train2/ (1 image) are all the train split")));
}

TEST_F(Folders, AMixtureIsRefusedAndTheOddOneNamed) {
  images({"train/cat/1.png", "val/cat/2.png", "test/cat/3.png", "unlabeled/4.png"});
  refused("the splits test/ (1 image), train/ (1 image), val/ (1 image) beside unlabeled/ (1 image)", "--no-split-folders");
}

TEST_F(Folders, LooseImagesBesideSplitsAreAMixture) {
  images({"train/cat/1.png", "test/cat/2.png", "overview.png"});
  refused("beside images without a folder (1 image)");
}

TEST_F(Folders, ClassesThatLookLikeSplitsAreSaid) {
  images({"tr/cat/1.png", "tr/dog/2.png", "te/cat/3.png", "te/dog/4.png", "te/dog/.5.png"});
  const PackReport report = packed();
  EXPECT_THAT(report.warnings,
              testing::Contains(testing::AllOf(testing::HasSubstr("te, tr became classes"), testing::HasSubstr("cat, dog"))));
  EXPECT_THAT(report.notes, testing::Contains(testing::HasSubstr("1 hidden images")));
}

TEST_F(Folders, AClassCalledTrainHasToBeSaid) {
  images({"train/1.png", "car/2.png"});
  refused("the split train/ (1 image) beside car/ (1 image)");
  options_.split_folders = false;
  packed();
  EXPECT_THAT(classes(), ElementsAre("car", "train"));
}

TEST_F(Folders, AClassCalledTrainInsideSplitsIsAClass) {
  images({"train/train/1.png", "train/car/2.png", "val/train/3.png", "val/car/4.png"});
  EXPECT_THAT(packed().split_count, ElementsAre(2, 2, 0));
  EXPECT_THAT(classes(), ElementsAre("car", "train"));
}

TEST_F(Folders, FoldersOfTheSystemAreNotLookedAt) {
  images({"train/cat/1.png", "test/cat/2.png", "@eaDir/1.png", "train/cat/@eaDir/1.png/THUMB.png", "__MACOSX/train/cat/1.png"});
  const PackReport report = packed();
  EXPECT_THAT(report.split_count, ElementsAre(1, 0, 1));
  EXPECT_THAT(report.notes, ElementsAre(AllOf(HasSubstr("@eaDir"), HasSubstr("__MACOSX"))));
}

TEST_F(Folders, ADoubledFolderIsTakenOffOrNamed) {
  images({"training_set/training_set/cat/1.png", "training_set/training_set/dog/2.png", "test_set/test_set/cat/3.png"});
  EXPECT_THAT(packed().split_count, ElementsAre(2, 0, 1));
  EXPECT_THAT(classes(), ElementsAre("cat", "dog"));
  images({"pets/train/cat/1.png"});
  std::filesystem::remove_all(folder_ / "out");
  refused("beside pets/ (1 image)");
}

TEST_F(Folders, SplitsOneLevelDownAreRefused) {
  images({"pets/train/cat/1.png", "pets/test/cat/2.png"});
  refused("split folders one level down: pets/test/ (1 image), pets/train/ (1 image)", "in/pets");
  images({"cars/train/cat/1.png"});
  refused("Turn the folders around");
  options_.split_folders = false;
  packed();
  EXPECT_THAT(classes(), ElementsAre("cars", "pets"));
}

TEST_F(Folders, AFolderWithTwoNamesIsPackedUnderTheFirst) {
  images({"b/1.png", "c/2.png"});
  std::filesystem::create_directory_symlink("b", folder_ / "in/a");
  std::filesystem::create_directory_symlink("..", folder_ / "in/c/up");
  const PackReport report = packed();
  EXPECT_EQ(report.samples, 2u);
  EXPECT_THAT(classes(), ElementsAre("a", "c"));
  EXPECT_THAT(report.warnings,
              Contains(HasSubstr("2 folders have two names, and are packed once, under the name that comes first: b/ is a/")));
}

}  // namespace
}  // namespace dinoxx
