#include "comm/thread_communicator.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "comm/word_hash.hpp"
#include "communicator_suite.hpp"
#include "dinoxx/base/error.hpp"
#include "dinoxx/comm/self_communicator.hpp"
#include "thread_ranks.hpp"

namespace dinoxx {
namespace {

using namespace testing_support;
using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

TEST(SelfCommunicator, PassesTheSuite) {
  const auto one = make_self_communicator(), two = make_self_communicator();
  EXPECT_EQ(one->name(), "self");
  check_communicator(*one, *two);
}

class ThreadCommunicatorRanks : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(, ThreadCommunicatorRanks, testing::Values(1, 2, 3, 4), testing::PrintToStringParamName());

TEST_P(ThreadCommunicatorRanks, PassesTheSuite) {
  const auto second = make_thread_communicators(GetParam());
  run_thread_ranks(GetParam(), [&](std::shared_ptr<Communicator> one) { check_communicator(*one, *second[one->rank()]); });
}

TEST_P(ThreadCommunicatorRanks, SumsInRankOrder) {
  run_thread_ranks(GetParam(), [](std::shared_ptr<Communicator> comm) {
    const at::Tensor terms = at::rsqrt(at::arange(1, 4 * 1000 + 1, at::kFloat)).view({4, 1000});
    at::Tensor expected = terms[0].clone();
    for (int r = 1; r < comm->size(); ++r) expected += terms[r];
    const at::Tensor tensor = terms[comm->rank()].clone();
    comm->all_reduce(tensor, ReduceOp::kSum)->wait();
    EXPECT_TRUE(at::equal(tensor, expected));
  });
}

TEST_P(ThreadCommunicatorRanks, NobodyLeavesABarrierBeforeAllHaveCome) {
  std::atomic<int> entered = 0;
  run_thread_ranks(GetParam(), [&](std::shared_ptr<Communicator> comm) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10 * comm->rank()));
    ++entered;
    comm->barrier();
    EXPECT_EQ(entered, comm->size());
  });
}

TEST(ThreadCommunicator, NamesRanksThatCallDifferentOperations) {
  EXPECT_THAT(
      [] {
        run_thread_ranks(2, [](std::shared_ptr<Communicator> comm) {
          const at::Tensor tensor = at::zeros({3});
          (comm->rank() == 0 ? comm->all_reduce(tensor, ReduceOp::kSum) : comm->broadcast(tensor, 0))->wait();
        });
      },
      ThrowsMessage<Error>(
          AllOf(HasSubstr("the same call on all ranks"), HasSubstr("all_reduce on rank 0"), HasSubstr("broadcast on rank 1"))));
  EXPECT_THAT(
      [] {
        run_thread_ranks(
            2, [](std::shared_ptr<Communicator> comm) { comm->all_reduce(at::zeros({3 + comm->rank()}), ReduceOp::kSum)->wait(); });
      },
      ThrowsMessage<Error>(AllOf(HasSubstr("count 3 on rank 0"), HasSubstr("and 4 on rank 1"))));
}

TEST(ThreadCommunicator, NamesTheRankThatDoesNotCome) {
  const auto group = make_thread_communicators(3, std::chrono::milliseconds(30));
  static_cast<void>(group[2]->all_reduce(at::zeros({1}), ReduceOp::kSum).release());  // posted, never waited for
  EXPECT_THAT([&] { group[0]->all_reduce(at::zeros({1}), ReduceOp::kSum)->wait(); },
              ThrowsMessage<Error>(HasSubstr("no call by rank(s) 1")));
}

TEST(ThreadCommunicator, AFailedRankFreesTheOthersAndIsReported) {
  EXPECT_THAT(
      [] {
        run_thread_ranks(3, [](std::shared_ptr<Communicator> comm) {
          if (comm->rank() == 1) fail("rank 1", "luck", "none", "");
          comm->barrier();
        });
      },
      ThrowsMessage<Error>(HasSubstr("rank 1 of 3: rank 1: expected luck, found none")));
}

TEST(WordHash, IsAnotherForAnyBitAndForAnyOrder) {
  const at::Tensor values = at::linspace(-1, 1, 1000, at::kFloat);
  const int64_t hash = word_hash(values);
  EXPECT_EQ(word_hash(values.clone()), hash);
  for (const int64_t place : {0, 1, 500, 999}) {
    for (const int32_t bit : {0, 15, 31}) {
      const at::Tensor other = values.clone();
      other.view(at::kInt)[place].bitwise_xor_(static_cast<int32_t>(1U << bit));
      EXPECT_NE(word_hash(other), hash) << place << " " << bit;
    }
  }
  const at::Tensor swapped = values.clone();
  swapped[3] = values[4];
  swapped[4] = values[3];
  EXPECT_NE(word_hash(swapped), hash);
  EXPECT_NE(word_hash(at::zeros({3})), word_hash(at::ones({3})));
  EXPECT_NE(word_hash(values.to(at::kDouble)), hash);
}

}  // namespace
}  // namespace dinoxx
