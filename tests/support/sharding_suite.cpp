#include "sharding_suite.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "checkpoint/train_state_io.hpp"
#include "comm/agree.hpp"
#include "comm/gather.hpp"
#include "counting_communicator.hpp"
#include "dinoxx/comm/self_communicator.hpp"
#include "formats/weight_file.hpp"
#include "history/checkpoint_folders.hpp"
#include "loss/gram_config.hpp"
#include "loss/loss_config.hpp"
#include "method/methods.hpp"
#include "parallel/sync_groups.hpp"
#include "tiny_steps.hpp"

namespace dinoxx::testing_support {
namespace {

namespace fs = std::filesystem;

// Of the prototypes too: "zero2/columns".
SyncGroups groups_of(const NewCommunicator& comm, const std::string& policy, int ranks_of_node = 0) {
  const std::string sync = policy.substr(0, policy.find('/'));
  const auto gradients = comm(), control = comm();
  const std::string node = ranks_of_node > 0 ? fmt::format("node{}", gradients->rank() / ranks_of_node) : "";
  return make_sync_groups(sync, ranks_of_node > 0 ? "node" : "all", gradients, *control, node, sync != policy);
}

std::unique_ptr<TinyRun> run_of(const NewCommunicator& comm, const Config& config, at::ScalarType type, const std::string& sync,
                                int ranks_of_node = 0) {
  const auto gradients = comm(), statistics = comm();
  auto run = std::make_unique<TinyRun>(config, gradients, statistics, type, groups_of(comm, sync, ranks_of_node));
  run->state.frozen = frozen_teacher(config, type);
  if (run->state.frozen) run->state.share_frozen();
  return run;
}

// [layout.numel of ddp] of a buffer, padding left out.
at::Tensor whole(const TrainState& state, const FlatState& flat, const at::Tensor& buffer) {
  std::vector<at::Tensor> parts;
  for (size_t s = 0; s < state.layout.segments.size(); ++s)
    parts.push_back(flat.whole_segment(state.layout, buffer, s, /*wanted=*/true).flatten());
  return at::cat(parts);
}

std::vector<std::pair<std::string, at::Tensor>> everything(const TrainState& state) {
  std::vector<std::pair<std::string, at::Tensor>> all = {{"student", whole(state, state.student_flat, state.student_flat.master)},
                                                         {"teacher", whole(state, state.teacher_flat, state.teacher_flat.master)}};
  if (state.gram) all.emplace_back("gram", whole(state, state.gram->flat, state.gram->flat.master));
  for (const auto& [name, tensor] : state.optimizer->named_state()) all.emplace_back(name, whole(state, state.student_flat, tensor));
  for (const NamedTensor& buffer : state.teacher_buffers) all.emplace_back(buffer.name, buffer.tensor.to(at::kDouble).flatten());
  return all;
}

void expect_equal(const TrainState& expected, const TrainState& found, double bound) {
  const auto a = everything(expected), b = everything(found);
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    const double scale = a[i].second.abs().max().item<double>();
    EXPECT_LE((a[i].second - b[i].second).abs().max().item<double>(), bound * (scale + 1e-30)) << a[i].first;
  }
  EXPECT_EQ(expected.optimizer->segment_steps, found.optimizer->segment_steps);
}

// The network computes with what the owners have.
void expect_published(TrainState& state) {
  for (auto& [network, flat] :
       {std::pair<Network*, FlatState*>{&state.student, &state.student_flat}, {&state.teacher, &state.teacher_flat}}) {
    const std::vector<std::shared_ptr<void>> here = flat->hold_all();
    std::map<std::string, at::Tensor> parameters;
    for (const NamedTensor& parameter : network->parameters()) parameters[parameter.name] = parameter.tensor;
    for (size_t s = 0; s < state.layout.segments.size(); ++s) {
      const at::Tensor& values = parameters.at(state.layout.segments[s].name);
      at::Tensor master = flat->whole_segment(state.layout, flat->master, s, true);
      if (state.groups.columns && state.layout.segments[s].last_layer) {
        const ColumnRange own = column_range(master.size(0), state.groups.shards->size(), state.groups.shards->rank());
        master = master.narrow(0, own.first, own.count);
      }
      ASSERT_TRUE(at::equal(values, master.to(values.scalar_type()))) << state.layout.segments[s].name;
    }
  }
}

std::string extra_of(const Method& method) {
  std::string extra = "[train]\nmethod = " + method.name + "\n[head]\nhidden_dim = 32\n[mask]\ngroup_size = 1\n";
  if (method.defaults.koleo_weight > 0) extra += "[loss]\nkoleo_group = 12\n";
  if (method.defaults.local_count == 0) extra += "[views]\nlocal_count = 0\n";
  // divided by the deviations of twelve images: rounding grows fast at the rate of the others
  if (method.name == "visreg") extra += "[optim]\nlr = 0.0005\n";
  return extra + frozen_teacher_keys(method);
}

// With a block more, so that the weights of several come and go.
ShardingCase deeper(ShardingCase one) {
  one.extra += "[model]\ndepth = 4\n";
  return one;
}

struct Way {
  std::string policy, recompute = "none";
  int every = 1;
  std::string name() const { return fmt::format("{}, {} of every {}", policy, recompute, every); }
  std::string keys() const { return fmt::format("[model]\nrecompute = {}\nrecompute_every = {}\n", recompute, every); }
};
// What is computed again changes no bit of ddp (unit_vit), and what zero3 keeps of a block's weights between forward and backward differs
// with it.
const std::vector<Way> kWays{{"zero1"}, {"zero2"}, {"zero3"}, {"zero3", "block"}, {"zero3", "attention", 2}};

void equal_to_ddp(const NewCommunicator& comm, const ShardingCase& one, const std::vector<Way>& ways, int ranks_of_node, int steps) {
  SCOPED_TRACE(one.name);
  const Config config = tiny_config(one.extra);
  const auto ddp_run = run_of(comm, config, at::kDouble, "ddp");
  TinyRun& ddp = *ddp_run;
  const at::Tensor before = whole(ddp.state, ddp.state.student_flat, ddp.state.student_flat.master);
  std::vector<StepMetrics> expected;
  expected.reserve(static_cast<size_t>(steps));
  for (int i = 0; i < steps; ++i) expected.push_back(ddp.step(ddp.next(), i < 2));
  ASSERT_GT((whole(ddp.state, ddp.state.student_flat, ddp.state.student_flat.master) - before).norm().item<double>(), 1e-6);
  const bool most_networks = config.gram->weight > 0 || find_method(config.train->method).teacher == TeacherPolicy::kFrozen;
  for (const Way& way : ways) {
    if (way.recompute != "none" && !most_networks) continue;
    SCOPED_TRACE(way.name());
    const auto sharded_run = run_of(comm, tiny_config(one.extra + way.keys()), at::kDouble, way.policy, ranks_of_node);
    TinyRun& sharded = *sharded_run;
    for (int i = 0; i < steps; ++i) {
      const StepMetrics found = sharded.step(sharded.next(), i < 2);
      ASSERT_TRUE(found.finite);
      ASSERT_NEAR(found.loss, expected[static_cast<size_t>(i)].loss, 1e-9 * std::abs(found.loss)) << "step " << i;
      ASSERT_NEAR(found.grad_norm, expected[static_cast<size_t>(i)].grad_norm, 1e-9 * found.grad_norm) << "step " << i;
    }
    expect_equal(ddp.state, sharded.state, 1e-9);
    expect_published(sharded.state);
    if (sharded.state.student_flat.values.defined()) check_ranks_agree(*comm(), sharded.state.student_flat.values, "student", steps);
    if (sharded.state.shards)
      check_ranks_agree(*comm(), sharded.state.student_flat.master, "shard", steps, sharded.state.shards->ranks->rank());
  }
}

}  // namespace

