// torchvision's nine-tap blur (make_blur.py).
#include <gtest/gtest.h>

#include <cstring>

#include "data_pipeline/augment/blur.hpp"
#include "dinoxx/base/error.hpp"
#include "formats/safetensors.hpp"
#include "source_dir.hpp"

namespace dinoxx {
namespace {

TEST(GoldenBlur, NineTapsEqualTorchvision) {
  const SafetensorsFile file(golden_dir() / "blur.safetensors");
  PlanarScratch planes;
  ScratchBuffer<uint8_t> scratch;
  size_t values = 0, cases = 0;
  for (const auto& [name, view] : file.tensors()) {
    if (!name.ends_with("/image")) continue;
    const std::string number = name.substr(0, name.find('/'));
    const int height = static_cast<int>(view.shape[0]), width = static_cast<int>(view.shape[1]);
    PlanarImage image = planes.image(width, height);
    const auto *in = reinterpret_cast<const uint8_t*>(view.bytes.data()),
               *expected = reinterpret_cast<const uint8_t*>(file.at(number + "/expected").bytes.data());
    for (size_t i = 0; i < 3 * image.pixels(); ++i) image.plane[i % 3][i / 3] = in[i];
    double sigma = 0;
    std::memcpy(&sigma, file.at(number + "/sigma").bytes.data(), sizeof sigma);
    gaussian_blur9(image, static_cast<float>(sigma), scratch);
    for (size_t i = 0; i < 3 * image.pixels(); ++i)
      ASSERT_EQ(image.plane[i % 3][i / 3], expected[i]) << number << ", sigma " << sigma << ", value " << i;
    values += 3 * image.pixels();
    ++cases;
  }
  EXPECT_GT(cases, 10u);
  EXPECT_GT(values, 20000u);
}

TEST(GoldenBlur, RefusesWhatReflectionCannotServe) {
  PlanarScratch planes;
  ScratchBuffer<uint8_t> scratch;
  PlanarImage small = planes.image(4, 9);
  EXPECT_THROW(gaussian_blur9(small, 1.0f, scratch), Error);
  PlanarImage image = planes.image(9, 9);
  EXPECT_THROW(gaussian_blur9(image, 0.0f, scratch), Error);
}

}  // namespace
}  // namespace dinoxx
