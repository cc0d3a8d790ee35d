// Several students of one frozen teacher in one job: each learns what it learns alone, and the teacher sees each image once.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "dinoxx/base/error.hpp"
#include "dinoxx/comm/mpi_communicator.hpp"
#include "support/tiny_steps.hpp"

namespace dinoxx {
namespace {

using testing_support::tiny_config;
using testing_support::TinyRun;

constexpr int64_t kBatch = 12;

TEST(TeacherRanks, EqualSharesOfWhatEachRankHolds) {
  for (const auto& [batch, ranks] : std::vector<std::pair<int64_t, std::vector<int>>>{
           {12, {1, 1}}, {12, {2, 1}}, {12, {2, 2}}, {12, {1, 3}}, {60, {3, 5, 2, 2}}, {1920, {48, 48, 96, 128}}, {36, {4, 4, 4}}}) {
    const std::vector<int> chosen = teacher_ranks(batch, ranks);
    ASSERT_EQ(static_cast<int64_t>(chosen.size()), batch);
    const int world = std::accumulate(ranks.begin(), ranks.end(), 0);
    for (int rank = 0; rank < world; ++rank) EXPECT_EQ(std::count(chosen.begin(), chosen.end(), rank), batch / world) << rank;
    for (int64_t slot = 0; slot < batch; ++slot) {
      int first = 0;
      bool holds = false;
      for (const int of_student : ranks) {
        holds = holds || first + slot / (batch / of_student) == chosen[static_cast<size_t>(slot)];
        first += of_student;
      }
      EXPECT_TRUE(holds) << "slot " << slot;
    }
  }
  EXPECT_THROW(teacher_ranks(12, {3, 2}), UsageError);  // 5 ranks
  EXPECT_THROW(teacher_ranks(15, {2, 1}), UsageError);  // 2 ranks of a student
}

// Divisions of this program's ranks among students.
std::vector<std::vector<int>> divisions(int world) {
  switch (world) {
    case 1:
      return {{1}};
    case 2:
      return {{1, 1}, {2}};
    case 3:
      return {{2, 1}, {1, 1, 1}};
    default:
      return {{2, 2}, {1, 3}};
  }
}

int student_of(const std::vector<int>& ranks, int rank) {
  int student = 0, first = 0;
  while (first + ranks[static_cast<size_t>(student)] <= rank) first += ranks[static_cast<size_t>(student++)];
  return student;
}

std::unique_ptr<Network> teacher() {
  const Config config =
      tiny_config("[train]\nmethod = dinov2\n[model]\ndim = 48\ndepth = 3\n[head]\nhidden_dim = 40\nshared = no\npatch_out_dim = 48\n");
  auto network = std::make_unique<Network>(make_method(config).network, at::kDouble);
  network->initialize(7);
  return network;
}

class Students : public testing::Test {
 protected:
  std::shared_ptr<Communicator> world_ = make_mpi_communicator();
};

TEST_F(Students, AnswersOfTheSharedTeacherAreThoseOfItsForward) {
  const std::unique_ptr<Network> network = teacher();
  at::NoGradGuard no_grad;
  for (const std::vector<int>& ranks : divisions(world_->size())) {
    SharedTeacher shared(world_, ranks, kBatch);
    const int student = student_of(ranks, world_->rank());
    const int first = std::accumulate(ranks.begin(), ranks.begin() + student, 0);
    const int64_t slots = kBatch / ranks[static_cast<size_t>(student)], begin = (world_->rank() - first) * slots;
    // two views of 16 pixels, 16 patches; one crop with all patches masked, one with one patch, no other
    const at::Tensor images = at::arange(2 * kBatch * 3 * 16 * 16, at::kDouble).mul(0.37).sin().view({2, kBatch, 3, 16, 16});
    at::Tensor masks = at::zeros({2, kBatch, 16}, at::kBool);
    masks[1][0].fill_(true);
    masks[0][kBatch - 1][5] = true;
    const at::Tensor mine = images.narrow(1, begin, slots).flatten(0, 1).contiguous(), masked = masks.narrow(1, begin, slots).flatten(0, 1);
    const bool last = world_->rank() == world_->size() - 1;
    const SharedTeacher::Output found = shared.forward(*network, {mine, masked, last});
    EXPECT_TRUE(found.stop) << "one rank's vote counts for all";
    EXPECT_FALSE(shared.forward(*network, {mine, masked, false}).stop);
    const std::vector<at::Tensor> crops{mine};
    const ForwardOutput whole =
        network->forward({.crops_by_size = crops, .batch = slots, .masked_rows = masked.flatten().nonzero().squeeze(1)});
    EXPECT_TRUE(at::allclose(found.teacher.features, whole.features, 1e-12, 1e-12));
    EXPECT_TRUE(at::allclose(found.teacher.logits, whole.logits, 1e-12, 1e-12));
    ASSERT_EQ(found.teacher.patch_logits.sizes(), whole.patch_logits.sizes());
    EXPECT_TRUE(at::allclose(found.teacher.patch_logits, whole.patch_logits, 1e-12, 1e-12));
    EXPECT_FALSE(shared.forward(*network, {mine, {}, false}).teacher.patch_logits.defined());
    at::Tensor images_seen = at::full({1}, shared.images(), at::kLong);
    world_->all_reduce(images_seen, ReduceOp::kSum)->wait();
    EXPECT_EQ(images_seen.item<int64_t>(), 3 * kBatch) << "each image of three steps once, over all ranks";
    EXPECT_EQ(shared.images(), 3 * kBatch / world_->size());
  }
}

// The same student alone, on all ranks of the job and with its teacher run by itself, sees the same global batches: what it has learnt
// after some steps differs by the rounding of float64 alone.
TEST_F(Students, LearnInAGroupWhatTheyLearnAloneOnAllRanks) {
  const std::vector<std::string> sizes{"[model]\ndim = 32\n", "[model]\ndim = 48\ndepth = 1\n", "[model]\ndim = 16\nheads = 2\n"};
  for (const std::vector<int>& ranks : divisions(world_->size())) {
    const int student = student_of(ranks, world_->rank());
    const auto config_of = [&](int number) {
      return tiny_config(
          "[train]\nmethod = distill\n[teacher]\ndistill = given\n[mask]\ngroup_size = 1\n[loss]\nkoleo_weight = 0.1\nkoleo_group = 12\n" +
          sizes[static_cast<size_t>(number)]);
    };
    const auto group = [&] { return world_->split(student, world_->rank()); };
    TinyRun run(config_of(student), group(), group(), at::kDouble);
    run.state.frozen = teacher();
    run.teacher = std::make_unique<SharedTeacher>(make_mpi_communicator(), ranks, kBatch);
    const at::Tensor before = run.state.student_flat.master.clone();
    std::vector<double> losses;
    for (int i = 0; i < 3; ++i) {
      const StepMetrics metrics = run.step(run.next());
      ASSERT_TRUE(metrics.finite);
      EXPECT_FALSE(metrics.stop);
      losses.push_back(metrics.loss);
    }
    at::Tensor seen = at::full({1}, run.teacher->images(), at::kLong);
    world_->all_reduce(seen, ReduceOp::kSum)->wait();
    EXPECT_EQ(seen.item<int64_t>(), 3 * kBatch);
    for (int number = 0; number < static_cast<int>(ranks.size()); ++number) {  // all ranks train each of them alone, one after the other
      TinyRun alone(config_of(number), make_mpi_communicator(), make_mpi_communicator(), at::kDouble);
      alone.state.frozen = teacher();
      for (size_t i = 0; i < losses.size(); ++i) {
        const double loss = alone.step(alone.next()).loss;
        if (number == student) {
          EXPECT_NEAR(losses[i], loss, 1e-9 * loss) << "step " << i;
        }
      }
      if (number != student) continue;
      const auto distance = [](const at::Tensor& from, const at::Tensor& to) { return (to - from).norm().item<double>(); };
      EXPECT_LE(distance(alone.state.student_flat.master, run.state.student_flat.master),
                1e-9 * distance(before, alone.state.student_flat.master));
      EXPECT_LE(distance(alone.state.teacher_flat.master, run.state.teacher_flat.master),
                1e-9 * alone.state.teacher_flat.master.norm().item<double>());
    }
  }
}

// A vote of one rank ends the step for the students of all; a loss that is no number of one student leaves the others alone.
TEST_F(Students, StopTogetherAndSkipApart) {
  const std::vector<int> ranks = divisions(world_->size()).front();
  const int student = student_of(ranks, world_->rank());
  const Config config = tiny_config("[train]\nmethod = distill\n[teacher]\ndistill = given\n[mask]\ngroup_size = 1\n");
  const auto group = [&] { return world_->split(student, world_->rank()); };
  TinyRun run(config, group(), group(), at::kDouble);
  run.state.frozen = teacher();
  run.teacher = std::make_unique<SharedTeacher>(make_mpi_communicator(), ranks, kBatch);
  StepInput input = run.next();
  input.wants_stop = world_->rank() == world_->size() - 1;
  const bool bad = student == 0 && ranks.size() > 1;
  if (bad) input.crops.back().fill_(std::nan(""));  // local crops, which the teacher does not see
  const StepMetrics metrics = run.step(input);
  EXPECT_TRUE(metrics.stop);
  EXPECT_EQ(metrics.finite, !bad);
  EXPECT_TRUE(run.step(run.next()).finite);
}

}  // namespace
}  // namespace dinoxx