std::vector<ShardingCase> sharding_cases() {
  std::vector<ShardingCase> all;
  for (const Method& method : methods()) all.push_back({method.name, extra_of(method)});
  const std::string dinov3 = extra_of(find_method("dinov3")) + "[model]\nstyle = dinov3\ndrop_path_form = mask\nregisters = 1\n";
  all.push_back({"gram", dinov3 + "[gram]\nweight = 2\nsize = 24\nstart = 1it\nramp = 2it\nfirst = 1it\nevery = 2it\n"});
  all.push_back({"lars", extra_of(find_method("dino")) + "[optim]\nname = lars\nlr = 0.5\n"});
  all.push_back({"lars by sums", extra_of(find_method("byol")) + "[optim]\nname = lars\nlr = 0.5\ntrust = 0.02\ntrust_clip = yes\n"});
  all.push_back({"sgd by module", extra_of(find_method("dino")) + "[optim]\nname = sgd\nlr = 0.5\nclip_by = module\nclip = 0.01\n"});
  all.push_back({"other weights", extra_of(find_method("dinov2")) + "[model]\ninit_from = given\n[init]\nheads_only = 4it\nunfreeze = 9it\n"
                                                                    "last_blocks = 3\nanchor = 0.5\n[teacher]\nhold_backbone = 7it\n"});
  all.push_back({"layer-wise rates", extra_of(find_method("dinov2")) + "[optim]\nlayer_decay = 0.7\nfreeze_last_layer = 2it\n"});
  return all;
}

