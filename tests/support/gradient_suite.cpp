#include "gradient_suite.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/custom_function.h>

#include <chrono>

#include "comm/agree.hpp"
#include "dinoxx/base/error.hpp"
#include "parallel/gradient_sync.hpp"
#include "toy_network.hpp"

namespace dinoxx::testing_support {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;
using Kind = BucketEvent::Kind;

constexpr int kLayers = 6;
constexpr int64_t kWidth = 8, kBatch = 3;
constexpr int64_t kOneSegmentPerBucket = 4;  // bytes: every segment closes its bucket

/// Identity that calls back during backward.
struct Gate : torch::autograd::Function<Gate> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, std::function<void()>* call) {
    context->saved_data["call"] = reinterpret_cast<int64_t>(call);
    return x.view_as(x);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context, torch::autograd::variable_list grads) {
    (*reinterpret_cast<std::function<void()>*>(context->saved_data["call"].toInt()))();
    return {grads[0], at::Tensor()};
  }
};

std::vector<int> buckets_of(const std::vector<BucketEvent>& events, Kind kind, bool before_end = false) {
  std::vector<int> buckets;
  for (const BucketEvent& event : events) {
    if (before_end && event.kind == Kind::kBackwardEnded) break;
    if (event.kind == kind) buckets.push_back(event.bucket);
  }
  return buckets;
}

at::Tensor gradient_of(const ParamLayout& layout, const FlatState& state, const std::string& name) {
  for (const Segment& s : layout.segments)
    if (s.name == name) return state.grad.narrow(0, s.offset, s.numel).view(s.shape);
  fail(name, "a segment", "none", "");
}

std::vector<int> counting(int count) {
  std::vector<int> numbers(count);
  for (int i = 0; i < count; ++i) numbers[i] = i;
  return numbers;
}

}  // namespace

void check_average_is_serial_gradient(const std::shared_ptr<Communicator>& comm, GradientPath path) {
  ToyNetwork serial(kLayers, kWidth);
  for (NamedTensor& parameter : serial.parameters) parameter.tensor.set_requires_grad(true);
  serial.loss(toy_batch(0, comm->size() * kBatch, kWidth)).backward();

  ToyNetwork network(kLayers, kWidth);
  const ParamLayout layout = ParamLayout::build(network.parameters, kWidth * kWidth * 8);
  FlatState state(layout, network.parameters, true, at::kDouble);
  GradientSync sync(comm, layout, network.parameters, state, path);
  for (int step = 0; step < 3; ++step) {
    // step 2: the batch in two halves, whose losses are means over 1 and 2 rows
    state.zero_grad();
    const int64_t first = comm->rank() * kBatch;
    if (step < 2) {
      sync.begin();
      network.loss(toy_batch(first, kBatch, kWidth)).backward();
    } else {
      sync.begin(2);
      (network.loss(toy_batch(first, 1, kWidth)) * (1.0 / kBatch)).backward();
      EXPECT_TRUE(sync.events().empty()) << "a bucket left before the last backward pass";
      (network.loss(toy_batch(first + 1, kBatch - 1, kWidth)) * ((kBatch - 1.0) / kBatch)).backward();
    }
    sync.finish();
    for (size_t i = 0; i < network.parameters.size(); ++i) {
      const at::Tensor& expected = serial.parameters[i].tensor.grad();
      EXPECT_LE((gradient_of(layout, state, network.parameters[i].name) - expected).abs().max().item<double>(),
                1e-14 + 1e-12 * expected.abs().max().item<double>())
          << network.parameters[i].name << " in step " << step << ", rank " << comm->rank() << " of " << comm->size();
    }
  }
  EXPECT_THAT(
      [&] {
        sync.begin();
        network.loss(toy_batch(0, 1, kWidth)).backward();
        network.loss(toy_batch(0, 1, kWidth)).backward();
      },
      ThrowsMessage<std::exception>(AllOf(HasSubstr("layers.5."), HasSubstr("how many backward passes"))));
}

