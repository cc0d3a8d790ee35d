#include "eval/run/eval_data.hpp"

#include <gmock/gmock.h>

#include <map>
#include <set>

#include "eval/classify/units.hpp"
#include "support/memory_dataset.hpp"

namespace dinoxx::eval {
namespace {

using dinoxx::testing_support::MemoryDataset;
using testing::ElementsAre;
using testing::HasSubstr;

template <typename F>
std::string usage_error(F&& run) {
  try {
    run();
  } catch (const UsageError& e) {
    return e.what();
  }
  return "nothing thrown";
}

TEST(EvalData, CommandTakesTestThenValThenAHeldOutPart) {
  MemoryDataset data;
  for (int i = 0; i < 20; ++i) data.add(Split::kTrain, i % 2);
  EvalData chosen = choose_eval_data(data, std::nullopt, 1);
  EXPECT_EQ(chosen.queries.size(), 2u);  // a tenth of each class
  EXPECT_EQ(chosen.memory.size(), 18u);
  EXPECT_THAT(chosen.notes, ElementsAre(HasSubstr("held out")));

  data.add(Split::kVal, 0);
  chosen = choose_eval_data(data, std::nullopt, 1);
  EXPECT_THAT(chosen.queries, ElementsAre(20));
  EXPECT_EQ(chosen.memory.size(), 20u);
  EXPECT_THAT(chosen.notes, ElementsAre(HasSubstr("no test split with labels")));

  data.add(Split::kTest, 1);
  chosen = choose_eval_data(data, std::nullopt, 1);
  EXPECT_THAT(chosen.queries, ElementsAre(21));
  EXPECT_EQ(chosen.query_source, "test");
  EXPECT_TRUE(chosen.notes.empty());
  EXPECT_THAT(choose_eval_data(data, Split::kVal, 1).queries, ElementsAre(20));
}

TEST(EvalData, ValidationOfClassesThatNothingIsLearnedOfChoosesNothing) {
  MemoryDataset data;
  for (int i = 0; i < 6; ++i) data.add(Split::kTrain, i % 2);
  data.add(Split::kTest, 0);
  data.add(Split::kVal, 2);
  EvalData chosen = choose_eval_data(data, std::nullopt, 1);
  EXPECT_TRUE(chosen.validation.empty());  // so that settings are chosen on folds
  EXPECT_TRUE(chosen.validation_labels.empty());
  EXPECT_THAT(chosen.notes,
              ElementsAre(HasSubstr("1 val images of 1 classes without a training image are not used to choose settings; none is left")));
  data.add(Split::kVal, 1);
  data.add(Split::kVal, 3);
  chosen = choose_eval_data(data, std::nullopt, 1);
  EXPECT_THAT(chosen.validation, ElementsAre(8));
  EXPECT_THAT(chosen.validation_labels, ElementsAre(1));
  EXPECT_THAT(chosen.notes,
              ElementsAre(testing::StartsWith("2 val images of 2 classes without a training image are not used to choose settings")));
}

class TwoColumns : public MemoryDataset {
 public:
  const std::vector<LabelColumn>& label_columns() const override { return columns_; }

