// Formulas of the plan on cases by hand, and against the program's own counts of a small network.
#include <gmock/gmock.h>

#include <cmath>
#include <fstream>
#include <set>

#include "checkpoint/train_state_io.hpp"
#include "dinoxx/base/error.hpp"
#include "model/heads/head_config.hpp"
#include "parallel/sync_groups.hpp"
#include "plan/advice.hpp"
#include "plan/choose.hpp"
#include "support/counting_communicator.hpp"
#include "support/temporary_folder.hpp"
#include "support/thread_ranks.hpp"
#include "support/tiny_steps.hpp"

namespace dinoxx::plan {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing_support::tiny_config;

template <class Call>
std::string usage_message(const Call& call) {
  try {
    call();
  } catch (const UsageError& error) {
    return error.what();
  }
  return "no usage error";
}

// ---------------------------------------------------------------- links

TEST(Links, ARingSendsItsShare) {
  EXPECT_DOUBLE_EQ(sent_bytes(Collective::kAllReduce, 800, 8), 1400);
  EXPECT_DOUBLE_EQ(sent_bytes(Collective::kReduceScatter, 800, 8), 700);
  EXPECT_DOUBLE_EQ(sent_bytes(Collective::kAllGather, 800, 2), 400);
  EXPECT_DOUBLE_EQ(sent_bytes(Collective::kAllReduce, 800, 1), 0);
}

TEST(Links, SecondsByHand) {
  GpuFacts gpu;
  gpu.link_node = 100e9, gpu.link_across = 10e9, gpu.latency_node = 1e-6, gpu.latency_across = 5e-6;
  EXPECT_EQ(collective_seconds(gpu, Collective::kAllReduce, 1e9, {1, 1}), 0);
  // 7 hops and 7/8 GB
  EXPECT_DOUBLE_EQ(collective_seconds(gpu, Collective::kAllGather, 1e9, {1, 8}), 7e-6 + 0.875e9 / 100e9);
  // two nodes of 4: the adapters of a node, 40 GB/s, are the slower; 6 hops within, 2 between
  EXPECT_DOUBLE_EQ(collective_seconds(gpu, Collective::kReduceScatter, 1e9, {2, 4}), 6e-6 + 2 * 5e-6 + 0.875e9 / 40e9);
  // one rank on each of two nodes: its one adapter
  EXPECT_DOUBLE_EQ(collective_seconds(gpu, Collective::kAllGather, 1e9, {2, 1}), 2 * 5e-6 + 0.5e9 / 10e9);
  // eight bytes: a tree, up and down 3 levels, beats the ring's 14 hops
  EXPECT_DOUBLE_EQ(collective_seconds(gpu, Collective::kAllReduce, 8, {1, 8}), 6e-6 + 16 / 100e9);
}

// ---------------------------------------------------------------- devices

TEST(GpuFacts, TableAndNames) {
  EXPECT_DOUBLE_EQ(gpu_facts("h100").bf16_rate, 989e12);
  EXPECT_GT(gpu_facts("h200").memory, gpu_facts("h100").memory);
  EXPECT_THAT(usage_message([] { gpu_facts("h10"); }), AllOf(HasSubstr("a100, h100, h200"), HasSubstr("Did you mean h100?")));
}

TEST(GpuFacts, FileByKeys) {
  const testing_support::TemporaryFolder folder;
  const auto path = folder / "box.cfg";
  const std::string good =
      "[gpu]\nmemory_gib = 2\nbf16_tflops = 1\nfp32_tflops = 0.5\nmemory_gb_per_s = 20\nlink_node_gb_per_s = 3\nlink_across_gb_per_s = 1\n";
  const auto with = [&](const std::string& more) {
    std::ofstream(path) << good << more;
    return gpu_facts(path.string());
  };
  const GpuFacts facts = with("launch_us = 7\n");
  EXPECT_EQ(facts.name, "box");
  EXPECT_DOUBLE_EQ(facts.memory, 2147483648.0);
  EXPECT_DOUBLE_EQ(facts.fp32_rate, 0.5e12);
  EXPECT_DOUBLE_EQ(facts.launch, 7e-6);
  EXPECT_DOUBLE_EQ(facts.product_share, GpuFacts().product_share);
  EXPECT_THAT(usage_message([&] { with("lauch_us = 7\n"); }), HasSubstr("Did you mean launch_us?"));
  EXPECT_THAT(usage_message([&] { with("product_share = 1.5\n"); }), HasSubstr("at most 1"));
  EXPECT_THAT(usage_message([&] { with("launch_us = fast\n"); }), HasSubstr("launch_us = fast"));
  std::ofstream(path) << "[gpu]\nmemory_gib = 2\nbf16_tflops = 1\n";
  EXPECT_THAT(usage_message([&] { gpu_facts(path.string()); }), HasSubstr("none for fp32_tflops, memory_gb_per_s"));
}

// ---------------------------------------------------------------- parameters and memory

Model tiny_model(const std::string& extra = "") {
  return make_model(tiny_config(extra));
}

TEST(Model, CountsTheNetworkThatTrains) {
  for (const char* extra :
       {"", "[model]\narch = resnet18\ndim = auto\ndepth = auto\nstem = small\n[views]\nlocal_count = 0\n[train]\nmethod = byol\n",
        "[train]\nmethod = dinov2\n[mask]\ngroup_size = 2\n"}) {
    const Config config = tiny_config(extra);
    const TrainState state(config, make_method(config), at::kFloat);
    const Model model = make_model(config);
    EXPECT_EQ(model.layout.numel, state.layout.numel) << extra;
    EXPECT_EQ(model.layout.hash, state.layout.hash) << extra;
    EXPECT_EQ(checkpoint_bytes(model), static_cast<double>(dinoxx::checkpoint_bytes(state).all())) << extra;
    int64_t sum = 0;
    for (const PartSizes& part : model.parts) sum += part.elements;
    EXPECT_EQ(sum, model.parameters) << extra;
  }
}

TEST(Model, PaddingIsThatOfTheShards) {
  const Config config = tiny_config();
  testing_support::run_thread_ranks(3, [&](const std::shared_ptr<Communicator>& comm) {
    const SyncGroups groups = make_sync_groups("zero1", "all", comm->split(0, comm->rank()), *comm, "");
    const TrainState state(config, make_method(config), at::kFloat, at::kCPU, groups);
    EXPECT_EQ(make_model(config).padded(3), state.layout.numel);
  });
}

// 2 blocks of 32: 12 D^2 + 13 D each. Patches of 4: 48 x 32 + 32. CLS and 17 positions. Final norm. Head 32-32-32-16 and 48 prototypes.
TEST(Model, PartsByHand) {
  const Model model = tiny_model();
  const auto part = [&](const std::string& name) {
    for (const PartSizes& p : model.parts)
      if (p.part == name) return p.elements;
    return int64_t{-1};
  };
  EXPECT_EQ(part("blocks"), 2 * (12 * 32 * 32 + 13 * 32));
  EXPECT_EQ(part("embedding"), 48 * 32 + 32 + 32 + 17 * 32);
  EXPECT_EQ(part("norms"), 64);
  EXPECT_EQ(part("heads"), 2 * (32 * 32 + 32) + 32 * 16 + 16);
  EXPECT_EQ(part("prototypes"), 48 * 16 + 48);
}

double of_state(const Model& model, Policy policy, int64_t shards) {
  return state_bytes(model, {{1, shards}, 1, policy}) / static_cast<double>(model.padded(shards));
}

TEST(Memory, BytesOfAnElementForEachPolicy) {
  const Model bf16 = tiny_model("[train]\nprecision = bf16\n"), fp32 = tiny_model();
  // masters 4, gradient 4, moments 8, average 4; copies of 2 each in bfloat16
  EXPECT_DOUBLE_EQ(of_state(fp32, Policy::kDdp, 1), 20);
  EXPECT_DOUBLE_EQ(of_state(bf16, Policy::kDdp, 1), 24);
  // copies 2 + 2, gradient 4; of a quarter: masters 4 + 4, what is sent 2 + 2, gradient 4, moments 8
  EXPECT_DOUBLE_EQ(of_state(bf16, Policy::kZero1, 4), 8 + 24.0 / 4);
  EXPECT_DOUBLE_EQ(of_state(fp32, Policy::kZero1, 4), 12 + 20.0 / 4);
  const double messages = 50e6 / static_cast<double>(bf16.padded(4));
  EXPECT_DOUBLE_EQ(of_state(bf16, Policy::kZero2, 4), 4 + 24.0 / 4 + messages);
  // of two blocks the first comes and goes: its copies, forward or backward with the next one on its way, in the place of those of both
  // networks
  const double block = 12 * 32 * 32 + 13 * 32, moving = block / static_cast<double>(bf16.parameters);
  EXPECT_DOUBLE_EQ(of_state(bf16, Policy::kZero3, 4),
                   4 * (1 - moving) + 24.0 / 4 + messages + 2 * 2 * block / static_cast<double>(bf16.padded(4)));
}

TEST(Memory, SgdHasOneMoment) {
  EXPECT_DOUBLE_EQ(of_state(tiny_model("[optim]\nname = sgd\nmomentum = 0.9\n"), Policy::kDdp, 1), 16);
}

// 4 images, one product of each kind with its two gradients.
TEST(Cost, OfOneLinearLayer) {
  Cost cost;
  add_linear(cost, 4, 3, 5, /*trains=*/true);
  EXPECT_DOUBLE_EQ(cost.product_flops(), 3 * 2 * 4 * 3 * 5);
  EXPECT_DOUBLE_EQ(cost.backward_flops, 2 * 2 * 4 * 3 * 5);
  add_linear(cost, 4, 3, 5, /*trains=*/false);
  EXPECT_DOUBLE_EQ(cost.product_flops(), 4 * 2 * 4 * 3 * 5);
}

TEST(Cost, RecomputingKeepsInputsAlone) {
  VitConfig vit = vit_config("vit_small");
  const std::vector<CropGroup> crops{{.views = 2, .size = 224, .tokens = 197, .patches = 196}};
  const auto cost = [&](const Recompute& recompute) {
    vit.recompute = recompute;
    return vit_cost(vit, crops, 8, 2, {.trains = true, .patches = true});
  };
  const Cost plain = cost({}), again = cost({"block"}), attention = cost({"attention"});
  const double rows = 2 * 8 * 197, pixels = 2 * 8 * 196 * 768;
  // of each of 12 blocks its input
  EXPECT_DOUBLE_EQ(again.saved, 2 * (12 * rows * 384 + pixels));
  EXPECT_GT(plain.saved, 10 * (again.saved - 2 * pixels));
  // a third more of the blocks' products: forward twice and backward, in the place of once and backward
  const double blocks = 12 * rows * 2 * 12 * 384 * 384;
  EXPECT_NEAR(again.product_flops() - plain.product_flops(), blocks, 1e-6 * blocks);
  // of attention queries, keys and values, its output and a float for each head and row; four of twelve squares of the width
  EXPECT_DOUBLE_EQ(plain.saved - attention.saved, 12 * rows * (2 * 4 * 384 + 4 * 6));
  EXPECT_NEAR(attention.product_flops() - plain.product_flops(), blocks / 3, 1e-6 * blocks);
  EXPECT_NEAR(attention.attention - plain.attention, again.attention - plain.attention, 1e-6 * attention.attention);
  EXPECT_GT(attention.backward_flops - plain.backward_flops, 0.99 * blocks / 3);
  // every third block of twelve: four of them
  EXPECT_NEAR(cost({"attention", 3}).saved, plain.saved - (plain.saved - attention.saved) / 3, 1);
  EXPECT_NEAR(cost({"block", 3}).product_flops() - plain.product_flops(), blocks / 3, 1e-6 * blocks);
  EXPECT_NEAR(cost({"block", 3}).saved, plain.saved - (plain.saved - again.saved) / 3, 2 * rows * 384 + 1);
  // a block that is computed again in the middle of others: its own activations come beside those that are kept in front of it alone
  EXPECT_LT(cost({"block", 6}).backward, again.backward);
}

// 12 images, of 2 views each, and their masked patches: the teacher's logits of some rows come again for each of three iterations.
// For a centre they do not. The stand-in for a GPU counts the same.
TEST(Cost, TeachersLogitsInPartsForSinkhorn) {
  const auto more = [](const std::string& centring) {
    const Model model =
        tiny_model("[train]\nmethod = dinov2\n[mask]\ngroup_size = 2\n[loss]\nsinkhorn_iterations = 3\ncentring = " + centring +
                   "\npatch_centring = " + centring + "\n");
    const Resolution& resolution = model.resolutions.front();
    const double rows = 12 * (2 + resolution.masked), logits = 2 * rows * 48 * 16;
    const auto flops = [&](int64_t rows_at_once) { return work_of(model, resolution, 12, {}, rows_at_once).product_flops(); };
    return (flops(7) - flops(0)) / logits;
  };
  EXPECT_NEAR(more("sinkhorn"), 3, 1e-9);
  EXPECT_NEAR(more("centre"), 0, 1e-9);
}

// ---------------------------------------------------------------- communication

using testing_support::CountingCommunicator;

// Of what goes through it and what is split from it, in all.
double bytes_of(const CountingCommunicator& comm) {
  double sum = 0;
  for (const auto& [operation, count] : comm.counts) sum += static_cast<double>(count.bytes);
  return sum;
}

// On the CPU, where all but batch statistics (float64 here) travels as on a GPU.
void expect_counted(const std::string& extra, Policy policy, int ranks, int per_node) {
  const Config config = tiny_config(extra);
  const bool in_node = per_node < ranks;
  const Model model = make_model(config);
  const Spread spread{{ranks / per_node, per_node}, 12 / ranks, policy, {}, in_node, config.train->accumulate, model.prototypes()};
  const double planned = tensor_bytes(collectives_of(model, spread));
  testing_support::run_thread_ranks(ranks, [&](const std::shared_ptr<Communicator>& comm) {
    const int rank = comm->rank();
    const auto gradients = std::make_shared<CountingCommunicator>(comm->split(0, rank)),
               statistics = std::make_shared<CountingCommunicator>(comm->split(0, rank));
    const SyncGroups groups = make_sync_groups(policy_name(policy), in_node ? "node" : "all", gradients, *comm,
                                               fmt::format("node{}", rank / per_node), config.head->shard_prototypes);
    testing_support::TinyRun run(config, gradients, statistics, config.train->precision == "bf16" ? at::kBFloat16 : at::kFloat, groups);
    const StepInput input = run.next();
    gradients->counts.clear();
    statistics->counts.clear();
    run.step(input);
    EXPECT_DOUBLE_EQ(bytes_of(*gradients) + bytes_of(*statistics), planned) << extra << policy_name(policy);
  });
}

TEST(Traffic, IsWhatTheCommunicatorCounts) {
  for (const char* extra :
       {"", "[loss]\ncentring = sinkhorn\n", "[train]\nmethod = dinov2\n[mask]\ngroup_size = 2\n",
        "[train]\nmethod = dinov3\n[mask]\ngroup_size = 2\n", "[train]\nmethod = dinov3\naccumulate = 3\n[mask]\ngroup_size = 2\n"})
    expect_counted(extra, Policy::kDdp, 2, 2);
}

TEST(Traffic, IsWhatTheCommunicatorCountsWithShards) {
  for (const char* extra : {"", "[train]\nprecision = bf16\n", "[train]\naccumulate = 2\n"})
    for (const Policy policy : {Policy::kZero1, Policy::kZero2}) {
      expect_counted(extra, policy, 2, 2);
      expect_counted(extra, policy, 3, 3);
    }
}

TEST(Traffic, IsWhatTheCommunicatorCountsWithPrototypesByColumns) {
  const std::string by_columns = "[parallel]\nsync = zero2\n[head]\nout_dim = 512\nshard_prototypes = yes\n";
  for (const char* extra : {"", "[train]\nprecision = bf16\n", "[train]\naccumulate = 2\n", "[loss]\ncentring = sinkhorn\n",
                            "[loss]\ncentring = sinkhorn\nrows_at_once = 7\n"}) {
    expect_counted(by_columns + extra, Policy::kZero2, 2, 2);
    expect_counted(by_columns + extra, Policy::kZero2, 3, 3);
    expect_counted(by_columns + extra, Policy::kZero2, 4, 2);
  }
}

TEST(Traffic, OfThePolicies) {
  const Model model = tiny_model("[train]\nprecision = bf16\n");
  const auto p = static_cast<double>(model.padded(8)), of_four = static_cast<double>(model.padded(4));
  const auto of = [&](Policy policy, bool in_node, const char* what) {
    double sum = 0;
    for (const StepCollective& c : collectives_of(model, {{2, 4}, 3, policy, {}, in_node}))
      if (c.what == what) sum += sent_bytes(c, {2, 4});
    return sum;
  };
  EXPECT_DOUBLE_EQ(of(Policy::kDdp, false, "gradients"), 2 * 7.0 / 8 * 4 * static_cast<double>(model.layout.numel));
  EXPECT_DOUBLE_EQ(of(Policy::kZero1, false, "gradients"), 7.0 / 8 * 4 * p);
  EXPECT_DOUBLE_EQ(of(Policy::kZero2, false, "student weights"), 7.0 / 8 * 2 * p);
  EXPECT_DOUBLE_EQ(of(Policy::kZero2, false, "average weights"), 7.0 / 8 * 2 * p);
  const double moving = static_cast<double>(12 * 32 * 32 + 13 * 32) / static_cast<double>(model.parameters);
  EXPECT_DOUBLE_EQ(of(Policy::kZero3, false, "student weights"), 7.0 / 8 * 2 * p * (1 - moving));
  EXPECT_DOUBLE_EQ(of(Policy::kZero3, false, "student blocks"), 2 * 7.0 / 8 * 2 * p * moving);
  EXPECT_DOUBLE_EQ(of(Policy::kZero3, false, "average blocks"), 7.0 / 8 * 2 * p * moving);
  EXPECT_DOUBLE_EQ(of(Policy::kZero1, true, "gradients"), 3.0 / 4 * 4 * of_four);
  EXPECT_DOUBLE_EQ(of(Policy::kZero1, true, "gradients of the shards, between nodes"), 2 * 1.0 / 2 * of_four);
}

// ---------------------------------------------------------------- loading and checkpoints

TEST(Checkpoints, IntervalByHand) {
  // 2 minutes a save, a failure a day: sqrt(2 x 120 x 86400) = 4553.7; sqrt(120 / 172800) = 0.026352
  const double root = std::sqrt(120.0 / 172800);
  EXPECT_NEAR(checkpoint_interval(120, 86400), 4553.679831 * (1 + root / 3 + root * root / 9) - 120, 1e-3);
  EXPECT_DOUBLE_EQ(checkpoint_interval(200, 100), 100);
  EXPECT_DOUBLE_EQ(checkpoint_interval(0, 100), 0);
  EXPECT_DOUBLE_EQ(lost_share(100, 900, 50, 10000), 0.1 + (500 + 50) / 10000.0);
  // no other interval costs less
  const double best = checkpoint_interval(120, 86400), cost = lost_share(120, best, 0, 86400);
  EXPECT_LT(cost, lost_share(120, 0.8 * best, 0, 86400));
  EXPECT_LT(cost, lost_share(120, 1.25 * best, 0, 86400));
}

TEST(Loading, OfTheMeasuredSets) {
  Config config = default_config();
  config = resolve_config(config, 1000, 1);
  Model model = make_model(config);
  // docs/bench_loader.md: 537 photographs a second, 2 x 224 + 8 x 96; 26,600 of CIFAR-10, 2 x 32 + 6 x 16
  model.resolutions = {{.student = {{.views = 2, .size = 224}, {.views = 8, .size = 96}}}};
  EXPECT_NEAR(1 / load_seconds(model, assumed_image_bytes(model)), 537, 27);
  model.resolutions = {{.student = {{.views = 2, .size = 32}, {.views = 6, .size = 16}}}};
  EXPECT_NEAR(1 / load_seconds(model, assumed_image_bytes(model)), 26600, 2660);
}

// ---------------------------------------------------------------- what is proposed

Request small_request(double memory) {
  Request request;
  request.gpu = gpu_facts("h100");
  request.gpu.memory = memory;
  request.nodes = 1, request.per_node = 4;
  request.images = 60;
  return request;
}

TEST(Choice, TheSimplestThatFits) {
  const Model model = tiny_model("[train]\nprecision = bf16\n");
  const auto best = [&](double memory) {
    const auto all = ways(model, small_request(memory), {1, 4}, 3);
    return all[best_of(all)];
  };
  EXPECT_EQ(best(1e12).spread.policy, Policy::kDdp);
  EXPECT_TRUE(best(1e12).fits);
  EXPECT_FALSE(best(1e6).fits);
  const double ddp = estimate(model, small_request(1e12), {{1, 4}, 3, Policy::kDdp}).memory.total();
  EXPECT_TRUE(best(ddp).fits);
  EXPECT_NE(best(ddp - 1).spread.policy, Policy::kDdp);
}

std::vector<std::string> with_prototypes(const std::vector<Estimate>& ways, bool shared) {
  std::vector<std::string> policies;
  for (const Estimate& way : ways)
    if (way.spread.prototypes.rows_at_once > 0 && way.spread.prototypes.shared == shared)
      policies.push_back(policy_name(way.spread.policy));
  return policies;
}

// 300 images of 2 + 2 views and a million prototypes: their logits are most of it, their weights most of the state.
TEST(Choice, FewerLogitsAndThenColumnsWhereNothingElseFits) {
  const Model model = tiny_model("[train]\nprecision = bf16\n[head]\nout_dim = 1048576\n");
  const auto all = [&](double memory, const RankGroup& ranks) { return ways(model, small_request(memory), ranks, 300); };
  const auto best = [&](double memory, const RankGroup& ranks = {1, 4}) {
    const auto of = all(memory, ranks);
    return of[best_of(of)];
  };
  const auto least = [&](const Prototypes& prototypes) {
    double bytes = 1e12;
    for (const Policy policy : {Policy::kDdp, Policy::kZero1, Policy::kZero2, Policy::kZero3})
      for (const char* part : {"none", "attention", "block"})
        bytes = std::min(bytes, estimate(model, small_request(1e12), {{1, 4}, 300, policy, {part}, false, 1, prototypes}).memory.total());
    return bytes;
  };
  // what fits is not changed
  EXPECT_THAT(with_prototypes(all(least({}), {1, 4}), false), testing::IsEmpty());
  EXPECT_EQ(best(least({})).spread.prototypes, Prototypes());
  // as few rows as it takes, under every policy
  const double of_1024 = least({1024}), of_256 = least({256}), of_columns = least({256, true});
  ASSERT_LT(of_1024, least({}) - 1);
  ASSERT_LT(of_256, of_1024 - 1);
  ASSERT_LT(of_columns, of_256 - 1);
  EXPECT_EQ(best(of_1024).spread.prototypes, (Prototypes{1024, false}));
  EXPECT_EQ(best(of_1024 - 1).spread.prototypes, (Prototypes{256, false}));
  EXPECT_THAT(with_prototypes(all(of_256, {1, 4}), false), testing::Contains("ddp"));
  // and at last columns, under the policies that can, where there are several ranks
  const Estimate by_columns = best(of_256 - 1);
  EXPECT_TRUE(by_columns.fits);
  EXPECT_TRUE(by_columns.spread.shares_prototypes());
  EXPECT_THAT(keys_to_set(model, by_columns.spread),
              AllOf(testing::Contains("loss.rows_at_once = 256"), testing::Contains("head.shard_prototypes = yes")));
  EXPECT_THAT(with_prototypes(all(of_256 - 1, {1, 4}), true), testing::Each(testing::AnyOf("zero2", "zero3")));
  EXPECT_FALSE(best(of_256 - 1, {1, 1}).fits);
  EXPECT_THAT(with_prototypes(all(of_256 - 1, {1, 1}), true), testing::IsEmpty());
  // as many ranks as there are none for
  EXPECT_THAT(with_prototypes(ways(model, small_request(1), {1, 2000}, 300), true), testing::IsEmpty());
  EXPECT_THAT(way_name(by_columns.spread), HasSubstr("loss.rows_at_once = 256 and head.shard_prototypes"));
  // a method without prototypes has nothing to propose
  const Model byol = tiny_model("[train]\nmethod = byol\n[views]\nlocal_count = 0\n");
  EXPECT_THAT(with_prototypes(ways(byol, small_request(1), {1, 4}, 300), false), testing::IsEmpty());
}

// Over many nodes the hops of all ranks cost more than the memory that a shard of a node takes.
TEST(Choice, ShardsWithinNodesWhereRingsAreLong) {
  const Model model = tiny_model("[train]\nprecision = bf16\n");
  Request request = small_request(1e12);
  request.nodes = 512, request.per_node = 8;
  request.policy = Policy::kZero1;
  const auto all = ways(model, request, {512, 8}, 1);
  EXPECT_EQ(all.size(), 6u);  // three parts of model.recompute
  EXPECT_TRUE(all[best_of(all)].spread.shard_in_node);
  EXPECT_EQ(all[best_of(all)].spread.shards(), 8);
  request.shard_in_node = false;
  EXPECT_EQ(ways(model, request, {512, 8}, 1).size(), 3u);
}

// Who shares with nobody has all: one rank, or one on each node that shares inside of it.
TEST(Choice, OneShardIsDdp) {
  const Model model = tiny_model();
  Request request = small_request(1e12);
  request.policy = Policy::kZero2;
  const auto policies = [&](const RankGroup& ranks) {
    std::set<std::string> names;
    for (const Estimate& way : ways(model, request, ranks, 3)) names.insert(way_name(way.spread));
    return names;
  };
  EXPECT_THAT(policies({1, 1}), testing::Contains("ddp"));
  EXPECT_THAT(policies({1, 4}), testing::Contains("zero2"));
  request.shard_in_node = true;
  EXPECT_THAT(policies({4, 1}), testing::AllOf(testing::Contains("ddp"), testing::Not(testing::Contains("zero2/node"))));
  request.policy.reset();
  EXPECT_THAT(policies({4, 1}),
              testing::UnorderedElementsAre("ddp", "ddp with model.recompute = attention", "ddp with model.recompute = block"));
}

TEST(Choice, LargestBatchIsTheLast) {
  const Model model = tiny_model();
  const Request request = small_request(2e9);
  const Spread spread{{1, 4}, 3, Policy::kDdp};
  const int64_t most = largest_batch(model, request, spread);
  ASSERT_GT(most, 0);
  ASSERT_LT(most, 4096);
  const auto fits = [&](int64_t batch) { return estimate(model, request, {{1, 4}, batch, Policy::kDdp}).fits; };
  EXPECT_TRUE(fits(most));
  EXPECT_FALSE(fits(most + 1));
}

TEST(Request, SaysWhatIsWrong) {
  const Config config = tiny_config();
  const auto with = [&](const auto& change) {
    Request request = small_request(1e12);
    change(request);
    return usage_message([&] { check_request(config, request); });
  };
  EXPECT_EQ(with([](Request&) {}), "no usage error");
  EXPECT_THAT(with([](Request& r) { r.nodes = 0; }), HasSubstr("--nodes: expected 1 or more, found 0"));
  EXPECT_THAT(with([](Request& r) { r.per_node = -1; }), HasSubstr("--gpus-per-node"));
  EXPECT_THAT(with([](Request& r) { r.per_node = 5; }),
              AllOf(HasSubstr("multiple of 1 nodes x 5 GPUs = 5, found 12"), HasSubstr("10 or 15")));
  EXPECT_THAT(with([](Request& r) { r.nodes = 2000; }), HasSubstr("at most 4096 GPUs"));
  EXPECT_THAT(with([](Request& r) { r.mfu = 45; }), HasSubstr("45 per cent are 0.45"));
}

}  // namespace
}  // namespace dinoxx::plan
