// Other columns of labels: as what is predicted, and as subgroups of the test images with scores of their own.
#include "eval/subgroups/subgroups.hpp"

#include <gmock/gmock.h>

#include <cmath>

#include "data_pipeline/labels/dataset_view.hpp"
#include "dinoxx/base/error.hpp"
#include "eval/run/answers.hpp"
#include "memory_dataset.hpp"

namespace dinoxx::eval {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;
using testing_support::MemoryDataset;

// Animals at sites, and whether each is young.
class Animals : public MemoryDataset {
 public:
  Animals() { set_class_names({"cat", "dog"}); }
  void add_animal(Split split, int32_t kind, int32_t site, int32_t young = 0) {
    add(split, kind);
    others_.push_back({site, young});
  }
  const std::vector<LabelColumn>& label_columns() const override { return columns_; }
  int32_t label(uint64_t id, size_t column) const override { return column == 0 ? meta(id).label : others_.at(id).at(column - 1); }
  int used_bits() const override { return 12; }

 private:
  std::vector<LabelColumn> columns_{{"label", {"cat", "dog"}}, {"label_site", {"farm", "town", "wood"}}, {"label2", {"no", "yes"}}};
  std::vector<std::array<int32_t, 2>> others_;
};

struct Answered {
  Animals animals;
  EvalData data;
  std::vector<int32_t> answers;
  void test(int32_t kind, int32_t site, int count, int right) {
    for (int i = 0; i < count; ++i) {
      data.queries.push_back(animals.size());
      animals.add_animal(Split::kTest, kind, site);
      data.query_labels.push_back(kind);
      answers.push_back(i < right ? kind : 1 - kind);
    }
  }
  Answered() { data.classes = 2; }
};

TEST(LabelColumns, AnyMayBeTheOneThatIsPredicted) {
  const auto animals = std::make_shared<Animals>();
  animals->add_animal(Split::kTrain, 0, 2, 1);
  animals->add_animal(Split::kTest, 1, -1, 0);
  EXPECT_EQ(with_label_column(animals, ""), animals);
  EXPECT_EQ(with_label_column(animals, "label"), animals);
  for (const char* name : {"site", "label_site"}) {
    const auto sites = with_label_column(animals, name);
    EXPECT_THAT(sites->class_names(), ElementsAre("farm", "town", "wood"));
    EXPECT_EQ(sites->meta(0).label, 2);
    EXPECT_EQ(sites->meta(1).label, -1);
    EXPECT_EQ(sites->meta(1).split, Split::kTest);
    ASSERT_EQ(sites->label_columns().size(), 3u);
    EXPECT_EQ(sites->label_columns()[0].name, "label_site");
    EXPECT_EQ(sites->label_columns()[1].name, "label");
    EXPECT_EQ(sites->label(0, 0), 2);
    EXPECT_EQ(sites->label(1, 1), 1);
    EXPECT_EQ(sites->label(0, 2), 1);
    EXPECT_EQ(sites->used_bits(), 12) << "the pixels are the whole's";
    EXPECT_EQ(find_label_column(*sites, "label", "--by"), 1u);
  }
  EXPECT_THAT([&] { with_label_column(animals, "sites"); },
              ThrowsMessage<UsageError>(AllOf(HasSubstr("--label: expected one of its label columns: label, site, label2"),
                                              HasSubstr("\"sites\""), HasSubstr("Did you mean site?"))));
  EXPECT_THAT([&] { with_label_column(std::make_shared<MemoryDataset>(), "site"); },
              ThrowsMessage<UsageError>(HasSubstr("a data set with label columns")));
}

TEST(Subgroups, AreThoseOfTheQueriesAndAreRefusedWhereTheyAreNone) {
  Answered set;
  set.test(0, 0, 2, 2);
  set.test(1, 2, 3, 1);
  set.test(1, -1, 1, 1);
  const std::vector<std::string> site{"site"};
  const std::vector<Subgroups> by = subgroups_of(set.animals, set.data, site);
  ASSERT_EQ(by.size(), 1u);
  EXPECT_EQ(by[0].column, "label_site");
  EXPECT_THAT(by[0].of_queries, ElementsAre(0, 0, 2, 2, 2, -1));
  const auto refused = [&](std::vector<std::string> columns, const std::string& why) {
    EXPECT_THAT([&] { subgroups_of(set.animals, set.data, columns); }, ThrowsMessage<UsageError>(HasSubstr(why)));
  };
  refused({"label"}, "another column than that of the labels");
  refused({"site", "label_site"}, "each column once");
  refused({"label2"}, "test images of at least two values of \"label2\", found \"no\" alone");
  refused({"age"}, "--by: expected one of its label columns");
}

TEST(Subgroups, ScoresAndWhatTheClassesAloneExplain) {
  Answered set;
  set.test(0, 0, 20, 18);  // farm: cats 0.9
  set.test(1, 0, 20, 10);  // and dogs 0.5
  set.test(0, 1, 40, 36);  // town: cats alone
  set.test(1, 2, 12, 3);   // wood: dogs alone
  set.test(1, -1, 5, 5);
  const std::vector<std::string> site{"site"};
  const json scores = subgroup_scores(subgroups_of(set.animals, set.data, site)[0], set.data, set.answers);
  EXPECT_EQ(scores["column"], "label_site");
  EXPECT_EQ(scores["without"], 5);
  ASSERT_EQ(scores["groups"].size(), 3u);
  const json &farm = scores["groups"][0], &town = scores["groups"][1], &wood = scores["groups"][2];
  EXPECT_EQ(farm["correct"], 28);
  EXPECT_DOUBLE_EQ(farm["accuracy"], 0.7);
  EXPECT_DOUBLE_EQ(farm["balanced_accuracy"], 0.7);
  const double cats = 54.0 / 60, dogs = 13.0 / 32;
  EXPECT_DOUBLE_EQ(farm["expected"], (20 * cats + 20 * dogs) / 40);
  EXPECT_DOUBLE_EQ(town["expected"], cats) << "better than the others, and exactly as its cats are everywhere";
  EXPECT_DOUBLE_EQ(town["accuracy"], 0.9);
  EXPECT_NEAR(town["p"].get<double>(), 1, 1e-12);
  EXPECT_DOUBLE_EQ(wood["expected"], dogs);
  EXPECT_DOUBLE_EQ(wood["balanced_accuracy"], 0.25) << "of the class that it has";
  // one class: the hypergeometric variance of 3 right among 12 of 32 dogs, 13 of them right
  const double z = (3 - 12 * dogs) / std::sqrt(12.0 * 20 * 13 * 19 / (32.0 * 32 * 31));
  EXPECT_NEAR(wood["p"].get<double>(), std::erfc(std::abs(z) / std::sqrt(2.0)), 1e-12);
  EXPECT_NEAR(wood["p_holm"].get<double>(), 3 * wood["p"].get<double>(), 1e-12);
  EXPECT_EQ(scores["worst"]["name"], "wood");
  EXPECT_EQ(scores["worst"]["significant"], false);
  EXPECT_THAT(worst_subgroup_text(scores),
              HasSubstr("worst: wood with 25.00 %, where its classes lead to expect 40.62 %; this may be chance"));
}

TEST(Subgroups, TheWorstIsCalledSoWhenItHasEnoughImages) {
  Answered set;
  set.test(0, 0, 9, 0);
  set.test(0, 1, 60, 57);
  set.test(0, 2, 40, 22);
  set.test(1, 2, 1, 1);
  const std::vector<std::string> site{"site"};
  const json scores = subgroup_scores(subgroups_of(set.animals, set.data, site)[0], set.data, set.answers);
  EXPECT_EQ(scores["worst"]["name"], "wood") << "nine images are too few";
  EXPECT_EQ(scores["worst"]["significant"], true);
  EXPECT_THAT(worst_subgroup_text(scores), HasSubstr("more than chance"));
  Answered few;
  few.test(0, 0, 4, 1);
  few.test(0, 1, 4, 4);
  const json none = subgroup_scores(subgroups_of(few.animals, few.data, site)[0], few.data, few.answers);
  EXPECT_TRUE(none["worst"].is_null());
  EXPECT_THAT(worst_subgroup_text(none), HasSubstr("no subgroup has 10 test images"));
  Answered right;
  right.test(0, 0, 12, 12);
  right.test(0, 1, 12, 12);
  EXPECT_TRUE(subgroup_scores(subgroups_of(right.animals, right.data, site)[0], right.data, right.answers)["groups"][0]["p"].is_null())
      << "nothing varies";
}

TEST(Subgroups, StandInTheTableOfPredictions) {
  Answered set;
  set.test(0, 0, 1, 1);
  set.test(1, 2, 1, 1);
  set.test(1, -1, 1, 1);
  const std::vector<std::string> site{"site"};
  const std::vector<Subgroups> by = subgroups_of(set.animals, set.data, site);
  const Embedder embedder{"teacher", "", 1, {}};
  const ProtocolAnswers answers{nullptr, {}, {{{"vote", set.answers, {}, {}}}}};
  EXPECT_EQ(predictions_csv(set.animals, set.data, by, {&embedder, 1}, answers),
            "id,key,label,label_site,teacher:vote\n0,image0.png,cat,farm,cat\n1,image1.png,dog,wood,dog\n2,image2.png,dog,,dog\n");
}

}  // namespace
}  // namespace dinoxx::eval
