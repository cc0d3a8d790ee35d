#include "base/normalization.hpp"

#include <gmock/gmock.h>

#include <limits>
#include <type_traits>

#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

// There is nothing to fall into: who normalises has to say by what.
static_assert(!std::is_default_constructible_v<Normalization>);

TEST(Normalization, RefusesWhatNoInputCanBeNormalisedBy) {
  const std::array<float, 3> good{0.5f, 0.5f, 0.5f};
  EXPECT_NO_THROW(Normalization(good, good));
  EXPECT_NO_THROW(Normalization({-1.0f, 0.0f, 2.0f}, good));
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    EXPECT_THAT([&] { Normalization({0.5f, bad, 0.5f}, good); }, ThrowsMessage<UsageError>(HasSubstr("mean of the channels")));
    EXPECT_THAT([&] { Normalization(good, {0.5f, bad, 0.5f}); }, ThrowsMessage<UsageError>(HasSubstr("standard deviation")));
  }
  for (const float bad : {0.0f, -0.1f})
    EXPECT_THAT([&] { Normalization(good, {0.5f, 0.5f, bad}); }, ThrowsMessage<UsageError>(HasSubstr("above 0")));
}

TEST(Normalization, ItsTextIsShortAndComesBackBitForBit) {
  EXPECT_EQ(to_text(imagenet_normalization()), R"({"mean":[0.485,0.456,0.406],"std":[0.229,0.224,0.225]})");
  EXPECT_EQ(describe(imagenet_normalization()), "mean 0.485 0.456 0.406, std 0.229 0.224 0.225");
  EXPECT_EQ(decimals({0.1f, 0.25f, 1.0f}), (std::vector<double>{0.1, 0.25, 1.0}));
  float value = 0.0123456f;
  for (int i = 0; i < 1000; ++i) {
    const Normalization one({value, -value, value * 3}, {value, value / 7, value * value});
    EXPECT_EQ(parse_normalization(to_text(one), "here"), one) << to_text(one);
    value = value * 1.0177f + 1e-5f;
  }
}

TEST(Normalization, AnotherTextIsNamed) {
  for (const char* text : {"", "{", "[]", "null", R"({"mean":[1,2,3]})", R"({"mean":[1,2],"std":[1,1,1]})",
                           R"({"mean":[1,2,"x"],"std":[1,1,1]})", R"({"mean":[0,0,0],"std":[1,0,1]})", R"({"mean":0.5,"std":0.5})"})
    EXPECT_THAT([&] { parse_normalization(text, "some/file"); },
                ThrowsMessage<Error>(testing::AllOf(HasSubstr("dinoxx.normalization in some/file"), HasSubstr("3 numbers"))))
        << text;
}

}  // namespace
}  // namespace dinoxx
