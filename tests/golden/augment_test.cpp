// Every augmentation against Pillow and torchvision on crops of photographs; values by make_augment.py.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <functional>
#include <map>

#include "data_pipeline/augment/views.hpp"
#include "formats/safetensors.hpp"
#include "kernels/image/image_kernels.hpp"
#include "print_level.hpp"
#include "source_dir.hpp"

namespace dinoxx::kernels {}  // namespace dinoxx::kernels

namespace dinoxx {
namespace {

class Golden {
 public:
  Golden() : file_(path()) {}
  static std::string path() {
    const char* other = std::getenv("DINOXX_AUGMENT_GOLDEN");
    return other != nullptr ? other : golden_dir() / "augment.safetensors";
  }
  template <typename T>
  std::vector<T> get(const std::string& name) const {
    const TensorView& view = file_.at(name);
    std::vector<T> out(view.bytes.size() / sizeof(T));
    std::memcpy(out.data(), view.bytes.data(), view.bytes.size());
    return out;
  }
  std::vector<int64_t> shape(const std::string& name) const { return file_.at(name).shape; }
  int count(const std::string& kind) const { return get<int32_t>("count." + kind).at(0); }
  Image source(int index) const {
    const std::string name = "source." + std::to_string(index) + ".pixels";
    return {static_cast<int>(shape(name)[1]), static_cast<int>(shape(name)[0]), get<uint8_t>(name)};
  }
  Box box(const std::string& name) const {
    const auto v = get<int32_t>(name);
    return {v[0], v[1], v[2], v[3]};
  }

 private:
  SafetensorsFile file_;
};

struct Difference {
  int maximum = 0;
  double sum = 0.0;
  size_t count = 0;
  void add(const PlanarImage& image, const std::vector<uint8_t>& expected) {
    ASSERT_EQ(expected.size(), 3 * image.pixels());
    for (size_t i = 0; i < expected.size(); ++i) {
      const int d = std::abs(static_cast<int>(image.plane[i % 3][i / 3]) - static_cast<int>(expected[i]));
      maximum = std::max(maximum, d);
      sum += d;
    }
    count += expected.size();
  }
  double mean() const { return sum / static_cast<double>(count); }
};

// All instruction sets that this processor has.
class Augment : public testing::TestWithParam<CpuLevel> {
 protected:
  void SetUp() override {
    if (GetParam() > best_cpu_level()) GTEST_SKIP() << "the processor lacks this instruction set";
    set_cpu_level(GetParam());
  }
  void TearDown() override { set_cpu_level(before_); }
  const CpuLevel before_ = cpu_level();

  // The crop, unscaled: resizing to the same size is the identity.
  PlanarImage crop(const Image& image, const Box& box) {
    source_.assign(image);
    PlanarImage out = scratch_.planes.image(box.width, box.height);
    resize_bicubic(source_, box, {box.width, box.height, {}, false}, out, scratch_.resize);
    return out;
  }
  Difference compare(const std::string& kind, const std::function<void(PlanarImage&, double)>& operation) {
    Difference difference;
    for (int i = 0; i < golden_.count(kind); ++i) {
      const std::string name = kind + "." + std::to_string(i) + ".";
      PlanarImage image = crop(golden_.source(golden_.get<int32_t>(name + "source")[0]), golden_.box(name + "box"));
      operation(image, golden_.get<double>(name + "factor")[0]);
      difference.add(image, golden_.get<uint8_t>(name + "expected"));
    }
    EXPECT_GT(difference.count, 1000u);
    std::printf("%s: largest difference %d, mean %.5f over %zu values\n", kind.c_str(), difference.maximum, difference.mean(),
                difference.count);
    return difference;
  }

  Difference compare_resize(const std::string& kind) {
    Difference difference;
    for (int i = 0; i < golden_.count(kind); ++i) {
      const std::string name = kind + "." + std::to_string(i) + ".";
      const auto shape = golden_.shape(name + "expected");
      source_.assign(golden_.source(golden_.get<int32_t>(name + "source")[0]));
      const int width = static_cast<int>(shape[1]), height = static_cast<int>(shape[0]);
      PlanarImage out = scratch_.planes.image(width, height);
      resize_bicubic(source_, golden_.box(name + "box"), {width, height, {}, false}, out, scratch_.resize);
      difference.add(out, golden_.get<uint8_t>(name + "expected"));
    }
    std::printf("%s: largest difference %d, mean %.5f over %zu values\n", kind.c_str(), difference.maximum, difference.mean(),
                difference.count);
    return difference;
  }

