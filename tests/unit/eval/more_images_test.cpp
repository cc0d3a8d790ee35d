// What more training images of a class would bring: the curve, what is told and what is not.
#include "eval/protocols/more_images.hpp"

#include <gmock/gmock.h>

#include <cmath>

#include "ladder_sets.hpp"
#include "support/thread_ranks.hpp"

namespace dinoxx::eval {
namespace {

using namespace testing_support;

TEST(MeanCurve, IsFoundWhereTheRecallFollowsIt) {
  const MeanCurve truth{1.2, 5};
  const std::vector<double> images{2, 4, 8, 16, 32};
  std::vector<double> recall;
  recall.reserve(images.size());
  for (const double m : images) recall.push_back(truth.recall(m));
  const MeanCurve fitted = fit_mean_curve(images, recall, 0.001);
  EXPECT_NEAR(fitted.limit, truth.limit, 1e-9);
  EXPECT_NEAR(fitted.loss, truth.loss, 1e-9);
  EXPECT_NEAR(fitted.recall(128), truth.recall(128), 1e-12);
  EXPECT_NEAR(fitted.recall(std::numeric_limits<double>::infinity()), 1 / (1 + std::exp(-1.2)), 1e-9);
  const MeanCurve flat = fit_mean_curve(images, std::vector<double>(5, 1.0), 0.01);
  EXPECT_NEAR(flat.recall(64), 0.99, 1e-9) << "all right is no more than what so few test images can show";
}

json few_shot_of(const Set& set, double noise, Communicator& comm, int threads = 1) {
  return climb(set.dataset, set.data, features_of(set.data, noise), comm, threads, "few").scores.at("few")["more_images"];
}

TEST(MoreImages, AreToldOfTheRarestClassesFirst) {
  const auto comm = make_self_communicator();
  const Set set = make_set({60, 30, 12, 5}, {40, 40, 40, 40});
  const auto outcome = climb(set.dataset, set.data, features_of(set.data, 0.7), *comm, 1, "few");
  const json& more = outcome.scores.at("few")["more_images"];
  ASSERT_EQ(more["classes"].size(), 4u);
  EXPECT_EQ(more["classes"][0]["name"], "class3");
  EXPECT_EQ(more["classes"][0]["left_out"], "fewer than 8 training images");
  EXPECT_EQ(more["target"], outcome.scores.at("few")["methods"]["simpleshot"]["balanced_accuracy"]);
  const json& all = outcome.scores.at("few")["methods"]["simpleshot"]["classes"];
  for (size_t c = 1; c < 4; ++c) {
    const json& row = more["classes"][c];
    const auto place = static_cast<size_t>(row["name"].get<std::string>().back() - '0');
    EXPECT_NEAR(row["recall"].get<double>(), all[place]["recall"].get<double>(), 1e-12) << "with all images it is the method's own";
    ASSERT_EQ(row["at"].size(), 4u);
    EXPECT_EQ(row["at"][1]["images"].get<double>(), 2 * row["memory"].get<double>());
    for (const json& at : row["at"]) {
      EXPECT_LE(at["interval95"][0], at["recall"]);
      EXPECT_GE(at["interval95"][1], at["recall"]);
    }
  }
}

TEST(MoreImages, OfWhatIsKnownApartNothingIsMissing) {
  const auto comm = make_self_communicator();
  const json more = few_shot_of(make_set({40, 16}, {60, 60}), 0.02, *comm);
  for (const json& row : more["classes"]) {
    EXPECT_EQ(row["recall"], 1.0);
    EXPECT_GT(row["at"][3]["recall"].get<double>(), 0.98);
    EXPECT_TRUE(row["not_enough"].is_null());
  }
}

TEST(MoreImages, GroupsAndCopiesCountOnce) {
  const auto comm = make_self_communicator();
  Set set = make_set({30, 16}, {20, 9});
  const uint64_t first = set.data.memory.front();
  for (uint64_t id = 0; id < set.dataset.size(); ++id)
    if (set.dataset.meta(id).split == Split::kTrain && set.dataset.meta(id).label == 0) set.dataset.set_group(id, 1 + (id - first) % 5);
  const json more = few_shot_of(set, 0.3, *comm);
  std::map<std::string, std::string> why;
  for (const json& row : more["classes"]) why[row["name"]] = row.value("left_out", "");
  EXPECT_EQ(why["class0"], "training images of fewer than 8 groups");
  EXPECT_EQ(why["class1"], "fewer than 10 test images");
}

TEST(MoreImages, AreTheSameAtAnyNumberOfRanks) {
  const Set set = make_set({50, 20, 10}, {30, 30, 30});
  std::string alone;
  for (int ranks = 1; ranks <= 3; ++ranks)
    run_thread_ranks(ranks, [&](std::shared_ptr<Communicator> comm) {
      const std::string text = few_shot_of(set, 0.6, *comm, ranks == 2 ? 2 : 1).dump();
      if (ranks == 1) alone = text;
      EXPECT_TRUE(text == alone) << ranks;
    });
}

}  // namespace
}  // namespace dinoxx::eval
