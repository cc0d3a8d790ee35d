// Clipping, SGD and LARS as on a GPU, with kernels compiled for the CPU (tests/support/cuda_on_cpu), against the CPU's own.
#include "optim/cuda/flat_cuda.hpp"

#include <ATen/ATen.h>
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "optim/sgd.hpp"
#include "toy_network.hpp"

namespace dinoxx::optim_detail {
namespace {

using testing_support::ToyNetwork;

class FlatOnTheCpu : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override { cuda_on_cpu::backwards = GetParam(); }
};
INSTANTIATE_TEST_SUITE_P(, FlatOnTheCpu, testing::Bool());

at::Tensor numbers(int64_t n, double phase) {
  return (at::sin(at::arange(n, at::kDouble) * 0.731 + phase) * 2.5).to(at::kFloat).contiguous();
}

void add_special(const at::Tensor& flat, int64_t every) {
  const float special[] = {0.0F, -0.0F, HUGE_VALF, -HUGE_VALF, std::nanf(""), 3e38F, 1e-45F};
  float* values = flat.data_ptr<float>();
  for (int64_t i = every, k = 0; i < flat.numel(); i += every) values[i] = special[k++ % 7];
}

bool same(const at::Tensor& a, const at::Tensor& b) {
  return at::equal(a.isnan(), b.isnan()) && at::equal(a.nan_to_num(), b.nan_to_num());
}

// Layers of 67 x 67 and 67: sizes that no vector divides, weights of two chunks; 144 segments, 135 of which move, are more than the table
// of a launch holds.
struct Flat {
  explicit Flat(at::ScalarType compute, int layers = 72)
      : network(layers, 67), layout(ParamLayout::build(named())), state(layout, parameters, true, at::kFloat, compute) {
    state.master.copy_(inside(numbers(layout.numel, 1)));
    state.grad.copy_(inside(numbers(layout.numel, 2)));
    state.publish();
    rules.assign(layout.segments.size(), {});
    for (size_t s = 0; s < rules.size(); ++s) {
      rules[s].lr_scale = 1 - 0.01 * static_cast<double>(s % 9);
      rules[s].adapt = layout.segments[s].decay;
      rules[s].wd_scale = rules[s].adapt || s % 5 == 0 ? 1 : 0;
      rules[s].frozen = s % 17 == 3;
    }
  }
  NamedTensors named() {
    for (size_t i = 0; i < network.parameters.size(); ++i) {
      NamedTensor& p = network.parameters[i];
      const char* const modules[] = {"backbone", "head", "patch_head"};
      parameters.push_back({std::string(modules[i % 5 % 3]) + "." + p.name, p.tensor.to(at::kFloat)});
    }
    return parameters;
  }
  at::Tensor inside(const at::Tensor& flat) const {
    at::Tensor out = at::zeros_like(flat);
    for (const Segment& s : layout.segments) out.narrow(0, s.offset, s.numel).copy_(flat.narrow(0, s.offset, s.numel));
    return out;
  }
  at::Tensor gradient(size_t s) const { return state.grad.narrow(0, layout.segments[s].offset, layout.segments[s].numel); }
  NamedTensors parameters;
  ToyNetwork network;
  ParamLayout layout;
  FlatState state;
  std::vector<SegmentRule> rules;
};

TEST_P(FlatOnTheCpu, SgdHasTheBitsOfTheCpu) {
  for (const at::ScalarType compute : {at::kFloat, at::kBFloat16})
    for (const int64_t special : {int64_t{1} << 40, int64_t{13}}) {
      Flat cpu(compute), cuda(compute);
      for (Flat* run : {&cpu, &cuda}) {
        add_special(run->state.grad, special);
        add_special(run->state.master, special * 2 + 1);
        run->state.publish();
      }
      Sgd sgd(cpu.layout, at::kFloat, SgdConfig{0.9});
      const at::Tensor velocity = at::zeros_like(cuda.state.master);
      for (int step = 0; step < 2; ++step) {
        sgd.step(cpu.layout, cpu.state, 0.1, 0.04, cpu.rules);
        sgd_cuda(sgd_segments(cuda.layout, 0.1, 0.04, cuda.rules, false), nullptr, 0.9, cuda.state, velocity);
      }
      EXPECT_TRUE(same(cpu.state.master, cuda.state.master));
      EXPECT_TRUE(same(sgd.velocity, velocity));
      EXPECT_TRUE(same(cpu.state.compute.to(at::kFloat), cuda.state.compute.to(at::kFloat)));
    }
}

// Runs that begin anywhere, with room between them that belongs to nobody.
TEST_P(FlatOnTheCpu, RunsMayBeginAnywhere) {
  Flat run(at::kBFloat16, 2);
  const at::Tensor p = run.state.master.clone(), g = run.state.grad.clone(), velocity = numbers(p.numel(), 3), v = velocity.clone();
  at::Tensor clipped = g.clone();
  std::vector<SgdSegment> segments;
  std::vector<ClipSegment> clips;
  int64_t end = 1;
  for (int i = 0; i < 30; ++i) {
    const int64_t numel = i == 4 ? 4099 : 1 + 13 * i;
    segments.push_back({end, numel, 0.1, 0.2, false});
    clips.push_back({end, numel, i / 2});
    end += numel + 3;
  }
  const at::Tensor squares = at::zeros({15}, at::kDouble);
  clip_cuda(clips, 2.0, clipped, squares);
  sgd_cuda(segments, nullptr, 0.9, run.state, velocity);
  at::Tensor expected_p = p.clone(), expected_v = v.clone(), expected_g = g.clone();
  for (int i = 0; i < 30; ++i) {
    const auto of = [&](const at::Tensor& flat) { return flat.narrow(0, segments[i].begin, segments[i].numel); };
    of(expected_v).copy_(of(v) * 0.9F + (of(g) + of(p) * 0.2F));
    of(expected_p).copy_(of(p) - of(expected_v) * 0.1F);
    double sum = 0;
    for (int k = i / 2 * 2; k < i / 2 * 2 + 2; ++k)
      sum += g.narrow(0, segments[k].begin, segments[k].numel).to(at::kDouble).square().sum().item<double>();
    EXPECT_NEAR(squares[i / 2].item<double>(), sum, 1e-12 * sum);
    of(expected_g).mul_(std::min(1.0, 2.0 / (std::sqrt(sum) + 1e-6)));
  }
  EXPECT_TRUE(at::equal(run.state.master, expected_p));
  EXPECT_TRUE(at::equal(velocity, expected_v));
  EXPECT_TRUE(at::allclose(clipped, expected_g, 1e-6, 0));
  const auto inside = [&](const at::Tensor& flat) { return flat.narrow(0, segments[7].begin, segments[7].numel); };
  EXPECT_TRUE(at::equal(inside(run.state.compute), inside(expected_p).to(at::kBFloat16)));
}

TEST_P(FlatOnTheCpu, LarsHasTheRatesOfTheCpu) {
  for (const LarsConfig::Ratio ratio : {LarsConfig::Ratio::kUpdate, LarsConfig::Ratio::kSum})
    for (const bool clip_lr : {false, true})
      for (const double lr : {0.0, 0.3}) {
        const int layers = ratio == LarsConfig::Ratio::kUpdate && !clip_lr && lr > 0 ? 72 : 7;
        Flat cpu(at::kBFloat16, layers), cuda(at::kBFloat16, layers);
        for (Flat* run : {&cpu, &cuda}) {  // norms of 0
          run->gradient(8).zero_();
          run->state.master.narrow(0, run->layout.segments[11].offset, run->layout.segments[11].numel).zero_();
        }
        const LarsConfig config{.momentum = 0.9, .trust = 0.02, .ratio = ratio, .clip_lr = clip_lr};
        const LarsRule rule{config.trust, ratio == LarsConfig::Ratio::kSum, clip_lr};
        Sgd lars(cpu.layout, at::kFloat, config);
        const at::Tensor velocity = at::zeros_like(cuda.state.master);
        for (int step = 0; step < 2; ++step) {
          lars.step(cpu.layout, cpu.state, lr, 0.04, cpu.rules);
          sgd_cuda(sgd_segments(cuda.layout, lr, 0.04, cuda.rules, true), &rule, 0.9, cuda.state, velocity);
        }
        EXPECT_TRUE(at::allclose(cpu.state.master, cuda.state.master, 1e-6, 1e-7));
        EXPECT_TRUE(at::allclose(lars.velocity, velocity, 1e-6, 1e-7));
        EXPECT_TRUE(at::equal(cuda.state.compute, cuda.state.master.to(at::kBFloat16)));
      }
}

TEST_P(FlatOnTheCpu, ClippingIsThatOfTheCpu) {
  for (const ClipBy by : {ClipBy::kParameter, ClipBy::kModule})
    for (const double max_norm : {0.0, 1.0, 200.0}) {
      const int layers = max_norm == 1 && by == ClipBy::kParameter ? 72 : 11;
      Flat cpu(at::kFloat, layers), cuda(at::kFloat, layers);
      for (Flat* run : {&cpu, &cuda}) run->gradient(16).mul_(1e-3), run->gradient(18).zero_();
      const auto count = static_cast<int64_t>(cpu.layout.segments.size());
      const at::Tensor expected = at::zeros({count}, at::kDouble), squares = at::zeros({count}, at::kDouble);
      clip_gradient(cpu.layout, cpu.state, max_norm, by, cpu.rules, expected);
      clip_cuda(clip_segments(cuda.layout, by, cuda.rules), max_norm, cuda.state.grad, squares);
      const auto norm = [&](const at::Tensor& s) { return gradient_norm({s.data_ptr<double>(), static_cast<size_t>(count)}); };
      EXPECT_NEAR(norm(squares), norm(expected), 1e-12 * norm(expected));
      if (by == ClipBy::kParameter) {
        EXPECT_TRUE(at::allclose(squares, expected, 1e-12, 0));
      }
      EXPECT_TRUE(at::allclose(cpu.state.grad, cuda.state.grad, 2e-7, 0));
    }
}

// Two ranks that each own a part of every segment, one after the other in this process: the first time each hands over its sums, the
// second time it gets those of the other.
struct OtherRank : Communicator {
  explicit OtherRank(int rank) : rank_(rank) {}
  int rank() const override { return rank_; }
  int size() const override { return 2; }
  std::string name() const override { return "other"; }
  std::unique_ptr<Work> all_reduce(at::Tensor tensor, ReduceOp) override {
    if (others.defined())
      tensor.add_(others);
    else
      mine = tensor.clone();
    struct Done : Work {
      void wait() override {}
      bool test() override { return true; }
    };
    return std::make_unique<Done>();
  }
  std::unique_ptr<Work> reduce_scatter(at::Tensor, at::Tensor) override { return nullptr; }
  std::unique_ptr<Work> all_gather(at::Tensor, at::Tensor) override { return nullptr; }
  std::unique_ptr<Work> broadcast(at::Tensor, int) override { return nullptr; }
  void barrier() override {}
  std::shared_ptr<Communicator> split(int, int) override { return nullptr; }
  int rank_;
  at::Tensor mine, others;
};

// What rank `rank` owns of the state of `whole`; `step` is called once to learn its sums, and then for good.
template <class Step>
std::vector<std::pair<ParamLayout, at::Tensor>> on_two_ranks(const ParamLayout& whole, const at::Tensor& masters,
                                                             const at::Tensor& gradient, Step step) {
  std::vector<std::pair<ParamLayout, at::Tensor>> results;
  std::vector<at::Tensor> sums(2);
  for (const bool learn : {true, false})
    for (int rank = 0; rank < 2; ++rank) {
      const auto comm = std::make_shared<OtherRank>(rank);
      if (!learn) comm->others = sums[static_cast<size_t>(1 - rank)];
      const auto shards = std::make_shared<const Shards>(whole, comm, 0, 4, Sharing::kState);
      NamedTensors parameters;
      for (const Segment& s : whole.segments) parameters.push_back({s.name, masters.narrow(0, s.offset, s.numel).clone().view(s.shape)});
      FlatState state(whole, parameters, true, at::kFloat, at::kBFloat16, shards);
      for (size_t m = 0; m < shards->messages.size(); ++m) {
        const at::Tensor message = shards->message(gradient, m);
        shards->part(state.grad, m).copy_(message.narrow(0, rank * message.numel() / 2, message.numel() / 2));
      }
      const at::Tensor result = step(shards->owned, state);
      if (learn)
        sums[static_cast<size_t>(rank)] = comm->mine;
      else
        results.emplace_back(shards->owned, result);
    }
  return results;
}

// Of each rank, against the same places of the whole.
void expect_parts(const std::vector<std::pair<ParamLayout, at::Tensor>>& ranks, const ParamLayout& whole, const at::Tensor& expected) {
  int64_t compared = 0;
  for (const auto& [owned, found] : ranks)
    for (size_t s = 0; s < whole.segments.size(); ++s) {
      const Segment& own = owned.segments[s];
      compared += own.numel;
      EXPECT_TRUE(at::allclose(found.narrow(0, own.offset, own.numel), expected.narrow(0, whole.segments[s].offset + own.first, own.numel),
                               1e-6, 1e-7))
          << own.name;
    }
  int64_t all = 0;
  for (const Segment& segment : whole.segments) all += segment.numel;
  EXPECT_EQ(compared, all);
}

TEST_P(FlatOnTheCpu, NormsAreAddedUpOverTheRanksThatShare) {
  Flat given(at::kFloat, 11);
  const ParamLayout layout = ParamLayout::build(given.parameters, 40'000, true, 2);
  Flat cpu(at::kFloat, 11);
  FlatState whole(layout, cpu.parameters, true, at::kFloat, at::kBFloat16);
  whole.grad.copy_(numbers(layout.numel, 2));
  const at::Tensor masters = whole.master.clone(), gradient = whole.grad.clone();
  const auto count = static_cast<int64_t>(layout.segments.size());
  for (const ClipBy by : {ClipBy::kParameter, ClipBy::kModule}) {
    whole.grad.copy_(gradient);
    const at::Tensor expected = at::zeros({count}, at::kDouble);
    clip_gradient(layout, whole, 20, by, cpu.rules, expected);
    EXPECT_FALSE(at::equal(whole.grad, gradient));
    double norm = 0;
    expect_parts(on_two_ranks(layout, masters, gradient,
                              [&](const ParamLayout& owned, FlatState& state) {
                                const at::Tensor squares = at::zeros({count}, at::kDouble);
                                clip_cuda(clip_segments(owned, by, cpu.rules), 20, state.grad, squares,
                                          [&](const at::Tensor& parts) { state.sum_over_shards(parts); });
                                norm = gradient_norm({squares.data_ptr<double>(), static_cast<size_t>(count)});
                                return state.grad;
                              }),
                 layout, whole.grad);
    EXPECT_NEAR(norm, gradient_norm({expected.data_ptr<double>(), static_cast<size_t>(count)}), 1e-12 * norm);
  }
  whole.grad.copy_(gradient);
  const LarsConfig config{.momentum = 0.9, .trust = 0.02};
  const LarsRule rule{config.trust, false, false};
  Sgd lars(layout, at::kFloat, config);
  lars.step(layout, whole, 0.3, 0.04, cpu.rules);
  EXPECT_FALSE(at::equal(whole.master, masters));
  expect_parts(on_two_ranks(layout, masters, gradient,
                            [&](const ParamLayout& owned, FlatState& state) {
                              const at::Tensor velocity = at::zeros_like(state.master);
                              sgd_cuda(sgd_segments(owned, 0.3, 0.04, cpu.rules, true), &rule, 0.9, state, velocity);
                              EXPECT_TRUE(at::equal(state.compute, state.master.to(at::kBFloat16)));
                              return state.master;
                            }),
               layout, whole.master);
}

TEST_P(FlatOnTheCpu, ANormThatIsNoNumberScalesNothingAndShows) {
  Flat run(at::kFloat, 3);
  run.gradient(1).fill_(std::numeric_limits<float>::quiet_NaN());
  const at::Tensor before = run.state.grad.clone(), squares = at::zeros({6}, at::kDouble);
  clip_cuda(clip_segments(run.layout, ClipBy::kParameter, run.rules), 1e-3, run.state.grad, squares);
  EXPECT_TRUE(same(run.gradient(1), before.narrow(0, run.layout.segments[1].offset, run.layout.segments[1].numel)));
  EXPECT_TRUE(std::isnan(gradient_norm({squares.data_ptr<double>(), 6})));
  EXPECT_EQ(squares[3].item<double>(), 0) << "frozen";
}

}  // namespace
}  // namespace dinoxx::optim_detail