void check_gathered_is_added(const std::shared_ptr<Communicator>& comm) {
  for (const at::ScalarType type : {at::kDouble, at::kBFloat16}) {
    const at::ScalarType master = type == at::kDouble ? at::kDouble : at::kFloat;
    ToyNetwork views(kLayers, kWidth, type), gathered(kLayers, kWidth, type);
    const ParamLayout layout = ParamLayout::build(views.parameters, kWidth * kWidth * 8);
    FlatState of_views(layout, views.parameters, true, master), of_gathered(layout, gathered.parameters, true, master);
    {
      GradientSync with_views(comm, layout, views.parameters, of_views, GradientPath{});
      GradientSync with_gathered(comm, layout, gathered.parameters, of_gathered, GradientPath{.gathered = true});
      const auto step = [&](const ToyNetwork& network, FlatState& state, GradientSync& sync, int step) {
        state.zero_grad();
        sync.begin(2);
        ToyNetwork part(0, kWidth);
        part.parameters = network.parameters;
        if (step == 1) part.parameters.resize(6);  // the first three layers
        const at::Tensor all = toy_batch(comm->rank() * kBatch, kBatch, kWidth, type);
        const at::Tensor alone = network.parameters[7].tensor.sum();  // a bias, which shares its bucket with a weight
        (step == 2 ? alone : part.loss(all)).backward();
        (step == 3 ? alone : network.loss(all)).backward();
        sync.finish();
      };
      for (int i = 0; i < 4; ++i) {
        step(views, of_views, with_views, i);
        step(gathered, of_gathered, with_gathered, i);
        EXPECT_TRUE(at::equal(of_views.grad, of_gathered.grad)) << "step " << i;
        for (const NamedTensor& p : gathered.parameters) EXPECT_FALSE(p.tensor.grad().defined()) << p.name;
      }
      gathered.loss(toy_batch(0, 1, kWidth, type)).backward();  // belongs to no step
      step(gathered, of_gathered, with_gathered, 2);
      EXPECT_TRUE(at::equal(of_views.grad, of_gathered.grad));
      with_gathered.begin();
      gathered.loss(toy_batch(0, 1, kWidth, type)).backward();
      gathered.parameters[3].tensor.mutable_grad() = at::ones_like(gathered.parameters[3].tensor);
      EXPECT_THAT([&] { with_gathered.finish(); }, ThrowsMessage<Error>(AllOf(HasSubstr("layers.1.bias"), HasSubstr("one in .grad"))));
    }
    of_gathered.grad.fill_(7);
    for (const NamedTensor& p : gathered.parameters) {
      EXPECT_EQ(p.tensor.grad().scalar_type(), master) << p.name;
      EXPECT_TRUE((p.tensor.grad() == 7).all().item<bool>()) << p.name;
    }
  }
}

void check_bf16_network(const std::shared_ptr<Communicator>& comm, GradientPath path) {
  ToyNetwork network(kLayers, kWidth, at::kBFloat16);
  const ParamLayout layout = ParamLayout::build(network.parameters, kWidth * kWidth * 8);
  FlatState state(layout, network.parameters, true);
  GradientSync sync(comm, layout, network.parameters, state, path);
  sync.begin();
  network.loss(toy_batch(comm->rank() * kBatch, kBatch, kWidth, at::kBFloat16)).backward();
  sync.finish();
  EXPECT_EQ(state.grad.scalar_type(), at::kFloat);
  EXPECT_GT(state.grad.abs().sum().item<float>(), 0);
  EXPECT_EQ(network.parameters[0].tensor.scalar_type(), at::kBFloat16);
  check_ranks_agree(*comm, state.grad, "gradient", 0);
}

void check_bf16_messages(const std::shared_ptr<Communicator>& comm, GradientPath path) {
  const at::Tensor batch = toy_batch(comm->rank() * kBatch, kBatch, kWidth, at::kFloat);
  ToyNetwork alone(kLayers, kWidth, at::kFloat);
  for (NamedTensor& parameter : alone.parameters) parameter.tensor.set_requires_grad(true);
  alone.loss(batch).backward();

  path.bf16 = true;
  ToyNetwork network(kLayers, kWidth, at::kFloat);
  const ParamLayout layout = ParamLayout::build(network.parameters, kWidth * kWidth * 8);
  FlatState state(layout, network.parameters, true);
  GradientSync sync(comm, layout, network.parameters, state, path);
  for (int step = 0; step < 2; ++step) {
    state.zero_grad();
    sync.begin();
    network.loss(batch).backward();
    sync.finish();
    for (const NamedTensor& p : alone.parameters) {
      const at::Tensor own = p.tensor.grad(), found = gradient_of(layout, state, p.name);
      at::Tensor expected = own;
      if (comm->size() > 1) {
        at::Tensor sum = own.to(at::kBFloat16).to(at::kFloat);
        comm->all_reduce(sum, ReduceOp::kSum)->wait();
        expected = sum.to(at::kBFloat16).to(at::kFloat) / comm->size();
        EXPECT_FALSE(at::equal(own, own.to(at::kBFloat16).to(at::kFloat))) << p.name << ": nothing to round";
      }
      EXPECT_TRUE(at::allclose(found, expected, 1e-6, 0)) << p.name;
    }
    check_ranks_agree(*comm, state.grad, "gradient", step);
  }
}

