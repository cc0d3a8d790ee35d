#include "ops/gemm.hpp"

#include <gmock/gmock.h>

#include "base/failure.hpp"
#include "ops/pool.hpp"
#include "ops_compare.hpp"

using namespace dinoxx;
using namespace dinoxx::test;

namespace {

/// A [m, k] and B [k, n] in every combination of orders, against float64.
void check_products(at::ScalarType type, int64_t m, int64_t n, int64_t k) {
  const at::Tensor a = normal({m, k}, 1).to(type), b = normal({k, n}, 2).to(type);
  const at::Tensor exact = at::mm(a.to(at::kDouble), b.to(at::kDouble));
  for (const bool a_transposed : {false, true})
    for (const bool b_transposed : {false, true}) {
      const at::Tensor as = a_transposed ? a.t().contiguous() : a, bs = b_transposed ? b.t().contiguous() : b;
      at::Tensor c = at::full({m, n}, std::nan(""), a.options());
      ops::Gemm g{m,
                  n,
                  k,
                  as.const_data_ptr(),
                  a_transposed ? 1 : k,
                  a_transposed ? m : 1,
                  bs.const_data_ptr(),
                  b_transposed ? 1 : n,
                  b_transposed ? k : 1,
                  {}};
      g.out.c = c.data_ptr();
      g.out.ldc = n;
      ops::gemm(type == at::kBFloat16, g);
      const double tolerance = type == at::kFloat ? 8e-6 * std::sqrt(static_cast<double>(k)) : 0.005 * largest(exact);
      EXPECT_LT(largest(c.to(at::kDouble) - exact), tolerance)
          << m << " " << n << " " << k << " transposed " << a_transposed << b_transposed;
    }
}

}  // namespace

TEST(Gemm, AllOrdersAndOddSizes) {
  for (const auto type : {at::kFloat, at::kBFloat16})
    for (const auto& [m, n, k] : std::vector<std::array<int64_t, 3>>{
             {1, 1, 1}, {2, 3, 2}, {12, 32, 16}, {13, 33, 7}, {5, 50, 301}, {145, 47, 513}, {29, 100, 1027}, {289, 64, 256}})
      check_products(type, m, n, k);
}

TEST(Gemm, EpiloguesAndColumnSums) {
  const int64_t m = 301, n = 45, k = 300;
  const at::Tensor a = normal({m, k}, 1).to(at::kFloat), b = normal({k, n}, 2).to(at::kFloat), bias = normal({n}, 3).to(at::kFloat),
                   aux = normal({m, n}, 4).to(at::kFloat), scale = normal({43}, 5).to(at::kFloat);
  const at::Tensor exact = at::mm(a.to(at::kDouble), b.to(at::kDouble));
  at::Tensor c = at::empty({m, n}, at::kFloat), sums = at::empty({n}, at::kFloat);
  ops::Gemm g{m, n, k, a.const_data_ptr(), k, 1, b.const_data_ptr(), n, 1, {}};
  g.out.c = c.data_ptr();
  g.out.ldc = n;

  g.out.kind = ops::Epilogue::kMultiply;
  g.out.aux = aux.data_ptr();
  ops::gemm(false, g, sums.data_ptr<float>());
  const at::Tensor product = exact * aux.to(at::kDouble);
  EXPECT_LT(largest(c - product), 2e-4);
  EXPECT_LT(largest(sums - product.sum(0)), 1e-3);

  g.out = {ops::Epilogue::kResidual,
           c.data_ptr(),
           n,
           bias.const_data_ptr<float>(),
           nullptr,
           aux.const_data_ptr(),
           scale.const_data_ptr<float>(),
           7};
  ops::gemm(false, g);
  const at::Tensor rows = scale.to(at::kDouble).repeat_interleave(7).unsqueeze(1);
  EXPECT_LT(largest(c - (aux.to(at::kDouble) + rows * (exact + bias.to(at::kDouble)))), 4e-4);
}

TEST(Pool, ReusesBlocksAndGivesThemBack) {
  ops::pool_release();
  EXPECT_EQ(ops::pool_unused_bytes(), 0u);
  void* first = ops::pooled_empty({1000, 100}, at::kFloat).data_ptr();
  EXPECT_GE(ops::pool_unused_bytes(), 400000u);
  const at::Tensor second = ops::pooled_empty({100, 1000}, at::kFloat);
  EXPECT_EQ(second.data_ptr(), first);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(first) % 64, 0u);
  EXPECT_EQ(ops::pool_unused_bytes(), 0u);
}

#if !defined(__SANITIZE_ADDRESS__)  // which ends the program where so much is asked for
// Without the size the message of a training would say "expected more".
TEST(Pool, WantOfMemoryTellsHowMuchWasAskedFor) {
  std::string text;
  try {
    ops::pool_take(size_t{1} << 52);
  } catch (const std::bad_alloc& error) {
    text = failure_text(error);
  }
  EXPECT_THAT(text, testing::HasSubstr("expected 4503599.6 GB more")) << text;
}
#endif
