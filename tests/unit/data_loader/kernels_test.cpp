// Every vector kernel against the portable one: equal bytes for odd sizes and all values.
#include "kernels/image/image_kernels.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <random>
#include <vector>

#include "dinoxx/base/error.hpp"
#include "print_level.hpp"

namespace dinoxx::kernels {

namespace {

const Table* table_of(CpuLevel level) {
#if defined(__x86_64__)
  return level == CpuLevel::kAvx2 ? &kAvx2Table : &kAvx512Table;
#else
  return &kPortableTable;
#endif
}

class Kernels : public testing::TestWithParam<CpuLevel> {
 protected:
  void SetUp() override {
    if (GetParam() > best_cpu_level()) GTEST_SKIP() << "the processor lacks this instruction set";
    vector_ = table_of(GetParam());
  }
  std::vector<uint8_t> bytes(size_t n) {
    std::vector<uint8_t> out(n);
    for (uint8_t& v : out) v = static_cast<uint8_t>(rng_());
    return out;
  }
  const Table& portable_ = kPortableTable;
  const Table* vector_ = nullptr;
  std::mt19937 rng_{5};
  const std::array<size_t, 9> sizes_{1, 3, 15, 16, 17, 33, 64, 100, 1000};
};

TEST_P(Kernels, FilterRow) {
  for (const int quads : {1, 2, 3, 7}) {
    for (const int n : {1, 5, 16, 17, 31, 48, 49, 63, 64, 65, 96, 130}) {
      const ptrdiff_t stride = (n + 15) / 16 * 16;
      std::vector<uint32_t> rows(static_cast<size_t>(quads * stride));
      for (uint32_t& word : rows) word = rng_();
      std::vector<int32_t> weights(static_cast<size_t>(quads) * 4), packed;
      for (int32_t& w : weights) w = static_cast<int32_t>(rng_() % (1u << 18)) - (1 << 17);  // in all less than 2^31 / 255
      weights[0] = 1 << kWeightBits;                                                         // the largest that upscaling has
      if (quads > 1) weights[5] = -(1 << 20);
      packed = weights;
      std::vector<uint8_t> expected(static_cast<size_t>(stride)), got(static_cast<size_t>(stride));
      portable_.filter_row(rows.data(), stride, weights.data(), quads, expected.data(), n);
      vector_->pack_weights(packed.data(), static_cast<size_t>(quads));
      vector_->filter_row(rows.data(), stride, packed.data(), quads, got.data(), n);
      EXPECT_EQ(std::memcmp(expected.data(), got.data(), static_cast<size_t>(n)), 0) << quads << " quads, n " << n;
    }
  }
}

TEST_P(Kernels, SplitToQuads) {
  for (const auto& [width, height] : {std::pair{1, 1}, {4, 4}, {15, 3}, {16, 16}, {17, 5}, {50, 33}, {3, 40}}) {
    const std::vector<uint8_t> rgb = bytes(static_cast<size_t>(width * height * 3));
    const ptrdiff_t stride = (height + 15) / 16 * 16;
    const size_t words = static_cast<size_t>((width + 3) / 4 * stride);
    std::vector<uint32_t> expected(3 * words), got(3 * words);
    uint32_t* const expected_planes[3] = {expected.data(), expected.data() + words, expected.data() + 2 * words};
    uint32_t* const got_planes[3] = {got.data(), got.data() + words, got.data() + 2 * words};
    portable_.split_to_quads(rgb.data(), width, height, expected_planes, stride);
    vector_->split_to_quads(rgb.data(), width, height, got_planes, stride);
    for (size_t i = 0; i < expected.size(); ++i) {
      if (static_cast<ptrdiff_t>(i) % stride < height) {
        ASSERT_EQ(expected[i], got[i]) << width << " x " << height << " word " << i;
      }
    }
  }
}

TEST_P(Kernels, TransposeWords) {
  for (const auto& [rows, columns] : {std::pair{1, 1}, {4, 4}, {5, 7}, {30, 16}, {17, 13}}) {
    const ptrdiff_t in_stride = (rows + 3) / 4 * 4, out_stride = (columns + 3) / 4 * 4;
    std::vector<uint32_t> in(static_cast<size_t>(out_stride * in_stride)), expected(in.size()), got(in.size());
    for (uint32_t& word : in) word = rng_();
    portable_.transpose_words(in.data(), in_stride, rows, columns, expected.data(), out_stride);
    vector_->transpose_words(in.data(), in_stride, rows, columns, got.data(), out_stride);
    for (int r = 0; r < rows; ++r) {
      for (int c = 0; c < columns; ++c)
        ASSERT_EQ(expected[static_cast<size_t>(r * out_stride + c)], got[static_cast<size_t>(r * out_stride + c)]);
    }
  }
}

TEST_P(Kernels, Blends) {
  for (const size_t n : sizes_) {
    for (const float factor : {0.0f, 0.6f, 0.987f, 1.4f}) {
      const std::vector<uint8_t> r = bytes(n), g = bytes(n), b = bytes(n);
      std::vector<uint8_t> expected = r, got = r;
      portable_.blend_with_constant(expected.data(), n, factor, 117);
      vector_->blend_with_constant(got.data(), n, factor, 117);
      EXPECT_EQ(expected, got);
      std::vector<uint8_t> er = r, eg = g, eb = b, vr = r, vg = g, vb = b;
      portable_.blend_with_luma(er.data(), eg.data(), eb.data(), n, factor);
      vector_->blend_with_luma(vr.data(), vg.data(), vb.data(), n, factor);
      EXPECT_TRUE(er == vr && eg == vg && eb == vb);
      EXPECT_EQ(portable_.luma_sum(r.data(), g.data(), b.data(), n), vector_->luma_sum(r.data(), g.data(), b.data(), n));
      std::vector<uint8_t> el(n), vl(n);
      portable_.luma(r.data(), g.data(), b.data(), el.data(), n);
      vector_->luma(r.data(), g.data(), b.data(), vl.data(), n);
      EXPECT_EQ(el, vl);
    }
  }
}

// Red and green in all values, blue in some: covers every order of the channels, gray, black and white.
TEST_P(Kernels, HueOfAllRedAndGreen) {
  for (const int shift : {0, 17, 230}) {
    for (int blue = 0; blue < 256; blue += 15) {
      std::vector<uint8_t> r(65536), g(65536), b(65536, static_cast<uint8_t>(blue));
      for (size_t i = 0; i < 65536; ++i) r[i] = static_cast<uint8_t>(i), g[i] = static_cast<uint8_t>(i >> 8);
      std::vector<uint8_t> vr = r, vg = g, vb = b;
      portable_.rotate_hue(r.data(), g.data(), b.data(), r.size(), shift);
      vector_->rotate_hue(vr.data(), vg.data(), vb.data(), vr.size(), shift);
      ASSERT_TRUE(r == vr && g == vg && b == vb) << "blue " << blue << ", shift " << shift;
    }
  }
}

TEST_P(Kernels, BoxFilters) {
  for (const auto& [width, height] : {std::pair{1, 1}, {2, 3}, {5, 4}, {16, 16}, {33, 20}, {96, 7}, {17, 3}, {70, 71}}) {
    for (const int radius : {0, 1, 2, 4}) {
      const uint32_t inner = static_cast<uint32_t>((1u << 24) / (2.0 * radius + 1.7)),
                     edge = ((1u << 24) - static_cast<uint32_t>(2 * radius + 1) * inner) / 2;
      const size_t n = static_cast<size_t>(width * height);
      std::vector<uint8_t> expected = bytes(n + 64), got = expected, scratch(box_scratch(width, height));
      const std::vector<uint8_t> behind(expected.begin() + static_cast<ptrdiff_t>(n), expected.end());
      portable_.box_blur(expected.data(), width, height, radius, inner, edge, scratch.data());
      vector_->box_blur(got.data(), width, height, radius, inner, edge, scratch.data());
      EXPECT_EQ(expected, got) << width << " x " << height << ", radius " << radius;
      EXPECT_TRUE(std::equal(behind.begin(), behind.end(), got.begin() + static_cast<ptrdiff_t>(n)));  // the next channel's pixels
    }
  }
}

TEST_P(Kernels, NineTaps) {
  const float weights[] = {0.3f, 0.2f, 0.1f, 0.04f, 0.01f};
  for (const auto& [width, height] : {std::pair{5, 5}, {6, 9}, {16, 16}, {33, 20}, {96, 7}, {70, 71}}) {
    const size_t n = static_cast<size_t>(width * height);
    std::vector<uint8_t> expected = bytes(n + 64), got = expected;
    const std::vector<uint8_t> before = expected;
    std::vector<float> scratch(gauss_scratch(width, height));
    portable_.gauss_blur(expected.data(), width, height, weights, scratch.data());
    vector_->gauss_blur(got.data(), width, height, weights, scratch.data());
    EXPECT_EQ(expected, got) << width << " x " << height;
    EXPECT_NE(before, got);
    EXPECT_TRUE(std::equal(before.begin() + static_cast<ptrdiff_t>(n), before.end(), got.begin() + static_cast<ptrdiff_t>(n)));
  }
}

TEST_P(Kernels, SolarizeAndNormalize) {
  for (const size_t n : sizes_) {
    const std::vector<uint8_t> v = bytes(n);
    std::vector<uint8_t> expected = v, got = v;
    portable_.solarize(expected.data(), n);
    vector_->solarize(got.data(), n);
    EXPECT_EQ(expected, got);
    std::vector<float> ef(n), vf(n);
    portable_.normalize(v.data(), n, 0.0171f, -2.118f, ef.data());
    vector_->normalize(v.data(), n, 0.0171f, -2.118f, vf.data());
    EXPECT_EQ(std::memcmp(ef.data(), vf.data(), n * sizeof(float)), 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Levels, Kernels, testing::Values(CpuLevel::kAvx2, CpuLevel::kAvx512Vnni), testing::PrintToStringParamName());

}  // namespace
}  // namespace dinoxx::kernels