void check_event_log(const std::shared_ptr<Communicator>& comm, GradientPath path) {
  ToyNetwork network(kLayers, kWidth);
  const ParamLayout layout = ParamLayout::build(network.parameters, kOneSegmentPerBucket);
  ASSERT_EQ(layout.buckets.size(), 2u * kLayers);
  const int together = path.message_bytes > 0 ? 2 : 1, messages = 2 * kLayers / together;
  if (together > 1) {
    ASSERT_GT(path.message_bytes, kBucketMultiple * 8);
    ASSERT_LE(path.message_bytes, 2 * kBucketMultiple * 8);
  }
  FlatState state(layout, network.parameters, true, at::kDouble);
  GradientSync sync(comm, layout, network.parameters, state, path);
  for (int step = 0; step < 3; ++step) {
    state.zero_grad();
    sync.begin();
    network.loss(toy_batch(0, kBatch, kWidth)).backward();
    sync.finish();
    const std::vector<BucketEvent>& events = sync.events();
    ASSERT_EQ(events.size(), 2u * static_cast<unsigned>(messages) + 1);
    EXPECT_EQ(buckets_of(events, Kind::kPosted, true), counting(messages)) << "not all were posted from hooks, or not in order";
    std::vector<int> completed = buckets_of(events, Kind::kCompleted);
    std::sort(completed.begin(), completed.end());
    EXPECT_EQ(completed, counting(messages));
    std::set<int> posted;
    int64_t during = 0, all = 0;
    bool ended = false;
    for (size_t i = 0; i < events.size(); ++i) {
      EXPECT_EQ(events[i].sequence, static_cast<int>(i));
      if (events[i].kind == Kind::kPosted) posted.insert(events[i].bucket);
      if (events[i].kind == Kind::kBackwardEnded) ended = true;
      if (events[i].kind != Kind::kCompleted) continue;
      EXPECT_TRUE(posted.contains(events[i].bucket));
      EXPECT_EQ(events[i].bytes, together * kBucketMultiple * 8);
      all += events[i].bytes;
      if (!ended) during += events[i].bytes;
    }
    EXPECT_EQ(all, layout.numel * 8);
    EXPECT_DOUBLE_EQ(sync.overlapped_share(), static_cast<double>(during) / all);
  }
  if (comm->name() == "self") {
    EXPECT_EQ(sync.overlapped_share(), 1.0);
  }
}

void check_overlap(const std::shared_ptr<Communicator>& comm, GradientPath path) {
  ToyNetwork network(kLayers, kWidth);
  const ParamLayout layout = ParamLayout::build(network.parameters, kOneSegmentPerBucket);
  FlatState state(layout, network.parameters, true, at::kDouble);
  GradientSync sync(comm, layout, network.parameters, state, path);
  // backward comes from layer 5 down; at the gate in front of layer 2 it waits for the buckets of layers 5, 4 and 3, and of layer 2 itself
  // as far as they were posted
  constexpr int kGate = 2;
  size_t posted_at_gate = 0, completed_at_gate = 0;
  std::function<void()> gate = [&] {
    posted_at_gate = buckets_of(sync.events(), Kind::kPosted).size();
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (buckets_of(sync.events(), Kind::kCompleted).size() < posted_at_gate) {
      sync.progress();
      if (std::chrono::steady_clock::now() > deadline) fail("overlap", "all posted buckets completed during backward", "some not", "");
    }
    completed_at_gate = buckets_of(sync.events(), Kind::kCompleted).size();
  };
  state.zero_grad();
  sync.begin();
  network
      .loss(toy_batch(comm->rank() * kBatch, kBatch, kWidth),
            [&](int i, const at::Tensor& x) { return i == kGate ? Gate::apply(x, &gate) : x; })
      .backward();
  sync.finish();
  const size_t behind_gate = 2 * (kLayers - kGate - 1);
  EXPECT_GE(posted_at_gate, behind_gate);
  EXPECT_EQ(completed_at_gate, posted_at_gate);
  EXPECT_GE(sync.overlapped_share(), static_cast<double>(behind_gate) / (2 * kLayers));
  const std::vector<int> during = buckets_of(sync.events(), Kind::kCompleted, true);
  EXPECT_GE(during.size(), behind_gate);
}

