// Which elements a rank owns, and how a network's values come together again.
#include "parallel/shards.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/agree.hpp"
#include "dinoxx/base/error.hpp"
#include "dinoxx/comm/self_communicator.hpp"
#include "gradient_suite.hpp"
#include "parallel/flat_state.hpp"
#include "parallel/sync_groups.hpp"
#include "thread_ranks.hpp"

namespace dinoxx {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;
using testing_support::run_thread_ranks;

// Segments of many lengths: shorter and longer than a rank's part of a bucket, and no multiple of anything.
NamedTensors odd_parameters() {
  NamedTensors all;
  int64_t start = 0;
  for (const int64_t numel : {1, 7, 63, 64, 65, 700, 1000, 3, 129, 4097}) {
    all.push_back({fmt::format("p{}", all.size()), at::arange(start, start + numel, at::kFloat)});
    start += numel;
  }
  all[2].tensor.neg_();
  all[0].tensor.fill_(-0.0);
  return all;
}

TEST(Shards, EveryElementHasOneOwner) {
  for (const int size : {1, 2, 3, 4, 5, 7, 16}) {
    for (const int64_t message : {int64_t{0}, int64_t{3000}, int64_t{1} << 20}) {
      const ParamLayout layout = ParamLayout::build(odd_parameters(), 2048, true, size);
      std::vector<std::vector<int>> owners;
      for (const Segment& segment : layout.segments) owners.emplace_back(static_cast<size_t>(segment.numel), 0);
      run_thread_ranks(size, [&](const std::shared_ptr<Communicator>& comm) {
        const Shards shards(layout, comm, message, 4, Sharing::kState);
        ASSERT_EQ(shards.owned.segments.size(), layout.segments.size());
        EXPECT_EQ(shards.owned.numel * size, layout.numel);
        int64_t end = 0;
        for (size_t s = 0; s < layout.segments.size(); ++s) {
          const Segment& own = shards.owned.segments[s];
          EXPECT_EQ(own.name, layout.segments[s].name);
          EXPECT_EQ(own.shape, layout.segments[s].shape);
          if (own.numel == 0) continue;
          EXPECT_GE(own.offset, end) << "two segments on one place";
          EXPECT_EQ(own.offset % kSegmentAlignment, 0);
          end = own.offset + own.numel;
          for (int64_t i = 0; i < own.numel; ++i) ++owners[s].at(static_cast<size_t>(own.first + i));
        }
        EXPECT_LE(end, shards.owned.numel);
      });
      for (size_t s = 0; s < owners.size(); ++s)
        for (const int count : owners[s]) ASSERT_EQ(count, 1) << "segment " << s << ", " << size << " ranks, messages of " << message;
    }
  }
}

TEST(Shards, MastersAreThePartsAndValuesTheWhole) {
  for (const int size : {1, 2, 3, 5}) {
    run_thread_ranks(size, [&](const std::shared_ptr<Communicator>& comm) {
      const NamedTensors parameters = odd_parameters(), given = odd_parameters();
      const ParamLayout layout = ParamLayout::build(parameters, 2048, true, size);
      FlatState state(layout, parameters, true, at::kFloat, at::kBFloat16,
                      std::make_shared<const Shards>(layout, comm, 0, 4, Sharing::kGradient));
      EXPECT_FALSE(state.whole_grad.defined());
      EXPECT_FALSE(parameters[3].tensor.grad().defined());
      for (size_t i = 0; i < given.size(); ++i) {
        EXPECT_TRUE(at::equal(parameters[i].tensor, given[i].tensor.to(at::kBFloat16)));
        for (size_t s = 0; s < layout.segments.size(); ++s) {
          if (layout.segments[s].name != given[i].name) continue;
          const at::Tensor whole = state.whole_segment(layout, state.master, s, true);
          EXPECT_TRUE(at::equal(whole.view(at::kInt), given[i].tensor.view(at::kInt))) << given[i].name << ": another bit, such as -0.0's";
          EXPECT_FALSE(state.whole_segment(layout, state.master, s, false).defined());
        }
      }
      state.master.mul_(3);
      EXPECT_TRUE(at::equal(parameters[5].tensor, given[5].tensor.to(at::kBFloat16))) << "not published yet";
      state.publish();
      for (size_t i = 0; i < given.size(); ++i) EXPECT_TRUE(at::equal(parameters[i].tensor, (given[i].tensor * 3).to(at::kBFloat16)));
      const at::Tensor sums = at::full({2}, comm->rank() + 1.0, at::kDouble);
      state.sum_over_shards(sums);
      EXPECT_EQ(sums[1].item<double>(), size * (size + 1) / 2.0);
    });
  }
}

TEST(Shards, RefuseALayoutOfAnotherNumberOfRanks) {
  const ParamLayout layout = ParamLayout::build(odd_parameters(), 2048);
  run_thread_ranks(11, [&](const std::shared_ptr<Communicator>& comm) {
    EXPECT_THAT([&] { Shards(layout, comm, 0, 4, Sharing::kState); }, ThrowsMessage<Error>(HasSubstr("buckets that 11 ranks can share")));
  });
}

TEST(SyncGroups, ShareOverAllRanksOrInsideANode) {
  run_thread_ranks(6, [&](const std::shared_ptr<Communicator>& comm) {
    const auto groups = [&](const char* sync, const char* within, const std::string& node) {
      return make_sync_groups(sync, within, comm->split(0, comm->rank()), *comm, node);
    };
    const SyncGroups ddp = groups("ddp", "node", "a");
    EXPECT_EQ(ddp.shards, nullptr);
    EXPECT_EQ(ddp.fellows->size(), 6);
    EXPECT_EQ(describe(ddp), "ddp");
    const SyncGroups all = groups("zero2", "all", "");
    EXPECT_EQ(all.shards->size(), 6);
    EXPECT_EQ(all.fellows->size(), 1);
    EXPECT_EQ(all.sharing, Sharing::kGradient);
    EXPECT_EQ(describe(all), "zero2 over 6 ranks");
    const int rank = comm->rank();
    const SyncGroups nodes = groups("zero1", "node", rank % 2 == 0 ? "even" : "odd");  // ranks 0 2 4 and 1 3 5
    EXPECT_EQ(nodes.shards->size(), 3);
    EXPECT_EQ(nodes.shards->rank(), rank / 2);
    EXPECT_EQ(nodes.fellows->size(), 2);
    EXPECT_EQ(nodes.fellows->rank(), rank % 2);
    EXPECT_EQ(describe(nodes), "zero1 over 3 ranks");
    EXPECT_EQ(groups("zero1", "node", std::to_string(rank)).shards, nullptr) << "one rank alone shares with nobody";
    EXPECT_THAT(
        [&] { groups("zero1", "node", rank < 4 ? "first" : "second"); },
        ThrowsMessage<AgreedError>(testing::AllOf(HasSubstr("parallel.shard_within = node"), HasSubstr("4 on first and 2 on second"))));
  });
}

}  // namespace
}  // namespace dinoxx
