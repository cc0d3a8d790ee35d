// One step function on any number of ranks: what one rank computes with the whole batch, several compute with their parts of it.
#include "step/train_step.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "comm/agree.hpp"
#include "dinoxx/comm/mpi_communicator.hpp"
#include "dinoxx/comm/self_communicator.hpp"
#include "method/methods.hpp"
#include "method/settings/resolve.hpp"
#include "model/model_config.hpp"
#include "support/tiny_steps.hpp"

namespace dinoxx {
namespace {

using testing_support::tiny_config;
using testing_support::TinyRun;

TinyRun on_all(const Config& config, at::ScalarType type) {
  return TinyRun(config, make_mpi_communicator(), make_mpi_communicator(), type);
}
TinyRun alone(const Config& config, at::ScalarType type) {
  return TinyRun(config, make_self_communicator(), make_self_communicator(), type);
}

// This rank's slots of the whole batch are the batch that this rank loads itself, byte for byte.
void expect_same_batch(const StepInput& whole, const StepInput& part, int rank, int size) {
  const auto slots = static_cast<int64_t>(part.positions.size()), all = static_cast<int64_t>(whole.positions.size());
  ASSERT_EQ(slots * size, all);
  for (int64_t i = 0; i < slots; ++i)
    ASSERT_EQ(part.positions[static_cast<size_t>(i)], whole.positions[static_cast<size_t>(rank * slots + i)]);
  ASSERT_EQ(part.crops.size(), whole.crops.size());
  for (size_t group = 0; group < part.crops.size(); ++group) {
    const at::Tensor& p = part.crops[group];
    const at::Tensor w =
        whole.crops[group].view({-1, all, p.size(1), p.size(2), p.size(3)}).narrow(1, rank * slots, slots).reshape(p.sizes());
    ASSERT_TRUE(at::equal(p, w)) << "group " << group;
  }
}

class StepOnRanks : public testing::Test {
 protected:
  std::shared_ptr<Communicator> world_ = make_mpi_communicator();
};

// 10 steps at the peak learning rate with multi-crop, drop-path, clipping and a moving centre. In float64 the ranks' sums differ from one
// rank's by rounding only. The key part of a qkv bias has a gradient of zero in theory (softmax does not see a shift of all logits), so
// that Adam divides rounding noise by itself plus eps; in float64 the noise is far below eps and drowns, in float32 it does not, which is
// why there the losses are compared and not the weights.
TEST_F(StepOnRanks, EqualOneRankWithTheWholeBatchInFloat64) {
  TinyRun many = on_all(tiny_config(), at::kDouble), one = alone(tiny_config(), at::kDouble);
  const at::Tensor before = one.state.student_flat.master.clone(), teacher_before = one.state.teacher_flat.master.clone();
  ASSERT_TRUE(at::equal(before, many.state.student_flat.master));
  ASSERT_GT(many.state.layout.buckets.size(), 2u) << "one bucket would not test their order";
  for (int i = 0; i < 10; ++i) {
    const StepInput whole = one.next(), part = many.next();
    expect_same_batch(whole, part, world_->rank(), world_->size());
    const StepMetrics a = one.step(whole), b = many.step(part);
    ASSERT_TRUE(a.finite && b.finite);
    EXPECT_NEAR(a.loss, b.loss, 1e-10 * a.loss);
    EXPECT_NEAR(a.grad_norm, b.grad_norm, 1e-8 * a.grad_norm);
    ASSERT_EQ(a.terms.size(), b.terms.size());
    for (size_t t = 0; t < a.terms.size(); ++t) EXPECT_NEAR(a.terms[t].second, b.terms[t].second, 1e-8) << a.terms[t].first;
  }
  const auto moved = [](const at::Tensor& from, const at::Tensor& to) { return (to - from).norm().item<double>(); };
  const double way = moved(before, one.state.student_flat.master);
  EXPECT_GT(way, 0.1);
  EXPECT_LE(moved(one.state.student_flat.master, many.state.student_flat.master), 1e-8 * way);
  EXPECT_LE(moved(one.state.teacher_flat.master, many.state.teacher_flat.master),
            1e-8 * moved(teacher_before, one.state.teacher_flat.master));
  EXPECT_LE(moved(one.state.centre->value(), many.state.centre->value()), 1e-8 * one.state.centre->value().norm().item<double>());
  EXPECT_GT(one.state.centre->value().norm().item<double>(), 0);
  check_ranks_agree(*world_, many.state.student_flat.master, "student", 10);
  check_ranks_agree(*world_, many.state.teacher_flat.master, "teacher", 10);
  check_ranks_agree(*world_, many.state.centre->value(), "centre", 10);
}

// Batch norms see the whole batch, in the student and in the teacher, whatever the number of ranks; running statistics are kept alike.
TEST_F(StepOnRanks, BatchNormsOfAResNetEqualOneRanksInFloat64) {
  Config config = tiny_config();
  config.model = default_config().model;
  apply_settings(config,
                 parse_settings("[model]\narch = resnet18\n[views]\nglobal_size = 8\nlocal_count = 0\n[train]\nbucket_mb = 4\n", "test"));
  config = resolve_config(config, 60, 1);
  TinyRun many = on_all(config, at::kDouble), one = alone(config, at::kDouble);
  ASSERT_FALSE(one.state.student_buffers.empty());
  for (int i = 0; i < 2; ++i) {
    const StepInput whole = one.next(), part = many.next();
    const StepMetrics a = one.step(whole), b = many.step(part);
    ASSERT_TRUE(a.finite && b.finite);
    EXPECT_NEAR(a.loss, b.loss, 1e-9 * a.loss);
    EXPECT_NEAR(a.grad_norm, b.grad_norm, 1e-7 * a.grad_norm);
  }
  const auto near = [](const NamedTensors& expected, const NamedTensors& found) {
    for (size_t i = 0; i < expected.size(); ++i) {
      const double scale = expected[i].tensor.to(at::kDouble).norm().item<double>();
      EXPECT_LE((expected[i].tensor - found[i].tensor).to(at::kDouble).norm().item<double>(), 1e-7 * (scale + 1)) << expected[i].name;
    }
  };
  near(one.state.student_buffers, many.state.student_buffers);
  near(one.state.teacher_buffers, many.state.teacher_buffers);
  // one group of crops in each of two steps, for the student and for the teacher
  const auto batches = [](const NamedTensors& buffers) { return buffers[2].tensor.item<int64_t>(); };
  ASSERT_TRUE(one.state.student_buffers[2].name.ends_with("num_batches_tracked"));
  EXPECT_EQ(batches(one.state.student_buffers), 2);
  EXPECT_EQ(batches(one.state.teacher_buffers), 2);

  StepInput bad = many.next();
  if (world_->rank() == 0) bad.crops[0].fill_(std::nan(""));
  const at::Tensor mean = many.state.student_buffers[0].tensor.clone();
  EXPECT_FALSE(many.step(bad).finite);
  EXPECT_TRUE(at::equal(mean, many.state.student_buffers[0].tensor)) << "a skipped step leaves no statistics";
  EXPECT_TRUE(many.step(many.next()).finite);
  EXPECT_EQ(batches(many.state.student_buffers), 3);
}

// What each method adds: masks, Sinkhorn-Knopp over all rows, patch centres, KoLeo and NT-Xent over the whole batch, Gram anchoring of
// images and of batches, batch norms in heads, LARS; guides whose labels are known of some images.
TEST_F(StepOnRanks, EveryMethodEqualsOneRankInFloat64) {
  const std::string masks = "[mask]\ngroup_size = 1\n", koleo = "[loss]\nkoleo_group = 12\n";
  const std::string dinov3 = "[model]\nstyle = dinov3\ndrop_path_form = mask\nheads = 2\nregisters = 1\nrope_rescale = 2\n" + masks + koleo;
  // one matrix for all images that a rank holds, of which one rank alone has as many as there are ranks
  const std::string gram = fmt::format("[gram]\nweight = 2\ngroup_size = {}\n", 12 / world_->size());
  std::vector<std::pair<std::string, std::string>> cases = {
      {"dinov2", masks + koleo + "koleo_top_k = 2\n"},
      {"dinov3", dinov3 + "[gram]\nweight = 2\nsize = 24\nstart = 1it\nramp = 2it\nfirst = 1it\nevery = 2it\n"},
      {"dinov3", dinov3 + gram + "tokens = masked\nnegatives = keep\nstart = 1it\nfirst = 1it\n"},
      {"dino", "[guide]\nlearn = kind\nforget = site, dose:number\noutputs = 3,4,1\nramp = 2it\n"},
      {"dino", "[guide]\nlearn = kind, dose:number\nforget = site\nforget_by = reversal\noutputs = 3,1,5\nramp = 2it\n"},
      {"dinov3", dinov3 + gram + "tokens = unmasked\nnegatives = both\nteacher = ema\n"},
  };
  for (const Method& method : methods()) {  // each as it comes
    std::string extra = method.defaults.koleo_weight > 0 ? masks + koleo : masks;
    if (method.defaults.local_count == 0) extra += "[views]\nlocal_count = 0\n";
    extra += testing_support::frozen_teacher_keys(method);
    cases.push_back({method.name, extra});
  }
  for (const auto& [method, extra] : cases) {
    SCOPED_TRACE(method + " " + extra);
    Config config = tiny_config("[train]\nmethod = " + method + "\n[head]\nhidden_dim = 32\n" + extra);
    TinyRun many = on_all(config, at::kDouble), one = alone(config, at::kDouble);
    for (TinyRun* run : {&many, &one}) run->state.frozen = testing_support::frozen_teacher(config, at::kDouble);
    const at::Tensor before = one.state.student_flat.master.clone();
    double anchored = 0;
    for (int i = 0; i < 4; ++i) {
      const StepInput whole = one.next(), part = many.next();
      const StepMetrics a = one.step(whole), b = many.step(part);
      ASSERT_TRUE(a.finite && b.finite);
      EXPECT_NEAR(a.loss, b.loss, 1e-9 * std::abs(a.loss)) << "step " << i;
      EXPECT_NEAR(a.grad_norm, b.grad_norm, 1e-7 * a.grad_norm);
      ASSERT_EQ(a.terms.size(), b.terms.size());
      for (size_t t = 0; t < a.terms.size(); ++t) {
        const auto& [name, value] = a.terms[t];
        if (!name.ends_with("_loss")) continue;  // entropies at masked patches: means over a rank's rows, of which each has another number
        EXPECT_NEAR(value, b.terms[t].second, 1e-9) << name << ", step " << i;
        if (name == "gram_loss") anchored = value;
      }
    }
    const auto distance = [](const at::Tensor& from, const at::Tensor& to) { return (to - from).norm().item<double>(); };
    const double way = distance(before, one.state.student_flat.master);
    EXPECT_GT(way, 1e-6);
    EXPECT_EQ(anchored > 0, extra.find("[gram]") != std::string::npos);
    EXPECT_LE(distance(one.state.student_flat.master, many.state.student_flat.master), 1e-6 * way);
    if (one.state.patch_centre) {
      EXPECT_GT(one.state.patch_centre->value().norm().item<double>(), 0);
      EXPECT_LE(distance(one.state.patch_centre->value(), many.state.patch_centre->value()), 1e-9);
    }
  }
}

// Each step one resolution, the same on all ranks: masks and Gram crops on its own grids.
TEST_F(StepOnRanks, StepsOfSeveralResolutionsEqualOneRanksInFloat64) {
  const Config config = tiny_config(
      "[train]\nmethod = dinov3\n[head]\nhidden_dim = 32\n[model]\nstyle = dinov3\ndrop_path_form = mask\nregisters = 1\n"
      "rope_rescale = 2\n[mask]\ngroup_size = 1\n[loss]\nkoleo_group = 12\n[gram]\nweight = 2\nstart = 1it\nfirst = 1it\nevery = 2it\n"
      "[views]\nsizes = 16x8x24:0.5, 24x12x32:0.3, 24x8x0:0.2\n");
  TinyRun many = on_all(config, at::kDouble), one = alone(config, at::kDouble);
  const at::Tensor before = one.state.student_flat.master.clone();
  std::set<std::vector<int64_t>> seen;
  for (int i = 0; i < 8; ++i) {
    const StepInput whole = one.next(), part = many.next();
    expect_same_batch(whole, part, world_->rank(), world_->size());
    std::vector<int64_t> sizes;
    for (const at::Tensor& crops : part.crops) sizes.push_back(crops.size(-1));
    seen.insert(sizes);
    const StepMetrics a = one.step(whole), b = many.step(part);
    ASSERT_TRUE(a.finite && b.finite);
    EXPECT_NEAR(a.loss, b.loss, 1e-9 * std::abs(a.loss)) << "step " << i;
    EXPECT_NEAR(a.grad_norm, b.grad_norm, 1e-7 * a.grad_norm);
  }
  EXPECT_EQ(seen, (std::set<std::vector<int64_t>>{{16, 8, 24}, {24, 12, 32}, {24, 8}}));
  const auto distance = [](const at::Tensor& from, const at::Tensor& to) { return (to - from).norm().item<double>(); };
  EXPECT_LE(distance(one.state.student_flat.master, many.state.student_flat.master),
            1e-6 * distance(before, one.state.student_flat.master));
}

TEST_F(StepOnRanks, LossesAgreeInFloat32) {
  TinyRun many = on_all(tiny_config(), at::kFloat), one = alone(tiny_config(), at::kFloat);
  for (int i = 0; i < 10; ++i) {
    const StepInput whole = one.next(), part = many.next();
    const double a = one.step(whole).loss, b = many.step(part).loss;
    EXPECT_NEAR(a, b, 1e-5 * a) << "step " << i;
  }
}

// Drop-path must have an effect, else the tests above would not see it break.
TEST_F(StepOnRanks, DropPathChangesTheLoss) {
  TinyRun with = alone(tiny_config(), at::kDouble), without = alone(tiny_config("[model]\ndrop_path = 0\n"), at::kDouble);
  EXPECT_NE(with.step(with.next()).loss, without.step(without.next()).loss);
}

TEST_F(StepOnRanks, ALossThatIsNoNumberOnOneRankChangesNothingOnAny) {
  TinyRun run = on_all(tiny_config(), at::kFloat);
  run.step(run.next());
  const at::Tensor student = run.state.student_flat.master.clone(), teacher = run.state.teacher_flat.master.clone(),
                   centre = run.state.centre->value().clone(), mean = run.state.optimizer->named_state()[0].second.clone();
  const std::vector<int64_t> counts = run.state.optimizer->segment_steps;
  const uint64_t position = run.state.position;
  StepInput input = run.next();
  const int last = world_->size() - 1;
  if (world_->rank() == last) input.crops[0].fill_(std::nan(""));
  const StepMetrics metrics = run.step(input);
  EXPECT_FALSE(metrics.finite);
  EXPECT_EQ(metrics.bad_ranks, std::vector<int>{last});
  EXPECT_EQ(metrics.bad_term, world_->rank() == last ? "dino" : "");
  EXPECT_TRUE(at::equal(student, run.state.student_flat.master));
  EXPECT_TRUE(at::equal(teacher, run.state.teacher_flat.master));
  EXPECT_TRUE(at::equal(centre, run.state.centre->value()));
  EXPECT_TRUE(at::equal(mean, run.state.optimizer->named_state()[0].second));
  EXPECT_EQ(counts, run.state.optimizer->segment_steps);
  EXPECT_EQ(run.state.position, position + 12) << "the batch is left behind";
  EXPECT_EQ(run.state.step, 2);
  // and the run goes on
  EXPECT_TRUE(run.step(run.next()).finite);
  check_ranks_agree(*world_, run.state.student_flat.master, "student", 3);
}

TEST_F(StepOnRanks, AFrozenLastLayerStaysAndCountsNoSteps) {
  TinyRun run = on_all(tiny_config(), at::kFloat);
  const auto last_layer = [&](const Segment& s) { return s.name == "head.last_layer.weight_v"; };
  const auto& segments = run.state.layout.segments;
  const auto index = static_cast<size_t>(std::find_if(segments.begin(), segments.end(), last_layer) - segments.begin());
  ASSERT_LT(index, segments.size());
  const auto values = [&] { return run.state.student_flat.master.narrow(0, segments[index].offset, segments[index].numel).clone(); };
  const at::Tensor before = values();
  run.step(run.next(), /*freeze=*/true);
  EXPECT_TRUE(at::equal(before, values()));
  EXPECT_EQ(run.state.optimizer->segment_steps[index], 0);
  run.step(run.next());
  EXPECT_FALSE(at::equal(before, values()));
  EXPECT_EQ(run.state.optimizer->segment_steps[index], 1);
}

TEST_F(StepOnRanks, AStopVoteOfOneRankIsHeardByAll) {
  TinyRun run = on_all(tiny_config(), at::kFloat);
  EXPECT_FALSE(run.step(run.next()).stop);
  StepInput input = run.next();
  input.wants_stop = world_->rank() == world_->size() - 1;
  EXPECT_TRUE(run.step(input).stop);
  EXPECT_EQ(run.state.step, 2) << "the step itself is done";
}

TEST_F(StepOnRanks, Bfloat16TrainsAndKeepsFloatMasters) {
  TinyRun run = on_all(tiny_config("[train]\nprecision = bf16\n"), at::kBFloat16);
  ASSERT_EQ(run.state.student_flat.master.scalar_type(), at::kFloat);
  ASSERT_EQ(run.state.student_flat.compute.scalar_type(), at::kBFloat16);
  TinyRun full = on_all(tiny_config(), at::kFloat);
  for (int i = 0; i < 3; ++i) {
    const StepInput input = run.next();
    full.next();
    const double loss = run.step(input).loss, reference = full.step(input).loss;
    EXPECT_NEAR(loss, reference, 0.05 * reference) << "step " << i;
  }
  EXPECT_TRUE(at::equal(run.state.student_flat.compute, run.state.student_flat.master.to(at::kBFloat16)));
}

}  // namespace
}  // namespace dinoxx