void check_hooks_drive_progress(const std::shared_ptr<Communicator>& comm, GradientPath path) {
  ToyNetwork network(kLayers, kWidth);
  const ParamLayout layout = ParamLayout::build(network.parameters, kOneSegmentPerBucket);
  FlatState state(layout, network.parameters, true, at::kDouble);
  GradientSync sync(comm, layout, network.parameters, state, path);
  const std::shared_ptr<Communicator> meeting = comm->split(0, comm->rank());
  constexpr int kGate = 2;
  std::function<void()> gate = [&] {
    // each barrier lets MPI move what is under way by some rounds; a reduction of a few numbers over four ranks needs less than ten
    for (int i = 0; i < 200; ++i) meeting->barrier();
  };
  sync.begin();
  network
      .loss(toy_batch(comm->rank() * kBatch, kBatch, kWidth),
            [&](int i, const at::Tensor& x) { return i == kGate ? Gate::apply(x, &gate) : x; })
      .backward();
  sync.finish();
  EXPECT_GE(buckets_of(sync.events(), Kind::kCompleted, true).size(), 2u * (kLayers - kGate - 1));
}

void check_missing_gradient_is_named(const std::shared_ptr<Communicator>& comm, GradientPath path) {
  ToyNetwork network(kLayers, kWidth);
  network.parameters.push_back({"head.forgotten.weight", at::ones({3, 3}, at::kDouble)});  // executed last: in the first bucket
  const ParamLayout layout = ParamLayout::build(network.parameters, kOneSegmentPerBucket);
  FlatState state(layout, network.parameters, true, at::kDouble);
  GradientSync sync(comm, layout, network.parameters, state, path);
  NamedTensors used(network.parameters.begin(), network.parameters.end() - 1);
  ToyNetwork part(0, kWidth);
  part.parameters = used;
  sync.begin();
  part.loss(toy_batch(0, kBatch, kWidth)).backward();
  EXPECT_THAT([&] { sync.finish(); }, ThrowsMessage<Error>(AllOf(HasSubstr("none for head.forgotten.weight."), Not(HasSubstr("layers.")))));
  EXPECT_TRUE(buckets_of(sync.events(), Kind::kPosted, true).empty());
  EXPECT_EQ(sync.overlapped_share(), 0.0);
  EXPECT_EQ(buckets_of(sync.events(), Kind::kPosted), counting(2 * kLayers + 1));  // nobody is left waiting
}

void check_divergence_is_found(const std::shared_ptr<Communicator>& comm) {
  ToyNetwork network(kLayers, kWidth, at::kFloat, comm->rank());  // another start on every rank
  const ParamLayout layout = ParamLayout::build(network.parameters);
  FlatState state(layout, network.parameters, false);
  const int last = comm->size() - 1;
  if (comm->size() > 1) {
    EXPECT_THAT([&] { check_ranks_agree(*comm, state.master, "parameters", 0); }, ThrowsMessage<Error>(HasSubstr("parameters at step 0")));
  }
  broadcast_parameters(*comm, state);
  check_ranks_agree(*comm, state.master, "parameters", 1);
  EXPECT_TRUE(at::equal(network.parameters[0].tensor, ToyNetwork(kLayers, kWidth, at::kFloat, 0).parameters[0].tensor));
  if (comm->size() == 1) return;
  for (const int64_t where : {int64_t{0}, layout.segments[3].offset + 5, layout.numel - 1}) {
    const at::Tensor copy = state.master.clone();
    if (comm->rank() == last) copy.view(at::kInt)[where].bitwise_xor_(1);  // the lowest bit of one number
    std::string first_ranks = "0";
    for (int r = 1; r < last; ++r) first_ranks += fmt::format(",{}", r);
    EXPECT_THAT([&] { check_ranks_agree(*comm, copy, "parameters", 17); },
                ThrowsMessage<Error>(AllOf(HasSubstr("parameters at step 17"),
                                           HasSubstr(fmt::format("different ones on rank(s) {} | rank(s) {}.", first_ranks, last)))));
  }
}

}  // namespace dinoxx::testing_support
