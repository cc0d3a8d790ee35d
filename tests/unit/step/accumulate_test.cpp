// A step in several parts is the step of as many more ranks that look at their own images.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "method/methods.hpp"
#include "parallel/sync_groups.hpp"
#include "thread_ranks.hpp"
#include "tiny_steps.hpp"

namespace dinoxx {
namespace {

using namespace testing_support;

constexpr int kSteps = 5;

struct Outcome {
  std::vector<double> losses, norms;
  std::vector<std::pair<std::string, at::Tensor>> tensors;
};

// [numel of all parameters], whatever the layout.
at::Tensor values_of(const TrainState& state, const FlatState& flat, const at::Tensor& buffer) {
  std::vector<at::Tensor> parts;
  for (size_t s = 0; s < state.layout.segments.size(); ++s) parts.push_back(flat.whole_segment(state.layout, buffer, s, true).flatten());
  return at::cat(parts);
}

Outcome outcome_of(const std::string& extra, int ranks, int parts, const std::string& sync) {
  Outcome outcome;
  const Config config = tiny_config(extra + fmt::format("[train]\naccumulate = {}\n", parts));
  run_thread_ranks(ranks, [&](const std::shared_ptr<Communicator>& comm) {
    const auto split = [&] { return comm->split(0, comm->rank()); };
    const auto gradients = split(), statistics = split();
    TinyRun run(config, gradients, statistics, at::kDouble, make_sync_groups(sync, "all", split(), *comm, ""), /*looks_alone=*/true);
    run.state.frozen = frozen_teacher(config, at::kDouble);
    Outcome mine;
    for (int i = 0; i < kSteps; ++i) {
      StepInput input = run.next();
      input.monitor = i == 1;
      const StepMetrics metrics = run.step(input);
      ASSERT_TRUE(metrics.finite);
      mine.losses.push_back(metrics.loss);
      mine.norms.push_back(metrics.grad_norm);
    }
    const TrainState& state = run.state;
    mine.tensors.emplace_back("student", values_of(state, state.student_flat, state.student_flat.master));
    mine.tensors.emplace_back("teacher", values_of(state, state.teacher_flat, state.teacher_flat.master));
    if (state.centre) mine.tensors.emplace_back("centre", state.centre->value().clone());
    if (state.patch_centre) mine.tensors.emplace_back("patch centre", state.patch_centre->value().clone());
    if (comm->rank() == 0) outcome = std::move(mine);
  });
  return outcome;
}

TEST(Accumulate, PartsAreMoreRanks) {
  for (const Method& method : methods()) {
    std::string extra = "[train]\nmethod = " + method.name + "\n[head]\nhidden_dim = 32\n[mask]\ngroup_size = 1\n";
    if (method.defaults.koleo_weight > 0) extra += "[loss]\nkoleo_group = 3\n";
    if (method.defaults.local_count == 0) extra += "[views]\nlocal_count = 0\n";
    extra += frozen_teacher_keys(method);
    std::vector<std::string> forms = {extra};
    if (method.name == "dinov2") forms.push_back(extra + "[loss]\ncentring = centre\n");
    if (method.name == "dino")
      for (const char* by : {"distance", "reversal"})
        forms.push_back(extra + "[guide]\nlearn = kind\nforget = site, dose:number\noutputs = 3,4,1\nforget_by = " + by + "\n");
    for (const std::string& form : forms) {
      SCOPED_TRACE(form);
      const Outcome expected = outcome_of(form, 4, 1, "ddp");
      ASSERT_EQ(expected.losses.size(), static_cast<size_t>(kSteps));
      for (const auto& [ranks, parts, sync] :
           std::vector<std::tuple<int, int, std::string>>{{1, 4, "ddp"}, {2, 2, "ddp"}, {2, 2, "zero1"}, {2, 2, "zero2"}}) {
        SCOPED_TRACE(fmt::format("{} ranks, {} parts, {}", ranks, parts, sync));
        const Outcome found = outcome_of(form, ranks, parts, sync);
        ASSERT_EQ(found.losses.size(), expected.losses.size());
        for (size_t i = 0; i < found.losses.size(); ++i) {
          EXPECT_NEAR(found.losses[i], expected.losses[i], 1e-9 * std::abs(expected.losses[i])) << "step " << i;
          EXPECT_NEAR(found.norms[i], expected.norms[i], 1e-8 * expected.norms[i]) << "step " << i;
        }
        ASSERT_EQ(found.tensors.size(), expected.tensors.size());
        for (size_t i = 0; i < found.tensors.size(); ++i) {
          const at::Tensor &a = expected.tensors[i].second, &b = found.tensors[i].second;
          EXPECT_LE((a - b).norm().item<double>(), 1e-8 * a.norm().item<double>()) << expected.tensors[i].first;
        }
      }
    }
  }
}

// What the parts of a step do together is not what one of them does.
TEST(Accumulate, EveryPartCounts) {
  const Config config = tiny_config("[train]\naccumulate = 3\n");
  const auto loss_with = [&](int changed) {
    TinyRun run(config, make_self_communicator(), make_self_communicator(), at::kDouble);
    StepInput input = run.next();
    EXPECT_EQ(input.parts, 3);
    if (changed >= 0) input.crops[0].narrow(0, changed * 4, 1).zero_();  // an image of that part, first view
    return run.step(input).loss;
  };
  const double loss = loss_with(-1);
  for (int part = 0; part < 3; ++part) EXPECT_NE(loss_with(part), loss) << part;
}

}  // namespace
}  // namespace dinoxx
