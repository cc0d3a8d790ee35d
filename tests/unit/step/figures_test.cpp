#include "step/figures.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "thread_ranks.hpp"

namespace dinoxx {
namespace {

// Each term and metric once as a number and once as an element of a tensor.
StepFigures::Summed summed(Communicator& comm, bool tensors, double second_on_rank_1) {
  const auto figure = [&](double value) { return tensors ? Figure(at::full({3}, value, at::kDouble)[1]) : Figure(value); };
  const int rank = comm.rank();
  StepFigures figures;
  figures.add_term("first", 1, figure(1 + rank));
  figures.add_term("second", 0.5, figure(rank == 1 ? second_on_rank_1 : 10));
  figures.add_term("third", 2, Figure(at::full({}, rank == 1 && !std::isfinite(second_on_rank_1) ? std::nan("") : 0.25, at::kFloat)));
  figures.add_metric("rank", figure(rank));
  figures.add_metric("one", 1.0);
  figures.post(rank == 2, 4 + rank, rank, at::kCPU, comm, 2);
  EXPECT_TRUE(at::equal(figures.room(), at::zeros({2}, at::kDouble)));
  figures.room()[1].fill_(10 + rank);
  return figures.read();
}

TEST(StepFigures, AreSumsAndMeansOverTheRanks) {
  for (const bool tensors : {false, true})
    testing_support::run_thread_ranks(3, [&](const std::shared_ptr<Communicator>& comm) {
      const StepFigures::Summed s = summed(*comm, tensors, 10);
      EXPECT_TRUE(s.bad_ranks.empty());
      EXPECT_EQ(s.bad_term, "");
      EXPECT_DOUBLE_EQ(s.loss, 2 + 5 + 0.5);
      EXPECT_TRUE(s.stop);
      EXPECT_EQ(s.centre_rows, 15);
      EXPECT_EQ(s.patch_centre_rows, 3);
      ASSERT_EQ(s.metrics.size(), 2u);
      EXPECT_EQ(s.metrics[0].first, "rank");
      EXPECT_EQ(s.metrics[0].second, 1);
      EXPECT_EQ(s.metrics[1].second, 1);
      EXPECT_EQ(s.room, (std::vector<double>{0, 10.0 + comm->rank()}));
    });
}

TEST(StepFigures, ATermThatIsNoNumberIsNamedByItsRank) {
  for (const bool tensors : {false, true})
    for (const double bad : {std::nan(""), HUGE_VAL, -HUGE_VAL})
      testing_support::run_thread_ranks(3, [&](const std::shared_ptr<Communicator>& comm) {
        const StepFigures::Summed s = summed(*comm, tensors, bad);
        EXPECT_EQ(s.bad_ranks, std::vector<int>{1});
        EXPECT_EQ(s.bad_term, comm->rank() == 1 ? "second" : "");
        EXPECT_TRUE(std::isnan(s.loss));
        EXPECT_TRUE(s.stop);
        EXPECT_EQ(s.centre_rows, 15);
      });
}

}  // namespace
}  // namespace dinoxx