std::vector<ShardingCase> cases_with_prototypes() {
  std::vector<ShardingCase> all;
  const std::string many = "[head]\nout_dim = 500\n";
  for (const Method& method : methods()) {
    const Config config = tiny_config(extra_of(method));
    if (prototypes(make_method(config).network.head.config) == 0 || std::ranges::count(method.reads, "head.shard_prototypes") == 0)
      continue;
    all.push_back({method.name, extra_of(method) + many});
    if (*config.loss->patch_weight == 0) continue;
    all.push_back({method.name + ", a head each", extra_of(method) + many + "[head]\nshared = no\npatch_out_dim = 400\n"});
    all.push_back({method.name + ", Sinkhorn-Knopp", extra_of(method) + many + "[loss]\ncentring = sinkhorn\nrows_at_once = 5\n"});
    all.push_back({method.name + ", centre", extra_of(method) + many + "[loss]\ncentring = centre\nkoleo_weight = 0\n"});
  }
  return all;
}

void check_every_policy_equals_ddp(const NewCommunicator& comm, const ShardingCase& one) {
  equal_to_ddp(comm, deeper(one), kWays, 0, 20);
}

void check_sharing_within_nodes(const NewCommunicator& comm, int ranks_of_node, const ShardingCase& one) {
  equal_to_ddp(comm, deeper(one), kWays, ranks_of_node, 3);
}

void check_prototypes_by_columns(const NewCommunicator& comm, int ranks_of_node, const ShardingCase& one) {
  equal_to_ddp(comm, deeper(one), {{"zero2/columns"}, {"zero3/columns"}}, ranks_of_node, 4);
}

void check_network_with_batch_norms(const NewCommunicator& comm) {
  const std::string small =
      "[model]\narch = resnet18\ndim = 128\ndepth = auto\n[views]\nglobal_size = 8\nlocal_count = 0\n[train]\nbucket_mb = 1\n";
  equal_to_ddp(comm, {"resnet18", small}, {{"zero1"}, {"zero2"}}, 0, 2);
}

void check_other_types(const NewCommunicator& comm) {
  for (const Way& way : kWays) {
    SCOPED_TRACE(way.name());
    const Config config = tiny_config(deeper({"", extra_of(find_method("dinov2"))}).extra + way.keys());
    for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
      const auto ddp_run = run_of(comm, config, type, "ddp"), sharded_run = run_of(comm, config, type, way.policy);
      TinyRun &ddp = *ddp_run, &sharded = *sharded_run;
      for (int i = 0; i < 20; ++i) {
        const double a = ddp.step(ddp.next()).loss, b = sharded.step(sharded.next()).loss;
        EXPECT_NEAR(a, b, (type == at::kFloat ? 1e-5 : 1e-2) * a) << c10::toString(type) << ", step " << i;
      }
      const auto masters = [](const TrainState& state) { return whole(state, state.student_flat, state.student_flat.master); };
      const at::Tensor a = masters(ddp.state), b = masters(sharded.state);
      if (type == at::kFloat) EXPECT_LE((a - b).norm().item<double>(), 1e-6 * a.norm().item<double>());
      expect_published(sharded.state);
      EXPECT_EQ(sharded.state.student_flat.master.scalar_type(), at::kFloat);
      EXPECT_EQ(sharded.state.student.parameters().front().tensor.scalar_type(), type);
    }
  }
}

