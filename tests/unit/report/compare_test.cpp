#include "report/run/compare.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "dinoxx/base/error.hpp"
#include "run_folder.hpp"

namespace dinoxx::report {
namespace {

using dinoxx::testing_support::TemporaryFolder;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

TEST(Compare, SeedsOfOneConfigurationAreAGroupWithMeanAndSpread) {
  const TemporaryFolder folder;
  const double accuracy[] = {0.5, 0.6, 0.7};
  for (int seed = 0; seed < 3; ++seed)
    FakeRun(folder / fmt::format("s{}", seed), {{"train.seed", std::to_string(seed)}}).start(0).step(10, 2.0).eval(10, accuracy[seed]);
  FakeRun(folder / "byol", {{"train.method", "byol"}}).start(0).step(10, 1.0).eval(10, 0.4);
  const Comparison c = compare_runs({folder / "s0", folder / "byol", folder / "s1", folder / "s2"});
  ASSERT_EQ(c.groups.size(), 2u);
  EXPECT_THAT(c.groups[0].runs, ElementsAre(0, 2, 3));
  ASSERT_EQ(c.curve.size(), 1u);
  const Spread& seeds = c.curve[0].accuracy.at(0).value();
  EXPECT_EQ(seeds.runs, 3);
  EXPECT_DOUBLE_EQ(seeds.mean, 0.6);
  EXPECT_EQ(seeds.min, 0.5);
  EXPECT_EQ(seeds.max, 0.7);
  EXPECT_NEAR(seeds.deviation.value(), 0.1, 1e-12);
  EXPECT_EQ(c.curve[0].accuracy.at(1).value().runs, 1);
  EXPECT_THAT(c.differing, testing::Contains("train.method"));
  EXPECT_THAT(c.differing, testing::Contains("train.seed"));
  const std::string text = comparison_text(c);
  EXPECT_THAT(text, HasSubstr("60.00 (50.00..70.00) sd 10.00"));
  EXPECT_THAT(text, HasSubstr("s0 (3 seeds): s0, s1, s2"));
}

TEST(Compare, TwoSeedsHaveNoStandardDeviation) {
  EXPECT_FALSE(spread_of({0.5, 0.6}).value().deviation);
  EXPECT_FALSE(spread_of({}));
  EXPECT_EQ(spread_of({NAN, 0.25}).value().runs, 1);
}

TEST(Compare, EvaluationsMeetAtEqualNumbersOfImages) {
  const TemporaryFolder folder;
  // batches of 10 and of 32: an epoch of 100 images is complete at 100 and at 128, two at 200 and at 224
  FakeRun(folder / "small").start(0).eval(10, 0.1).eval(20, 0.2).eval(30, 0.3);
  FakeRun(folder / "large", {{"train.batch_size", "32"}}).start(0).eval(4, 0.15).eval(7, 0.25);
  const Comparison c = compare_runs({folder / "small", folder / "large"});
  ASSERT_EQ(c.curve.size(), 3u);
  EXPECT_EQ(c.curve[0].images, 100);
  EXPECT_EQ(c.curve[0].accuracy.at(1).value().mean, 0.15);
  EXPECT_EQ(c.curve[1].images, 200);
  EXPECT_EQ(c.curve[1].accuracy.at(0).value().mean, 0.2);
  EXPECT_EQ(c.curve[1].accuracy.at(1).value().mean, 0.25);
  EXPECT_FALSE(c.curve[2].accuracy.at(1));
  EXPECT_EQ(c.common, 1u);
  EXPECT_THAT(comparison_text(c), HasSubstr("* "));
}

TEST(Compare, FrequentEvaluationsOfOneRunStayApart) {
  const TemporaryFolder folder;
  FakeRun(folder / "often", {{"train.batch_size", "2"}}).start(0).eval(5, 0.1).eval(6, 0.2).eval(7, 0.3);
  FakeRun(folder / "large", {{"train.batch_size", "64"}}).start(0).eval(2, 0.9);
  EXPECT_EQ(compare_runs({folder / "often", folder / "large"}).curve.size(), 4u);
}

TEST(Compare, ARunWithoutEvaluationsAndOneOnOtherDataAreSaid) {
  const TemporaryFolder folder;
  FakeRun(folder / "a").start(0).step(10, 2.0).eval(10, 0.5);
  FakeRun(folder / "b").start(0, 4, "beef").step(10, 1.0).raw("{\"event\":\"collapse\",\"step\":10}\n");
  const Comparison c = compare_runs({folder / "a", folder / "b"});
  EXPECT_THAT(c.groups, testing::SizeIs(2));  // other data are no seeds
  EXPECT_EQ(c.common, 0u);
  EXPECT_THAT(c.notes, testing::Contains(HasSubstr("b: no evaluation yet")));
  EXPECT_THAT(c.notes, testing::Contains(HasSubstr("b: collapse alarm at step 10")));
  EXPECT_THAT(c.notes, testing::Contains(HasSubstr("2 different data sets")));
  EXPECT_THAT(comparison_text(c), HasSubstr("25 %"));  // 10 of 40 steps
}

TEST(Compare, AFailedEvaluationHasNoScore) {
  const TemporaryFolder folder;
  FakeRun(folder / "a").start(0).raw("{\"step\":10,\"eval\":{\"error\":\"unreadable\"}}\n");
  const Comparison c = compare_runs({folder / "a"});
  EXPECT_THAT(c.curve, IsEmpty());
  EXPECT_THAT(c.notes, ElementsAre(HasSubstr("1 of 1 evaluations failed")));
}

TEST(Compare, EqualFolderNamesAreToldApartByTheirParents) {
  const TemporaryFolder folder;
  FakeRun(folder / "x" / "run").start(0);
  FakeRun(folder / "y" / "run").start(0);
  EXPECT_THAT(compare_runs({folder / "x" / "run", folder / "y" / "run"}).names, ElementsAre("x/run", "y/run"));
  EXPECT_THROW(compare_runs({}), UsageError);
}

TEST(Compare, CsvHasALineForEachEvaluation) {
  const TemporaryFolder folder;
  FakeRun(folder / "a,b").start(0).step(10, 2.0).eval(10, 0.5).step(20, 1.0).eval(20, 0.6, 0.4);
  const std::string csv = comparison_csv(compare_runs({folder / "a,b"}));
  EXPECT_THAT(csv, HasSubstr(",accuracy_k10,accuracy_k20\n\"a,b\""));
  EXPECT_THAT(csv, HasSubstr(",2,10,20,2,200,4,1,20,0.6,0.4,0.3,0.6\n"));  // ranks, batch, step, epoch, images, seconds, loss, k, ...
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 3);
}

}  // namespace
}  // namespace dinoxx::report
