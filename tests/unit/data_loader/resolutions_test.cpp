// Several plans in one loader: which batch has which, and what is in it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "data_pipeline/augment/view_profiles.hpp"
#include "data_pipeline/loader/loader.hpp"
#include "dinoxx/base/error.hpp"
#include "memory_dataset.hpp"

namespace dinoxx {
namespace {

using testing_support::make_dataset;

constexpr int kImages = 41, kBatch = 12;

ViewPlan plan_of(int global, int local, int gram, double share) {
  ProfileOptions options{.global_size = global, .local_size = local, .local_count = 2, .local_scale_min = 0.2};
  if (gram > 0) options.gram_size = gram;
  ViewPlan plan = profile_views("dinov3", options);
  plan.share = share;
  return plan;
}
// The largest is not the first, Gram crops are not in all of them.
std::vector<ViewPlan> three_plans() {
  return {plan_of(16, 8, 24, 0.4), plan_of(24, 8, 40, 0.4), plan_of(24, 12, 0, 0.2)};
}

struct Seen {
  std::vector<uint64_t> ids;
  std::vector<std::tuple<int, int, int>> groups;  // size, first view, views
  std::vector<float> pixels;                      // [group][view][sample]
  bool operator==(const Seen&) const = default;
};

// Global batches from `position`, put together from what all ranks get.
std::vector<Seen> load(const std::shared_ptr<const Dataset>& dataset, const std::vector<ViewPlan>& plans, int ranks, int workers,
                       uint64_t position, size_t batches, int ring = 3) {
  std::vector<std::unique_ptr<Loader>> loaders;
  for (int rank = 0; rank < ranks; ++rank) {
    loaders.push_back(std::make_unique<Loader>(
        dataset, dataset->ids(Split::kTrain), plans,
        LoaderConfig{.seed = 7, .global_batch = kBatch, .rank = rank, .world_size = ranks, .workers = workers, .ring = ring}));
    loaders.back()->start(position);
  }
  std::vector<Seen> all(batches);
  for (Seen& seen : all) {
    std::vector<const Batch*> parts;
    for (const auto& loader : loaders) parts.push_back(&loader->next());
    for (const Batch* part : parts) seen.ids.insert(seen.ids.end(), part->sample_ids.begin(), part->sample_ids.end());
    for (size_t g = 0; g < parts[0]->groups.size(); ++g) {
      const CropGroup& group = parts[0]->groups[g];
      seen.groups.emplace_back(group.size, group.first_view, group.views);
      for (int view = 0; view < group.views; ++view) {
        for (const Batch* part : parts) {
          const size_t floats = part->groups.at(g).pixels.size() / static_cast<size_t>(group.views);
          EXPECT_EQ(floats, part->positions.size() * 3 * static_cast<size_t>(group.size * group.size));
          const auto pixels = part->groups[g].pixels.subspan(static_cast<size_t>(view) * floats, floats);
          seen.pixels.insert(seen.pixels.end(), pixels.begin(), pixels.end());
        }
      }
    }
  }
  return all;
}

TEST(LoaderResolutions, EachBatchIsThatOfItsPlanAlone) {
  const auto dataset = make_dataset(kImages);
  const std::vector<ViewPlan> plans = three_plans();
  const std::vector<Seen> mixed = load(dataset, plans, 1, 2, 0, 12);
  std::vector<std::vector<Seen>> alone;
  for (const ViewPlan& plan : plans) alone.push_back(load(dataset, {plan}, 1, 2, 0, 12));
  std::vector<int> batches(plans.size());
  for (size_t t = 0; t < mixed.size(); ++t) {
    const size_t drawn = plan_at(plans, {.seed = 7}, t * kBatch);
    ++batches[drawn];
    EXPECT_TRUE(mixed[t] == alone[drawn][t]) << "batch " << t << ", plan " << drawn;
  }
  EXPECT_THAT(batches, testing::Each(testing::Ge(1))) << "every plan must be looked at";
}

TEST(LoaderResolutions, BatchesDoNotDependOnWorkersRanksOrRestarts) {
  const auto dataset = make_dataset(kImages);
  const std::vector<ViewPlan> plans = three_plans();
  const std::vector<Seen> reference = load(dataset, plans, 1, 1, 0, 9);
  for (const int ranks : {1, 2, 3, 4})
    for (const int workers : {1, 3}) EXPECT_TRUE(load(dataset, plans, ranks, workers, 0, 9) == reference) << ranks << " ranks";
  EXPECT_TRUE(load(dataset, plans, 2, 4, 0, 9, 2) == reference) << "a smaller ring";
  for (const size_t begin : {1u, 4u, 5u}) {
    const std::vector<Seen> rest = load(dataset, plans, 2, 2, begin * kBatch, 9 - begin);
    EXPECT_TRUE(std::equal(rest.begin(), rest.end(), reference.begin() + static_cast<ptrdiff_t>(begin))) << "from batch " << begin;
  }
  // one loader that begins again elsewhere
  Loader loader(dataset, dataset->ids(Split::kTrain), plans, {.seed = 7, .global_batch = kBatch});
  for (const uint64_t batch : {3u, 0u, 7u}) {
    loader.start(batch * kBatch);
    const Batch& again = loader.next();
    ASSERT_EQ(again.groups.size(), reference[batch].groups.size());
    EXPECT_TRUE(std::equal(again.groups[0].pixels.begin(), again.groups[0].pixels.end(), reference[batch].pixels.begin()));
  }
}

// Published shares. Of all seeds, one in a million would fail each of the two: chi-square with four degrees of freedom above 33.4, and
// a standard normal number outside +-4.9.
TEST(LoaderResolutions, PlansHaveTheirShares) {
  const std::vector<double> shares{0.3, 0.3, 0.3, 0.05, 0.05};
  std::vector<ViewPlan> plans(shares.size());
  for (size_t i = 0; i < shares.size(); ++i) plans[i].share = 20 * shares[i];  // only their ratios count
  constexpr int kDraws = 20000;
  std::vector<int> counts(plans.size());
  int repeats = 0;
  size_t last = plans.size();
  for (uint64_t t = 0; t < kDraws; ++t) {
    const size_t plan = plan_at(plans, {.seed = 11}, t * 2048);
    ASSERT_EQ(plan, plan_at(plans, {.seed = 11}, t * 2048));
    ++counts.at(plan);
    repeats += plan == last ? 1 : 0;
    last = plan;
  }
  double chi_square = 0, squares = 0, cubes = 0;
  for (size_t i = 0; i < shares.size(); ++i) {
    const double expected = kDraws * shares[i];
    chi_square += (counts[i] - expected) * (counts[i] - expected) / expected;
    squares += shares[i] * shares[i];
    cubes += shares[i] * shares[i] * shares[i];
  }
  EXPECT_LT(chi_square, 33.4);
  // one draw says nothing about the next: equal neighbours, with the variance of a sequence of independent draws
  const double variance = kDraws * (squares - squares * squares + 2 * (cubes - squares * squares));
  EXPECT_LT(std::abs(repeats - kDraws * squares) / std::sqrt(variance), 4.9);
  int differ = 0;
  for (uint64_t t = 0; t < 100; ++t) differ += plan_at(plans, {.seed = 11}, t * 2048) != plan_at(plans, {.seed = 12}, t * 2048) ? 1 : 0;
  EXPECT_GT(differ, 40) << "another seed, other draws";
}

TEST(LoaderResolutions, InTurnEachPlanHasItsShareOfTheRun) {
  std::vector<ViewPlan> plans = three_plans();
  plans[0].share = 3, plans[1].share = 1, plans[2].share = 4;
  const LoaderConfig config{.seed = 7, .global_batch = kBatch, .in_turn_until = 8 * kBatch};
  std::vector<size_t> order;
  for (uint64_t t = 0; t < 10; ++t) order.push_back(plan_at(plans, config, t * kBatch));
  EXPECT_EQ(order, (std::vector<size_t>{0, 0, 0, 1, 2, 2, 2, 2, 2, 2}));  // the last behind the end, too
  const auto dataset = make_dataset(kImages);
  Loader loader(dataset, dataset->ids(Split::kTrain), plans, config);
  for (const uint64_t t : {0u, 3u, 4u, 2u}) {  // a run that goes on elsewhere
    loader.start(t * kBatch);
    EXPECT_EQ(loader.next().groups[0].size, plans[order[t]].views[0].size) << t;
  }
}

TEST(LoaderResolutions, RefusesPlansThatCannotBe) {
  const auto dataset = make_dataset(kImages);
  const auto refused = [&](std::vector<ViewPlan> plans) -> std::string {
    try {
      Loader loader(dataset, dataset->ids(Split::kTrain), std::move(plans), {.global_batch = kBatch});
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_EQ(refused(three_plans()), "accepted");
  EXPECT_THAT(refused({}), testing::HasSubstr("at least one view plan"));
  for (const double share : {0.0, -1.0, std::nan(""), std::numeric_limits<double>::infinity()}) {
    std::vector<ViewPlan> plans = three_plans();
    plans[1].share = share;
    EXPECT_THAT(refused(plans), testing::HasSubstr("share of a resolution")) << share;
  }
  std::vector<ViewPlan> plans = three_plans();
  plans[2].views[1].scale_min = 2;
  EXPECT_THAT(refused(plans), testing::HasSubstr("global2"));
}

}  // namespace
}  // namespace dinoxx