void check_traffic_and_buffers(const NewCommunicator& comm) {
  using Count = CountingCommunicator::Count;
  const auto counted = std::make_shared<CountingCommunicator>(comm());
  const int size = counted->size();
  std::vector<std::pair<Way, std::string>> ways{{{"ddp"}, "all"}};
  for (const Way& way : kWays) ways.emplace_back(way, "all");
  ways.emplace_back(Way{"zero2"}, "node");  // of which there is one: nothing travels between nodes
  for (const auto& [way, within] : ways) {
    SCOPED_TRACE(way.name() + ", " + within);
    const std::string& policy = way.policy;
    const Config config = tiny_config(deeper({"", extra_of(find_method("dino"))}).extra + way.keys());
    const SyncGroups groups = make_sync_groups(policy, within, counted, *comm(), "one");
    const auto gradients = comm(), statistics = comm();
    TinyRun run(config, gradients, statistics, at::kBFloat16, groups);
    run.step(run.next());
    counted->counts.clear();
    run.step(run.next());
    const int64_t numel = run.state.layout.numel, segments = static_cast<int64_t>(run.state.layout.segments.size()),
                  messages = static_cast<int64_t>(run.state.layout.buckets.size());
    Count come_and_go, stay;  // messages and elements
    for (size_t m = 0; run.state.shards && m < run.state.shards->messages.size(); ++m) {
      const Bucket& message = run.state.shards->messages[m];
      Count& count = run.state.shards->comes_and_goes(m) ? come_and_go : stay;
      ++count.calls;
      count.bytes += message.end - message.begin;
    }
    const FlatState& student = run.state.student_flat;
    const auto numel_of = [](const at::Tensor& tensor) { return tensor.defined() ? tensor.numel() : 0; };
    ASSERT_GT(messages, 2);
    if (policy == "ddp" || size == 1) {
      EXPECT_EQ(counted->counts, (std::map<std::string, Count>{{"all_reduce", {messages, 4 * numel}}}));
      EXPECT_EQ(student.master.numel(), numel);
      EXPECT_TRUE(student.whole_grad.is_same(student.grad));
      continue;
    }
    // the gradient to its owners in float32, student and average back in bfloat16, and the squares of the norms
    EXPECT_EQ(counted->counts["reduce_scatter"], (Count{messages, 4 * numel}));
    if (policy != "zero3") {
      EXPECT_EQ(counted->counts["all_gather"], (Count{2 * messages, 2 * 2 * numel}));
      EXPECT_EQ(student.values.numel(), numel);
    } else {
      // crops of two sizes: the student's blocks come for each, forward and backward, the teacher's once
      ASSERT_GT(come_and_go.calls, 3);
      EXPECT_EQ(counted->counts["all_gather"],
                (Count{2 * stay.calls + 5 * come_and_go.calls, 2 * (2 * stay.bytes + 5 * come_and_go.bytes)}));
      EXPECT_EQ(student.bytes(), 4 * numel / size * 2 + 2 * numel / size + 2 * stay.bytes)
          << "masters, gradient, their bf16, and what stays";
    }
    EXPECT_EQ(counted->counts["all_reduce"], (Count{1, 8 * segments}));
    EXPECT_EQ(counted->counts.size(), 3u);
    EXPECT_EQ(student.master.numel(), numel / size);
    EXPECT_EQ(student.grad.numel(), numel / size);
    EXPECT_EQ(numel_of(student.whole_grad), policy == "zero1" ? numel : 0);
    EXPECT_EQ(run.state.teacher_flat.master.numel(), numel / size);
    for (const auto& [name, tensor] : run.state.optimizer->named_state()) EXPECT_EQ(tensor.numel(), numel / size) << name;
  }
}

