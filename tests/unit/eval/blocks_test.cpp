#include "eval/features/blocks.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <thread>

#include "dinoxx/base/error.hpp"
#include "dinoxx/comm/self_communicator.hpp"
#include "support/thread_ranks.hpp"

namespace dinoxx::eval {
namespace {

using dinoxx::testing_support::run_thread_ranks;

TEST(EvalBlocks, RanksOwnContiguousWholeBlocksThatCoverEverythingOnce) {
  for (const int64_t items : {1, 2, 63, 64, 65, 127, 128, 129, 1000, 6401}) {
    for (int size = 1; size <= 7; ++size) {
      int64_t next = 0;
      for (int rank = 0; rank < size; ++rank) {
        const ItemRange range = rank_items(items, rank, size);
        EXPECT_EQ(range.begin, next) << items << " items, rank " << rank << " of " << size;
        EXPECT_TRUE(range.begin % kEvalBlock == 0 || range.size() == 0);
        EXPECT_LE(range.size(), (block_count(items) / size + 1) * kEvalBlock);
        next = range.end;
      }
      EXPECT_EQ(next, items);
    }
  }
}

TEST(EvalBlocks, EveryBlockOfTheRangeRunsOnceAtAnyThreadCount) {
  const int64_t items = 10 * kEvalBlock + 7;
  for (const int threads : {1, 2, 5, 100}) {
    for (int rank = 0; rank < 3; ++rank) {
      const ItemRange mine = rank_items(items, rank, 3);
      std::vector<std::atomic<int>> seen(items);
      for_each_block(items, mine, threads, [&](int64_t block, ItemRange part) {
        EXPECT_EQ(part.begin, block * kEvalBlock);
        for (int64_t i = part.begin; i < part.end; ++i) ++seen[i];
      });
      for (int64_t i = 0; i < items; ++i) EXPECT_EQ(seen[i], i >= mine.begin && i < mine.end ? 1 : 0) << i;
    }
  }
}

TEST(EvalBlocks, WorkersAreSingleThreadedWithoutGraphAndTheCallerIsLeftAlone) {
  at::set_num_threads(3);
  for_each_block(200, {0, 200}, 2, [&](int64_t, ItemRange) {
    EXPECT_EQ(at::get_num_threads(), 1);
    EXPECT_FALSE(at::GradMode::is_enabled());
  });
  EXPECT_EQ(at::get_num_threads(), 3);
  EXPECT_TRUE(at::GradMode::is_enabled());
  int later = 0;
  std::thread([&] { later = at::get_num_threads(); }).join();
  EXPECT_EQ(later, 3);
  at::set_num_threads(1);
}

TEST(EvalBlocks, ErrorOfABlockReachesTheCaller) {
  EXPECT_THROW(for_each_block(1000, {0, 1000}, 3,
                              [](int64_t block, ItemRange) {
                                if (block == 5) throw Error("block five");
                              }),
               Error);
}

TEST(EvalBlocks, GatheredRowsAreInOrderAtAnyNumberOfRanks) {
  for (const int64_t total : {1, 3, 64, 65, 200, 259}) {
    for (int size = 1; size <= 5; ++size) {
      run_thread_ranks(size, [&](const std::shared_ptr<Communicator>& rank_comm) {
        Communicator& comm = *rank_comm;
        const ItemRange mine = rank_items(total, comm.rank(), comm.size());
        at::Tensor local = at::empty({mine.size(), 2}, at::kFloat);
        for (int64_t i = 0; i < mine.size(); ++i) local[i].fill_(static_cast<float>(mine.begin + i));
        const at::Tensor all = gather_blocks(comm, local, total);
        ASSERT_EQ(all.size(0), total);
        for (int64_t i = 0; i < total; ++i)
          ASSERT_EQ(all[i][1].item<float>(), static_cast<float>(i)) << total << " rows, " << size << " ranks";
      });
    }
  }
}

}  // namespace
}  // namespace dinoxx::eval