  Golden golden_;
  SourceImage source_;
  ViewScratch scratch_;
};

TEST_P(Augment, ResizeEqualsPillow) {
  const Difference difference = compare_resize("resize");
  EXPECT_EQ(difference.maximum, 0);
  EXPECT_GT(difference.count, 10000u);
}

TEST_P(Augment, ColorEqualsPillow) {
  EXPECT_EQ(compare("brightness", [](PlanarImage& image, double f) { adjust_brightness(image, static_cast<float>(f)); }).maximum, 0);
  EXPECT_EQ(compare("contrast", [](PlanarImage& image, double f) { adjust_contrast(image, static_cast<float>(f)); }).maximum, 0);
  EXPECT_EQ(compare("saturation", [](PlanarImage& image, double f) { adjust_saturation(image, static_cast<float>(f)); }).maximum, 0);
  EXPECT_EQ(compare("gray", [](PlanarImage& image, double) { to_grayscale(image); }).maximum, 0);
  EXPECT_EQ(compare("solarize", [](PlanarImage& image, double) { solarize(image); }).maximum, 0);
}

TEST_P(Augment, HueEqualsTorchvision) {
  EXPECT_EQ(compare("hue", [](PlanarImage& image, double f) { adjust_hue(image, f); }).maximum, 0);
}

TEST_P(Augment, BlurEqualsPillow) {
  const Difference difference =
      compare("blur", [this](PlanarImage& image, double f) { gaussian_blur(image, static_cast<float>(f), scratch_.blur); });
  EXPECT_EQ(difference.maximum, 0);
}

TEST_P(Augment, WholeViewEqualsTorchvision) {
  for (int i = 0; i < golden_.count("view"); ++i) {
    const std::string name = "view." + std::to_string(i) + ".";
    const auto flags = golden_.get<int32_t>(name + "flags");
    const auto order = golden_.get<int32_t>(name + "order");
    const auto factors = golden_.get<double>(name + "factors");
    ViewDraw draw;
    draw.crop = golden_.box(name + "box");
    draw.flip = flags[0] != 0;
    if (flags[1] != 0) {
      ColorJitter jitter{{}, factors[0], factors[1], factors[2], factors[3]};
      for (size_t k = 0; k < 4; ++k) jitter.order[k] = static_cast<ColorOp>(order[k]);
      draw.jitter = jitter;
    }
    draw.gray = flags[2] != 0;
    if (flags[3] != 0) draw.blur_sigma = static_cast<float>(factors[4]);
    draw.solarize = flags[4] != 0;
    ViewSpec view;
    view.size = static_cast<int>(golden_.shape(name + "expected")[0]);
    source_.assign(golden_.source(golden_.get<int32_t>(name + "source")[0]));
    Difference difference;
    difference.add(render_view_u8(source_, draw, view, scratch_), golden_.get<uint8_t>(name + "expected"));
    EXPECT_EQ(difference.maximum, 0) << name;

    std::vector<float> out(static_cast<size_t>(3 * view.size * view.size));
    render_view(source_, draw, view, imagenet_normalization(), scratch_, out.data());
    const auto expected = golden_.get<float>(name + "normalized");  // [3, ::5, ::3]
    size_t at = 0;
    for (int c = 0; c < 3; ++c) {
      for (int y = 0; y < view.size; y += 5) {
        for (int x = 0; x < view.size; x += 3)
          EXPECT_NEAR(out[static_cast<size_t>((c * view.size + y) * view.size + x)], expected[at++], 1e-6f);
      }
    }
    EXPECT_EQ(at, expected.size());
  }
}

TEST_P(Augment, EvalViewEqualsTorchvision) {
  for (int i = 0; i < golden_.count("eval"); ++i) {
    const std::string name = "eval." + std::to_string(i) + ".";
    const auto sizes = golden_.get<int32_t>(name + "sizes");
    const auto expected = golden_.get<float>(name + "expected");
    std::vector<float> out(expected.size());
    make_eval_view(golden_.source(golden_.get<int32_t>(name + "source")[0]), {sizes[0], sizes[1]}, imagenet_normalization(), out.data());
    double largest = 0.0;
    for (size_t k = 0; k < out.size(); ++k) largest = std::max(largest, static_cast<double>(std::fabs(out[k] - expected[k])));
    EXPECT_LT(largest, 1e-6) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Levels, Augment, testing::Values(CpuLevel::kGeneric, CpuLevel::kAvx2, CpuLevel::kAvx512Vnni),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace dinoxx