void check_skipped_steps(const NewCommunicator& comm) {
  for (const Way& way : kWays) {
    SCOPED_TRACE(way.name());
    const auto small = run_of(comm, tiny_config(way.keys()), at::kFloat, way.policy);
    TinyRun& run = *small;
    const auto control = comm();
    run.step(run.next());
    const auto before = everything(run.state);
    StepInput input = run.next();
    if (control->rank() == control->size() - 1) input.crops[0].fill_(std::nan(""));
    const StepMetrics metrics = run.step(input);
    EXPECT_FALSE(metrics.finite);
    EXPECT_EQ(metrics.bad_ranks, std::vector<int>{control->size() - 1});
    const auto after = everything(run.state);
    for (size_t i = 0; i < before.size(); ++i) EXPECT_TRUE(at::equal(before[i].second, after[i].second)) << before[i].first;
    EXPECT_TRUE(run.step(run.next()).finite);

    // a loss that is a number and a gradient that is none: the head's weight on one rank gets one by a hook
    const NamedTensors parameters = run.state.student.parameters();
    const auto& named =
        *std::ranges::find_if(parameters, [](const NamedTensor& p) { return p.name == "backbone.blocks.1.mlp.fc1.weight"; });
    const unsigned hook = named.tensor.register_hook(
        [&](const at::Tensor& gradient) { return control->rank() == 0 ? at::full_like(gradient, std::nan("")) : gradient; });
    const StepMetrics bad = run.step(run.next());
    named.tensor.remove_hook(hook);
    EXPECT_FALSE(bad.finite);
    EXPECT_TRUE(bad.bad_ranks.empty());
    EXPECT_EQ(bad.bad_parameter, named.name);
    EXPECT_TRUE(run.step(run.next()).finite);
    expect_published(run.state);
  }
}

void check_checkpoints(const NewCommunicator& comm) {
  const auto control = comm();
  const std::vector<std::string> names =
      gather_texts(*control, (fs::temp_directory_path() / fmt::format("dinoxx_sharding_{}_{}", ::getpid(), control->rank())).string());
  const fs::path folder = names.front();  // of rank 0, for all
  const Config config = tiny_config(extra_of(find_method("dinov3")) +
                                    "[model]\nstyle = dinov3\ndrop_path_form = mask\nregisters = 1\n[gram]\nweight = 2\nsize = 24\n"
                                    "start = 1it\nramp = 2it\nfirst = 1it\nevery = 2it\n");
  RunFacts facts;
  facts.config_text = print_config(config);
  facts.sync = "zero1";
  for (const std::string from : {"ddp", "zero1", "zero2", "zero3"}) {
    SCOPED_TRACE("saved under " + from);
    const auto saved_run = run_of(comm, config, at::kFloat, from);
    TinyRun& saved = *saved_run;
    for (int i = 0; i < 3; ++i) saved.step(saved.next());
    facts.part_bytes = from == "zero1" ? 60'000 : int64_t{1} << 40;
    const fs::path path = save_state(*control, folder / from, saved.state, facts);
    const auto expected = everything(saved.state);
    for (const std::string to : {"ddp", "zero1", "zero2", "zero3"}) {
      SCOPED_TRACE("loaded under " + to);
      const auto loaded_run = run_of(comm, config, at::kFloat, to);
      TinyRun& loaded = *loaded_run;
      load_state(*control, path, loaded.state, facts);
      const auto found = everything(loaded.state);
      for (size_t i = 0; i < expected.size(); ++i) EXPECT_TRUE(at::equal(expected[i].second, found[i].second)) << expected[i].first;
      expect_published(loaded.state);
      EXPECT_EQ(loaded.state.step, 3);
    }
    const WeightFile teacher = WeightFile::open(teacher_file(path));
    EXPECT_EQ(teacher.shards().size() > 1, from == "zero1");
    EXPECT_EQ(teacher.settings().value("format", ""), "pt");
    EXPECT_TRUE(teacher.settings().contains("dinoxx.config"));
    for (size_t s = 0; s < saved.state.layout.segments.size(); ++s) {
      const Segment& segment = saved.state.layout.segments[s];
      const at::Tensor values = saved.state.teacher_flat.whole_segment(saved.state.layout, saved.state.teacher_flat.master, s, true);
      const WeightEntry& entry = teacher.at(segment.name);
      ASSERT_EQ(entry.bytes.size(), values.nbytes()) << segment.name;
      EXPECT_EQ(std::memcmp(entry.bytes.data(), values.const_data_ptr(), values.nbytes()), 0) << segment.name;
    }
  }
  control->barrier();
  if (control->rank() == 0) fs::remove_all(folder);
}

}  // namespace dinoxx::testing_support
