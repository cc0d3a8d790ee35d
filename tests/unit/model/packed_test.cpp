// The GPU's form of a transformer block, its kernels compiled for the CPU (tests/support/cuda_on_cpu), against the ATen formula: values and
// gradients, in float32 and bfloat16 (the bounds stand in ops_compare.hpp).
#include "ops/packed.hpp"

#include <cuda_runtime_api.h>
#include <torch/csrc/autograd/autograd.h>

#include "dinoxx/base/error.hpp"
#include "golden.hpp"
#include "model/layers/rope.hpp"
#include "ops/pixels.hpp"
#include "ops_compare.hpp"

namespace dinoxx {
namespace {

using test::compare, test::normal, test::Tensors;

/// Groups of odd sizes, and a draw for them.
struct Draw {
  ops::PackedRows rows{{3, 5}, {7, 3}};
  ops::PackedBranch branch;
  std::vector<int64_t> kept_rows;  // of the packed matrix
  at::Tensor gain_of_row;          // [rows, 1] float64
};

enum class Kind { kAll, kMask, kSubset };

Draw draw_of(Kind kind, uint64_t seed, bool one_group = false) {
  Draw d;
  if (one_group) d.rows = {{4}, {5}};
  std::vector<int32_t> slots;
  std::vector<float> gains, by_row;
  int32_t running = 0;
  int64_t row = 0;
  for (size_t g = 0; g < d.rows.samples.size(); ++g) {
    int64_t kept = 0;
    for (int64_t s = 0; s < d.rows.samples[g]; ++s) {
      const bool runs = kind != Kind::kSubset || s == 0 || (seed + static_cast<uint64_t>(s)) % 2 == 0;
      const float gain = kind == Kind::kAll    ? 1.0F
                         : kind == Kind::kMask ? ((seed + static_cast<uint64_t>(s)) % 3 == 0 ? 0.0F : 1.5F)
                                               : 1.25F;
      slots.push_back(runs ? running++ : -1);
      gains.push_back(gain);
      kept += runs;
      for (int64_t t = 0; t < d.rows.tokens[g]; ++t, ++row) {
        by_row.push_back(gain);
        if (runs) d.kept_rows.push_back(row);
      }
    }
    if (kind == Kind::kSubset) d.branch.samples.push_back(kept);
  }
  if (kind != Kind::kAll) d.branch.gain = at::tensor(gains);
  if (kind == Kind::kSubset) d.branch.slot = at::tensor(slots, at::kInt);
  d.gain_of_row = at::tensor(by_row).to(at::kDouble).unsqueeze(1);
  return d;
}

at::Tensor kept_of(const at::Tensor& x, const Draw& d) {
  return x.index_select(0, at::tensor(d.kept_rows, at::kLong));
}
at::Tensor with_branch(const at::Tensor& x, const at::Tensor& branch, const Draw& d) {
  return x + at::zeros_like(x).index_copy(0, at::tensor(d.kept_rows, at::kLong), branch) * d.gain_of_row.to(x.scalar_type());
}
at::Tensor norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  return at::layer_norm(x, {x.size(1)}, weight, bias, 1e-6);
}

struct Case {
  const char* name;
  Kind first, second, next;
  bool swiglu, with_next, one_group, backwards;
  int64_t dim, hidden;
};

class Branches : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override { cuda_on_cpu::backwards = GetParam().backwards; }
  void TearDown() override { cuda_on_cpu::backwards = false; }
};
INSTANTIATE_TEST_SUITE_P(, Branches,
                         testing::Values(Case{"plain", Kind::kAll, Kind::kAll, Kind::kAll, false, true, false, false, 40, 72},
                                         Case{"last", Kind::kAll, Kind::kAll, Kind::kAll, false, false, true, false, 32, 64},
                                         Case{"mask", Kind::kMask, Kind::kMask, Kind::kMask, false, true, false, true, 72, 40},
                                         Case{"subset", Kind::kSubset, Kind::kSubset, Kind::kSubset, false, true, false, false, 40, 264},
                                         Case{"subset_last", Kind::kSubset, Kind::kSubset, Kind::kAll, true, false, false, true, 24, 40},
                                         Case{"mixture", Kind::kAll, Kind::kSubset, Kind::kMask, true, true, true, false, 536, 24},
                                         Case{"wide", Kind::kSubset, Kind::kAll, Kind::kSubset, false, true, true, false, 2056, 16}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_P(Branches, EqualTheFormula) {
  const Case& c = GetParam();
  const Draw first = draw_of(c.first, 1, c.one_group), second = draw_of(c.second, 2, c.one_group), next = draw_of(c.next, 5, c.one_group);
  const ops::PackedRows running = ops::running_rows(first.rows, first.branch);
  const int64_t up = c.swiglu ? 2 * c.hidden : c.hidden;
  Tensors inputs{normal({first.rows.rows(), c.dim}, 1),
                 normal({c.dim, c.dim}, 2, 0.2),
                 normal({c.dim}, 3),
                 normal({c.dim}, 4),
                 normal({c.dim}, 5),
                 normal({up, c.dim}, 6, 0.2),
                 normal({up}, 7),
                 normal({c.dim, c.hidden}, 8, 0.2),
                 normal({c.dim}, 9)};
  if (c.with_next) inputs.insert(inputs.end(), {normal({c.dim}, 10), normal({c.dim}, 11)});
  const size_t mixed_at = inputs.size();
  for (size_t g = 0; g < running.samples.size(); ++g) inputs.push_back(normal({running.samples[g] * running.tokens[g], c.dim}, 20 + g));

  const test::Operation f = [&](const Tensors& in) {
    const Tensors mixed(in.begin() + static_cast<int64_t>(mixed_at), in.end());
    at::Tensor x, h;
    if (ops::fused()) {
      const ops::PackedOut out =
          ops::packed_branches(in[0], mixed, first.rows, {in[1], in[2], in[3], in[4], in[5], in[6], in[7], in[8]}, 1e-6, first.branch,
                               second.branch, c.with_next ? ops::PackedNext{in[9], in[10], next.branch} : ops::PackedNext{});
      x = out.x, h = out.h;
    } else {
      x = with_branch(in[0], at::linear(at::cat(mixed), in[1], in[2]), first);
      const at::Tensor u = at::linear(kept_of(norm(x, in[3], in[4]), second), in[5], in[6]);
      const at::Tensor hidden = c.swiglu ? at::silu(u.narrow(1, 0, c.hidden)) * u.narrow(1, c.hidden, c.hidden) : at::gelu(u, "none");
      x = with_branch(x, at::linear(hidden, in[7], in[8]), second);
      if (c.with_next) h = kept_of(norm(x, in[9], in[10]), next);
    }
    EXPECT_EQ(h.defined(), c.with_next);
    return h.defined() ? at::cat({x.flatten(), h.flatten()}) : x.flatten();
  };
  compare(f, inputs);
}

TEST(Packed, BiasesMayBeAbsent) {
  const Draw all = draw_of(Kind::kAll, 0, true);
  const Tensors inputs{normal({20, 32}, 1),      normal({32, 32}, 2, 0.2), normal({32}, 4),    normal({32}, 5),
                       normal({64, 32}, 6, 0.2), normal({32, 64}, 8, 0.2), normal({20, 32}, 9)};
  compare(
      [&](const Tensors& in) {
        if (ops::fused())
          return ops::packed_branches(in[0], {in[6]}, all.rows, {in[1], {}, in[2], in[3], in[4], {}, in[5], {}}, 1e-6, {}, {}, {}).x;
        const at::Tensor x = in[0] + at::linear(in[6], in[1]);
        return x + at::linear(at::gelu(at::linear(norm(x, in[2], in[3]), in[4]), "none"), in[5]);
      },
      inputs);
}

TEST(Packed, GradientsThatOthersHoldAreNotWrittenOver) {
  const Draw all = draw_of(Kind::kAll, 0, true);
  const auto leaf = [](at::Tensor t) { return t.to(at::kFloat).requires_grad_(true); };
  const at::Tensor x = leaf(normal({20, 32}, 1)), mixed = leaf(normal({20, 32}, 2));
  const ops::PackedOut out = ops::packed_branches(x, {mixed}, all.rows,
                                                  {leaf(normal({32, 32}, 3)),
                                                   {},
                                                   leaf(normal({32}, 4)),
                                                   leaf(normal({32}, 5)),
                                                   leaf(normal({64, 32}, 6)),
                                                   {},
                                                   leaf(normal({32, 64}, 7)),
                                                   {}},
                                                  1e-6, {}, {}, {});
  const at::Tensor given = normal(out.x.sizes(), 8).to(at::kFloat), before = given.clone();
  out.x.backward(given);
  EXPECT_TRUE(at::equal(given, before));
  EXPECT_FALSE(at::equal(x.grad(), before));
}

TEST(Packed, ASecondDerivativeIsRefused) {
  const Draw all = draw_of(Kind::kAll, 0, true);
  const at::Tensor x = normal({20, 32}, 1).to(at::kFloat).requires_grad_(true);
  const at::Tensor y = ops::packed_norm(x, all.rows, {}, at::ones({32}), at::zeros({32}), 1e-6);
  EXPECT_THROW(torch::autograd::grad({y.square().sum()}, {x}, {}, std::nullopt, /*create_graph=*/true), Error);
}

TEST(Packed, NormOfTheRowsThatRun) {
  for (const Kind kind : {Kind::kAll, Kind::kMask, Kind::kSubset}) {
    const Draw d = draw_of(kind, 3);
    compare(
        [&](const Tensors& in) {
          if (ops::fused()) return ops::packed_norm(in[0], d.rows, d.branch, in[1], in[2], 1e-6);
          return kept_of(norm(in[0], in[1], in[2]), d);
        },
        {normal({d.rows.rows(), 48}, 1, 3.0) + 5.0, normal({48}, 2), normal({48}, 3)});
  }
}

TEST(Packed, NumbersThatAreNoneStayInTheirRow) {
  const Draw d = draw_of(Kind::kAll, 0);
  at::Tensor x = normal({d.rows.rows(), 16}, 1).to(at::kFloat);
  x[4][3] = std::numeric_limits<float>::quiet_NaN();
  x[9][0] = std::numeric_limits<float>::infinity();
  const at::Tensor y = ops::packed_norm(x, d.rows, {}, at::ones({16}), at::zeros({16}), 1e-6);
  const at::Tensor expected = at::layer_norm(x, {16}, at::ones({16}), at::zeros({16}), 1e-6);
  EXPECT_TRUE(at::equal(y.isfinite().all(1), expected.isfinite().all(1)));
  EXPECT_EQ(y.isfinite().all(1).sum().item<int64_t>(), d.rows.rows() - 2);
}

class Qkv : public testing::TestWithParam<std::tuple<bool, bool, bool>> {};
INSTANTIATE_TEST_SUITE_P(, Qkv, testing::Combine(testing::Bool(), testing::Bool(), testing::Bool()));

TEST_P(Qkv, AttentionEqualsTheFormula) {
  const bool rotated = std::get<0>(GetParam()), with_bias = std::get<1>(GetParam()), backwards = std::get<2>(GetParam());
  cuda_on_cpu::backwards = backwards;
  const ops::PackedRows rows{{2, 3}, {9, 5}};
  const int heads = 3;
  const int64_t dim = 48, prefix = 1;
  RopeConfig rope;
  const RopeTable tables[2] = {rope_table(rope, 16, 2, 4, at::kDouble), rope_table(rope, 16, 2, 2, at::kDouble)};
  std::vector<ops::PackedRotary> rotary;
  if (rotated)
    for (const RopeTable& t : tables) rotary.push_back({t.cos.to(at::kFloat), t.sin.to(at::kFloat)});
  compare(
      [&](const Tensors& in) {
        const at::Tensor& bias = in[2];
        std::vector<at::Tensor> parts;
        if (ops::fused()) {
          parts = ops::packed_qkv(in[0], rows, in[1], bias, heads, prefix, rotary);
        } else {
          const at::Tensor all = bias.defined() ? at::linear(in[0], in[1], bias) : at::linear(in[0], in[1]);
          for (size_t g = 0, row = 0; g < 2; ++g) {
            const int64_t count = rows.samples[g] * rows.tokens[g];
            at::Tensor qkv = all.narrow(0, static_cast<int64_t>(row), count).view({rows.samples[g], rows.tokens[g], 3 * dim});
            const bool wide = qkv.scalar_type() == at::kDouble;
            const RopeTable t = wide ? tables[g] : RopeTable{tables[g].cos.to(at::kFloat), tables[g].sin.to(at::kFloat)};
            if (rotated) qkv = apply_rope(qkv, t, heads, prefix);
            const auto split = qkv.view({rows.samples[g], rows.tokens[g], 3, heads, dim / heads}).permute({2, 0, 3, 1, 4}).unbind(0);
            parts.insert(parts.end(), split.begin(), split.end());
            row += static_cast<size_t>(count);
          }
        }
        std::vector<at::Tensor> out;
        for (size_t g = 0; g < 2; ++g)
          out.push_back(at::scaled_dot_product_attention(parts[3 * g], parts[3 * g + 1], parts[3 * g + 2]).transpose(1, 2).flatten());
        return at::cat(out);
      },
      {normal({rows.rows(), dim}, 1), normal({3 * dim, dim}, 2, 0.2), with_bias ? normal({3 * dim}, 3) : at::Tensor()});
  cuda_on_cpu::backwards = false;
}

TEST(Packed, PartsWithoutAGradientCountAsZero) {
  const ops::PackedRows rows{{2}, {5}};
  compare(
      [&](const Tensors& in) {
        if (ops::fused()) return ops::packed_qkv(in[0], rows, in[1], in[2], 2, 1, {})[1].transpose(1, 2).flatten();
        return at::linear(in[0], in[1], in[2]).view({2, 5, 3, 2, 16}).select(2, 1).flatten();
      },
      {normal({10, 32}, 1), normal({96, 32}, 2, 0.2), normal({96}, 3)});
}

TEST(Packed, LayerScaleAndMaskedKeysGoIntoTheLayers) {
  for (const int which : {1, 2, 3, 4, 7}) {
    const bool first = which & 1, second = which & 2, keys = which & 4;
    compare(
        [&](const Tensors& in) {
          ops::PackedFold f{
              in[0], in[1], first ? in[2] : at::Tensor(), in[3], in[4], second ? in[5] : at::Tensor(), keys ? in[6] : at::Tensor()};
          const auto scaled = [](const at::Tensor& t, const at::Tensor& gamma) {
            return !gamma.defined() ? t : t * (t.dim() == 2 ? gamma.unsqueeze(1) : gamma);
          };
          if (ops::fused()) {
            f = ops::packed_fold(f);
          } else {
            f.proj_weight = scaled(f.proj_weight, f.gamma1), f.proj_bias = scaled(f.proj_bias, f.gamma1);
            f.down_weight = scaled(f.down_weight, f.gamma2), f.down_bias = scaled(f.down_bias, f.gamma2);
            if (keys) f.qkv_bias = at::cat({in[6].narrow(0, 0, 24), at::zeros({24}, in[6].options()), in[6].narrow(0, 48, 24)});
          }
          std::vector<at::Tensor> out{f.proj_weight.flatten(),
                                      f.proj_bias,
                                      f.down_weight.flatten(),
                                      f.down_bias,
                                      keys ? f.qkv_bias : in[6] * 1,
                                      in[2] * 1,
                                      in[5] * 1};
          return at::cat(out);
        },
        {normal({24, 24}, 1), normal({24}, 2), normal({24}, 3), normal({24, 56}, 4), normal({24}, 5), normal({24}, 6), normal({72}, 7)});
  }
}

TEST(Packed, RotaryTablesAreThoseOfTheHost) {
  RopeConfig rope;
  CounterRng rng(1, 2, 3, Purpose::kRope);
  rope.jitter = 1.5, rope.shift = 0.3;
  const at::Tensor centres = at::stack({rope_centres(rope, 3, 5), rope_centres(rope, 3, 5, &rng)});
  const ops::PackedRotary tables = ops::packed_rotary_tables(centres, rope_frequency(rope, 32), 3, 5, at::kCPU);
  CounterRng again(1, 2, 3, Purpose::kRope);
  const RopeTable fixed = rope_table(rope, 32, 3, 5, at::kFloat), drawn = rope_table(rope, 32, 3, 5, at::kFloat, &again);
  EXPECT_TRUE(at::equal(tables.cos[0], fixed.cos));
  EXPECT_TRUE(at::equal(tables.sin[0], fixed.sin));
  EXPECT_TRUE(at::equal(tables.cos[1], drawn.cos));
  EXPECT_TRUE(at::equal(tables.sin[1], drawn.sin));
}

TEST(Packed, OtherWidthsTypesAndDevicesTakeTheFormula) {
  const at::Tensor single = at::empty({1}), bf16 = at::empty({1}, at::kBFloat16);
  EXPECT_TRUE(ops::packed_supported(single, 32, 128, 4, 2));
  EXPECT_FALSE(ops::packed_supported(bf16, 32, 128, 4, 2));  // half a head is no vector
  EXPECT_TRUE(ops::packed_supported(bf16, 64, 128, 4, 2));
  EXPECT_FALSE(ops::packed_supported(single.to(at::kDouble), 32, 128, 4, 2));
  EXPECT_FALSE(ops::packed_supported(single, 32, 126, 4, 2));
  EXPECT_FALSE(ops::packed_supported(single, 8192, 128, 4, 2));
  EXPECT_FALSE(ops::packed_supported(single, 32, 128, 4, 9));
  ops::set_fused(false);
  EXPECT_FALSE(ops::packed_supported(single, 32, 128, 4, 2));
  ops::set_fused(true);
}

TEST(Pixels, AreThoseOfTheHost) {
  const std::array<float, 3> scale{0.017F, 0.0175F, 0.0174F}, shift{-2.1F, -2.0F, -1.8F};
  for (const int64_t side : {1, 3, 6, 31}) {  // planes of one, nine, 36 and 961 pixels: fours where they fit
    const at::Tensor bytes = at::randint(0, 256, {5, 3, side, side}, at::make_generator<at::CPUGeneratorImpl>(3), at::kByte);
    at::Tensor expected = bytes.to(at::kFloat);
    for (int64_t c = 0; c < 3; ++c) expected.select(1, c).mul_(scale[static_cast<size_t>(c)]).add_(shift[static_cast<size_t>(c)]);
    EXPECT_TRUE(at::equal(ops::PixelCopy(bytes, at::kCPU).normalized(scale, shift, at::kFloat), expected)) << side;
    EXPECT_TRUE(at::equal(ops::PixelCopy(bytes, at::kCPU).normalized(scale, shift, at::kBFloat16), expected.to(at::kBFloat16))) << side;
  }
  EXPECT_EQ(ops::PixelCopy(at::empty({0, 3, 4, 4}, at::kByte), at::kCPU).normalized(scale, shift, at::kFloat).numel(), 0);
  EXPECT_THROW(ops::PixelCopy(at::empty({2, 3, 4, 4}), at::kCPU).normalized(scale, shift, at::kFloat), Error);
  EXPECT_THROW(ops::PixelCopy(at::empty({2, 1, 4, 4}, at::kByte), at::kCPU).normalized(scale, shift, at::kFloat), Error);
}

}  // namespace
}  // namespace dinoxx