 private:
  std::vector<LabelColumn> columns_{{"species", {"a", "b"}}, {"sex", {"f", "m"}}};
};

TEST(EvalData, OfSeveralLabelColumnsTheFirstIsNamed) {
  TwoColumns data;
  for (int i = 0; i < 6; ++i) data.add(i < 4 ? Split::kTrain : Split::kTest, i % 2);
  EXPECT_THAT(choose_eval_data(data, std::nullopt, 1).notes,
              ElementsAre("\"species\" is predicted; other label columns, for --label and --by: sex"));
}

class WithNotes : public MemoryDataset {
 public:
  std::vector<std::string> notes() const override { return {"3 images have group 0"}; }
};

TEST(EvalData, WhatTheDataFolderLeavesOpenIsSaid) {
  WithNotes data;
  for (int i = 0; i < 6; ++i) data.add(i < 4 ? Split::kTrain : Split::kTest, i % 2);
  EXPECT_THAT(choose_eval_data(data, std::nullopt, 1).notes, ElementsAre("3 images have group 0"));
  EXPECT_THAT(choose_probe_data(data, 1).notes, testing::Contains("3 images have group 0"));
}

TEST(EvalData, ProbeNeverLooksAtTest) {
  MemoryDataset data;
  for (int i = 0; i < 20; ++i) data.add(Split::kTrain, i % 2);
  for (int i = 0; i < 5; ++i) data.add(Split::kTest, i % 2);
  EvalData chosen = choose_probe_data(data, 1);
  for (const uint64_t id : chosen.queries) EXPECT_EQ(data.meta(id).split, Split::kTrain);
  for (const uint64_t id : chosen.memory) EXPECT_EQ(data.meta(id).split, Split::kTrain);
  EXPECT_EQ(chosen.memory.size() + chosen.queries.size(), 20u);
  data.add(Split::kVal, 1);
  EXPECT_THAT(choose_probe_data(data, 1).queries, ElementsAre(25));
  EXPECT_EQ(choose_probe_data(data, 1).memory.size(), 20u);
}

TEST(EvalData, HeldOutPartIsStratifiedDeterministicAndDisjoint) {
  std::vector<uint64_t> ids;
  std::vector<int32_t> labels;
  const std::map<int32_t, int> sizes{{0, 1000}, {1, 100}, {2, 7}, {3, 2}, {4, 1}};
  for (const auto& [label, size] : sizes) {
    for (int i = 0; i < size; ++i) {
      ids.push_back(ids.size() * 3);
      labels.push_back(label);
    }
  }
  const std::vector<size_t> rows = held_out_rows(ids, labels, {}, 0.1, 5);
  EXPECT_EQ(rows, held_out_rows(ids, labels, {}, 0.1, 5));
  EXPECT_NE(rows, held_out_rows(ids, labels, {}, 0.1, 6));
  EXPECT_EQ(std::set<size_t>(rows.begin(), rows.end()).size(), rows.size());
  EXPECT_TRUE(std::is_sorted(rows.begin(), rows.end()));
  std::map<int32_t, int> held;
  for (const size_t row : rows) ++held[labels[row]];
  EXPECT_EQ(held, (std::map<int32_t, int>{{0, 100}, {1, 10}, {2, 1}, {3, 1}}));  // a class of one stays in the memory
}

TEST(EvalData, WhichAreHeldOutDependsOnTheIdsNotOnTheirCompany) {
  // taking away another class leaves the choice inside a class alone
  std::vector<uint64_t> ids;
  std::vector<int32_t> labels;
  for (uint64_t id = 0; id < 100; ++id) {
    ids.push_back(id);
    labels.push_back(id < 50 ? 0 : 1);
  }
  const std::vector<size_t> both = held_out_rows(ids, labels, {}, 0.1, 9);
  ids.resize(50);
  labels.resize(50);
  const std::vector<size_t> one = held_out_rows(ids, labels, {}, 0.1, 9);
  EXPECT_EQ(one, std::vector<size_t>(both.begin(), both.begin() + 5));
}

TEST(EvalData, AGroupIsNeverOnBothSides) {
  MemoryDataset data;
  for (uint64_t i = 0; i < 100; ++i) {
    data.add(Split::kTrain, i % 2);
    if (i < 60) data.set_group(i, i / 4);  // fours, numbered from 0, and 40 without a group
  }
  const EvalData chosen = choose_probe_data(data, 3);
  std::set<uint64_t> groups;
  for (const uint64_t id : chosen.queries)
    if (const auto& group = data.meta(id).group) groups.insert(*group);
  EXPECT_GT(groups.size(), 1u);
  for (const uint64_t id : chosen.memory) EXPECT_TRUE(!data.meta(id).group || !groups.contains(*data.meta(id).group)) << id;
  for (size_t i = 0; i < chosen.memory.size(); ++i) EXPECT_EQ(chosen.memory_labels[i], data.meta(chosen.memory[i]).label);
  EXPECT_EQ(chosen.memory.size() + chosen.queries.size(), 100u);
  EXPECT_THAT(chosen.notes, ElementsAre(HasSubstr("held out by whole groups")));
}

// A tenth held out by image touches nearly every group: the memory would be left with those few that it did not touch.
TEST(EvalData, GroupsAreHeldOutWholeAndNoImageIsLost) {
  for (const bool mixed : {true, false}) {  // patients with images of both classes, or of one
    MemoryDataset data;
    for (uint64_t i = 0; i < 96; ++i) {
      data.add(Split::kTrain, static_cast<int32_t>(mixed ? i % 2 : i / 48));
      data.set_group(i, 1 + i / 8);  // twelve of eight
    }
    const EvalData chosen = choose_eval_data(data, std::nullopt, 3);
    EXPECT_EQ(chosen.memory.size() + chosen.queries.size(), 96u);
    EXPECT_EQ(chosen.queries.size(), mixed ? 8u : 16u);
    std::set<uint64_t> memory, queries;
    for (const uint64_t id : chosen.memory) memory.insert(data.meta(id).group.value());
    for (const uint64_t id : chosen.queries) queries.insert(data.meta(id).group.value());
    EXPECT_EQ(memory.size() + queries.size(), 12u);
    EXPECT_EQ(chosen.queries, choose_probe_data(data, 3).queries);
    EXPECT_NE(chosen.queries, choose_eval_data(data, std::nullopt, 4).queries);
  }
}

TEST(EvalData, CopiesOfAPictureAreHeldOutTogether) {
  MemoryDataset data;
  for (uint64_t i = 0; i < 60; ++i) {
    data.add(Split::kTrain, static_cast<int32_t>(i % 2));
    data.set_content_id(i, {1 + i % 20, 7});  // twenty pictures, each three times
  }
  const EvalData chosen = choose_eval_data(data, std::nullopt, 1);
  std::set<uint64_t> learned;
  for (const uint64_t id : chosen.memory) learned.insert(data.content_id(id)[0]);
  ASSERT_GE(chosen.queries.size(), 6u);
  EXPECT_EQ(chosen.queries.size() % 3, 0u);
  for (const uint64_t id : chosen.queries) EXPECT_FALSE(learned.contains(data.content_id(id)[0])) << id;
}

TEST(EvalData, AClassOfOneGroupStaysInTheMemory) {
  MemoryDataset data;
  for (uint64_t i = 0; i < 40; ++i) {
    data.add(Split::kTrain, static_cast<int32_t>(i / 20));
    data.set_group(i, i < 20 ? 99 : 1 + i / 5);
  }
  const EvalData chosen = choose_eval_data(data, std::nullopt, 1);
  EXPECT_THAT(chosen.queries, testing::SizeIs(5));
  for (const int32_t label : chosen.query_labels) EXPECT_EQ(label, 1);
  for (uint64_t i = 20; i < 40; ++i) data.set_group(i, 98);
  EXPECT_THAT(usage_error([&] { choose_eval_data(data, std::nullopt, 1); }), HasSubstr("of different groups"));
}

TEST(EvalData, GroupsThatAreLargerThanTheirShareAreStillHeldOut) {
  MemoryDataset data;
  for (uint64_t i = 0; i < 30; ++i) {
    data.add(Split::kTrain, static_cast<int32_t>(i % 2));
    data.set_group(i, i < 8 ? 1 : i < 18 ? 2 : 3);
  }
  EXPECT_THAT(choose_eval_data(data, std::nullopt, 1).queries, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));  // the smallest
}

TEST(Units, GroupsAndCopiesJoinAcrossEachOther) {
  MemoryDataset data;
  for (int i = 0; i < 8; ++i) data.add(Split::kTrain, 0);
  data.set_group(1, 5);
  data.set_group(3, 5);
  data.set_content_id(3, {9, 9});  // 1 - 3 by group, 3 - 6 by pixels
  data.set_content_id(6, {9, 9});
  data.set_content_id(7, {8, 8});
  data.set_group(4, 6);
  const std::vector<uint64_t> ids{0, 1, 3, 4, 6, 7};
  const std::vector<uint64_t> units = units_of(data, ids);
  ASSERT_EQ(units.size(), 6u);
  EXPECT_NE(units[1], 0u);
  EXPECT_EQ(units[1], units[2]);
  EXPECT_EQ(units[1], units[4]);
  for (const size_t alone : {0, 3, 5}) EXPECT_EQ(units[alone], 0u) << alone;
  EXPECT_THAT(first_copies(data, ids), ElementsAre(true, true, true, true, false, true));
}

TEST(EvalData, ASplitWithoutLabelsIsPassedOver) {
  MemoryDataset data;
  for (int i = 0; i < 20; ++i) data.add(Split::kTrain, i % 2);
  for (int i = 0; i < 3; ++i) data.add(Split::kTest, -1);
  EvalData chosen = choose_eval_data(data, std::nullopt, 1);
  EXPECT_EQ(chosen.queries.size(), 2u);
  EXPECT_THAT(chosen.notes, ElementsAre(HasSubstr("the test split has no labels (3 images): not scored on"), HasSubstr("held out")));
  data.add(Split::kVal, -1);
  EXPECT_EQ(choose_eval_data(data, std::nullopt, 1).queries.size(), 2u);
  EXPECT_EQ(choose_probe_data(data, 1).queries.size(), 2u);
  data.add(Split::kVal, 1);
  chosen = choose_eval_data(data, std::nullopt, 1);
  EXPECT_THAT(chosen.queries, ElementsAre(24));
  EXPECT_THAT(chosen.notes,
              ElementsAre(HasSubstr("the test split has no labels"), HasSubstr("scored on val"), HasSubstr("1 images without")));
  EXPECT_THAT(usage_error([&] { choose_eval_data(data, Split::kTest, 1); }), HasSubstr("labels in the test split"));
}

TEST(EvalData, ProbeMemoryCanBeLimited) {
  MemoryDataset data;
  for (int i = 0; i < 100; ++i) data.add(Split::kTrain, i % 2);
  data.add(Split::kVal, 0);
  const EvalData chosen = choose_probe_data(data, 3, 0.1, 30);
  ASSERT_EQ(chosen.memory.size(), 30u);
  ASSERT_EQ(chosen.memory_labels.size(), 30u);
  EXPECT_TRUE(std::is_sorted(chosen.memory.begin(), chosen.memory.end()));
  for (size_t i = 0; i < 30; ++i) EXPECT_EQ(chosen.memory_labels[i], data.meta(chosen.memory[i]).label);
  EXPECT_THAT(chosen.notes, ElementsAre(HasSubstr("30 of 100")));
  EXPECT_EQ(chosen.memory, choose_probe_data(data, 3, 0.1, 30).memory);
  EXPECT_NE(chosen.memory, choose_probe_data(data, 4, 0.1, 30).memory);
  EXPECT_EQ(choose_probe_data(data, 3, 0.1, 100).memory.size(), 100u);
}

TEST(EvalData, UnlabelledImagesAreLeftOutAndCounted) {
  MemoryDataset data;
  for (int i = 0; i < 6; ++i) data.add(Split::kTrain, i % 3 - 1);  // -1 0 1 -1 0 1
  data.add(Split::kTest, -1);
  data.add(Split::kTest, 1);
  const EvalData chosen = choose_eval_data(data, std::nullopt, 0);
  EXPECT_EQ(chosen.unlabelled, 3);
  EXPECT_THAT(chosen.memory, ElementsAre(1, 2, 4, 5));
  EXPECT_THAT(chosen.queries, ElementsAre(7));
  EXPECT_THAT(chosen.notes, ElementsAre(HasSubstr("3 images without a label are left out")));
}

TEST(EvalData, BadDataIsRefusedWithAdvice) {
  MemoryDataset unlabelled;
  for (int i = 0; i < 4; ++i) unlabelled.add(Split::kTrain, -1);
  EXPECT_THAT(usage_error([&] { choose_eval_data(unlabelled, std::nullopt, 0); }), HasSubstr("labels"));
  EXPECT_THAT(usage_error([&] { choose_probe_data(unlabelled, 0); }), HasSubstr("labels"));

  MemoryDataset one_class;
  for (int i = 0; i < 4; ++i) one_class.add(i < 3 ? Split::kTrain : Split::kTest, 5);
  EXPECT_THAT(usage_error([&] { choose_eval_data(one_class, std::nullopt, 0); }), HasSubstr("one class only"));

  MemoryDataset no_train;
  no_train.add(Split::kTest, 0);
  EXPECT_THAT(usage_error([&] { choose_eval_data(no_train, std::nullopt, 0); }), HasSubstr("train split"));

  MemoryDataset no_val;
  for (int i = 0; i < 4; ++i) no_val.add(i < 3 ? Split::kTrain : Split::kTest, i % 2);
  EXPECT_THAT(usage_error([&] { choose_eval_data(no_val, Split::kVal, 0); }), HasSubstr("a val split"));
  EXPECT_THAT(usage_error([&] { choose_eval_data(no_val, Split::kTrain, 0); }), HasSubstr("memory"));

  MemoryDataset queries_unlabelled;
  for (int i = 0; i < 4; ++i) queries_unlabelled.add(Split::kTrain, i % 2);
  queries_unlabelled.add(Split::kTest, -1);
  EXPECT_THAT(usage_error([&] { choose_eval_data(queries_unlabelled, Split::kTest, 0); }), HasSubstr("labels in the test split"));

  EXPECT_THAT(usage_error([&] { choose_probe_data(no_val, 0, 0.0); }), HasSubstr("Pack a val split"));

  MemoryDataset singles;
  for (int i = 0; i < 3; ++i) singles.add(Split::kTrain, i);
  EXPECT_THAT(usage_error([&] { choose_eval_data(singles, std::nullopt, 0); }), HasSubstr("at least two labelled images"));
}

}  // namespace
}  // namespace dinoxx::eval
