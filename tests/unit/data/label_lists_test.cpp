// Lists of labels: how a list becomes columns of yes and no, and what reads them.
#include "data_pipeline/labels/label_lists.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "base/files.hpp"
#include "data_pipeline/format/describe.hpp"
#include "data_pipeline/labels/dataset_view.hpp"
#include "data_pipeline/pack/pack.hpp"
#include "dinoxx/base/error.hpp"
#include "support/image_files.hpp"
#include "support/pack_options.hpp"
#include "support/temporary_folder.hpp"

namespace dinoxx {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::ThrowsMessage;
using testing_support::list_options;
using testing_support::TemporaryFolder;
using testing_support::write_png;

class LabelLists : public testing::Test {
 protected:
  LabelLists() {
    for (uint32_t i = 0; i < 12; ++i) write_png(folder_ / fmt::format("{}.png", i), i);
  }
  PackReport pack_list(std::string_view csv) { return pack(list_options(folder_, csv)); }
  std::shared_ptr<const Dataset> set() const { return Dataset::open(folder_ / "out"); }
  // "1" it has it, "0" it has not, "?" not known, label by label, of each image.
  std::map<std::string, std::string> known() const {
    const auto data = set();
    std::map<std::string, std::string> answers;
    for (uint64_t id = 0; id < data->size(); ++id)
      for (const BinaryLabel& label : find_binary_labels(*data, "all"))
        answers[data->key(id)] += label.of(*data, id) < 0 ? "?" : label.of(*data, id) == 1 ? "1" : "0";
    return answers;
  }
  const TemporaryFolder folder_;
};

TEST_F(LabelLists, EachLabelBecomesAColumnOfYesAndNo) {
  const PackReport report = pack_list("path,labels\n0.png,dog;cat\n1.png, cat ; cat;\n2.png,none\n3.png,\n4.png,None;eel\n5.png,NaN\n");
  EXPECT_EQ(report.labels_of_lists, 3u);
  EXPECT_THAT(report.warnings, IsEmpty());
  EXPECT_THAT(report.notes, Contains(HasSubstr("lists of 3 labels, separated by \";\"; 1 images have none of them; 2 empty fields")));
  const auto data = set();
  ASSERT_EQ(data->label_columns().size(), 3u);
  EXPECT_EQ(data->label_columns()[1].name, "label_dog");
  EXPECT_EQ(data->label_columns()[1].list, "labels");
  EXPECT_THAT(data->label_columns()[1].classes, ElementsAre("no", "yes"));
  EXPECT_TRUE(has_label_lists(*data));
  const auto answers = known();  // cat, dog, eel
  EXPECT_EQ(answers.at("0.png"), "110");
  EXPECT_EQ(answers.at("1.png"), "100");
  EXPECT_EQ(answers.at("2.png"), "000");
  EXPECT_EQ(answers.at("3.png"), "???");
  EXPECT_EQ(answers.at("4.png"), "001");
  EXPECT_EQ(answers.at("5.png"), "???");
  const std::string described = describe_data(folder_ / "out").text;
  EXPECT_THAT(described, HasSubstr("3, several an image; images that have each:"));
  EXPECT_THAT(described, HasSubstr("  cat                  2         0         0"));
  EXPECT_THAT(described, HasSubstr("  (none)               1         0         0"));
  EXPECT_THAT(described, HasSubstr("  (no label)           2         0         0"));
}

TEST_F(LabelLists, OneLabelAnImageStaysAColumnOfClasses) {
  pack_list("path,labels\n0.png,cat\n1.png,dog\n");
  EXPECT_FALSE(has_label_lists(*set()));
  EXPECT_THAT(set()->class_names(), ElementsAre("cat", "dog"));
  PackOptions asked = list_options(folder_, "path,labels\n0.png,cat\n1.png,dog\n");
  asked.label_separator = ";";
  pack(asked);
  EXPECT_TRUE(has_label_lists(*set()));
  EXPECT_EQ(known().at("0.png"), "10");
  asked = list_options(folder_, "path,labels\n0.png,\"cat, dog\"\n1.png,dog\n");
  asked.label_separator = ",";
  pack(asked);
  EXPECT_EQ(known().at("0.png"), "11");
  asked = list_options(folder_, "path,label\n0.png,cat\n1.png,dog\n");
  asked.label_separator = ";";
  EXPECT_THAT([&] { pack(asked); }, ThrowsMessage<UsageError>(HasSubstr("a column \"labels\"")));
  EXPECT_THAT(pack_list("path,label\n0.png,cat|dog\n1.png,dog\n").warnings, Contains(HasSubstr("Call the column \"labels\"")));
}

TEST_F(LabelLists, AColumnOfSingleLabelsComesFirst) {
  pack_list("path,labels,label_site\n0.png,cat|dog,north\n1.png,dog,south\n");
  const auto data = set();
  EXPECT_EQ(data->label_columns()[0].name, "label_site");
  EXPECT_FALSE(has_label_lists(*data));
  EXPECT_EQ(with_one_label(data), data);
  EXPECT_EQ(known().at("1.png"), "01");
  EXPECT_THAT([&] { pack_list("path,labels,label_cat\n0.png,cat|dog,x\n1.png,dog,y\n"); },
              ThrowsMessage<UsageError>(HasSubstr("the label \"cat\" and a column \"label_cat\"")));
  EXPECT_THAT([&] { pack_list("path,labels\n0.png,none\n1.png,;\n"); }, ThrowsMessage<UsageError>(HasSubstr("expected labels")));
}

TEST_F(LabelLists, ColumnsOfYesAndNoAreLabelsToo) {
  pack_list(
      "path,label_cat,label_dog,label_kind,label_never\n0.png,1.0,True,a,0\n1.png,0.0,False,b,0\n2.png,-1,,c,0\n3.png,1.0,True,a,0\n");
  const auto data = set();
  EXPECT_EQ(find_binary_labels(*data, "all").size(), 3u);
  const auto answers = known();  // cat, dog, never
  EXPECT_EQ(answers.at("0.png"), "110");
  EXPECT_EQ(answers.at("1.png"), "000");
  EXPECT_EQ(answers.at("2.png"), "??0");
  EXPECT_THAT([&] { find_binary_labels(*data, "cat,kind"); }, ThrowsMessage<UsageError>(HasSubstr("label_kind with 3 classes: a, b, c")));
  EXPECT_THAT([&] { find_binary_labels(*data, "cat,label_cat"); }, ThrowsMessage<UsageError>(HasSubstr("\"cat\" twice")));
  EXPECT_THAT([&] { find_binary_labels(*data, "cta"); }, ThrowsMessage<UsageError>(HasSubstr("Did you mean cat?")));
  pack_list("path,label\n0.png,a\n1.png,b\n");
  EXPECT_THAT([&] { find_binary_labels(*set(), "all"); }, ThrowsMessage<UsageError>(HasSubstr("Pack a list with a column \"labels\"")));
}

TEST_F(LabelLists, TheRarestLabelStandsForAnImageWhereOneMust) {
  pack_list(
      "path,labels,split\n0.png,a;b,train\n1.png,a,train\n2.png,a;c,train\n3.png,none,train\n4.png,,train\n5.png,a;b;c,test\n6.png,b,"
      "train\n");
  const auto one = with_one_label(set());
  EXPECT_THAT(one->class_names(), ElementsAre("a", "b", "c", kNoLabel));
  std::map<std::string, int32_t> classes;
  for (uint64_t id = 0; id < one->size(); ++id) classes[one->key(id)] = one->meta(id).label;
  EXPECT_EQ(classes.at("0.png"), 1);
  EXPECT_EQ(classes.at("1.png"), 0);
  EXPECT_EQ(classes.at("2.png"), 2);
  EXPECT_EQ(classes.at("3.png"), 3);
  EXPECT_EQ(classes.at("4.png"), -1);
  EXPECT_EQ(classes.at("5.png"), 2);  // c is on one training image, b on two
  std::vector<BinaryLabel> labels = find_binary_labels(*set(), "b");
  const auto of_b = with_rarest_label(set(), labels);
  EXPECT_THAT(of_b->class_names(), ElementsAre("b", kNoLabel));
  for (uint64_t id = 0; id < of_b->size(); ++id) EXPECT_EQ(labels[0].of(*of_b, id), find_binary_labels(*set(), "b")[0].of(*set(), id));
}

TEST_F(LabelLists, AppendedListsMayLackLabelsAndBringNone) {
  pack_list("path,labels\n0.png,cat;dog\n1.png,eel\n");
  PackOptions more = list_options(folder_, "path,labels\n2.png,dog;\n3.png,\n4.png,none\n");
  more.overwrite = false;
  more.append = true;
  EXPECT_EQ(pack(more).added, 3u);
  EXPECT_EQ(known().at("2.png"), "010");
  EXPECT_EQ(known().at("3.png"), "???");
  EXPECT_EQ(known().at("4.png"), "000");
  more = list_options(folder_, "path,labels\n5.png,dog;fox\n");
  more.overwrite = false;
  more.append = true;
  EXPECT_THAT([&] { pack(more); }, ThrowsMessage<UsageError>(HasSubstr("labels that the data folder has, found also fox")));
  more = list_options(folder_, "path,labels\n6.png,dog\n");
  more.overwrite = false;
  more.append = true;
  EXPECT_THAT([&] { pack(more); }, ThrowsMessage<UsageError>(HasSubstr("one label in every field of column \"labels\"")));
  more.label_separator = ";";
  EXPECT_EQ(pack(more).added, 1u);
  EXPECT_EQ(known().at("6.png"), "010");
}

TEST_F(LabelLists, HeldOutPartsGetTheirShareOfRareLabels) {
  std::string csv = "path,labels\n";
  for (int i = 0; i < 12; ++i) csv += fmt::format("{}.png,common{}\n", i, i < 4 ? ";rare" : "");
  PackOptions options = list_options(folder_, csv);
  options.test_fraction = 0.25;
  pack(options);
  const auto data = set();
  const std::vector<BinaryLabel> labels = find_binary_labels(*data, "all");
  int rare = 0, images = 0;
  for (const uint64_t id : data->ids(Split::kTest)) {
    rare += labels[1].of(*data, id) == 1;
    ++images;
  }
  EXPECT_EQ(images, 3);
  EXPECT_EQ(rare, 1);
  options.long_tail = 10;
  EXPECT_THAT([&] { pack(options); }, ThrowsMessage<UsageError>(HasSubstr("lists of labels")));
}

}  // namespace
}  // namespace dinoxx
