#include "dinoxx/base/error.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dinoxx {
namespace {

TEST(Error, SaysExpectedFoundAndAdvice) {
  try {
    fail("batch", "at most 8 images", "9", "Lower batch_size");
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "batch: expected at most 8 images, found 9. Lower batch_size.");
    EXPECT_EQ(error.exit_code(), ExitCode::kFailed);
  }
}

TEST(Error, NoAdviceNoSecondSentence) {
  EXPECT_THAT([] { fail("a", "b", "c", ""); }, testing::ThrowsMessage<Error>("a: expected b, found c."));
}

TEST(Error, UsageErrorsHaveTheirOwnExitCode) {
  try {
    fail_usage("option --seed", "a number", "\"x\"", "Did you mean 7?");
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "option --seed: expected a number, found \"x\". Did you mean 7?");
    EXPECT_EQ(error.exit_code(), ExitCode::kUsage);
  }
}

// Names of strangers' files are part of messages.
TEST(Error, ControlCharactersAreSpeltOut) {
  EXPECT_THAT(
      [] {
        fail("a\x1b[2J", "b\x07",
             "c\x7f\xc2\x9b"
             "31m",
             "d\xe2\x80\xae");
      },
      testing::ThrowsMessage<Error>("a\\x1b[2J: expected b\\x07, found c\\x7f\\xc2\\x9b31m. d\\xe2\\x80\\xae."));
  EXPECT_THAT([] { fail("\xc3\xbcml\xc3\xa4ut", "\xe2\x82\xac", "two\n\tlines", ""); },
              testing::ThrowsMessage<Error>("\xc3\xbcml\xc3\xa4ut: expected \xe2\x82\xac, found two\n\tlines."));
}

TEST(NearestName, FindsSlipsAndNothingElse) {
  const std::vector<std::string> keys = {"batch_size", "learning_rate", "optim.weight_decay", "epochs"};
  EXPECT_EQ(nearest_name("batch_szie", keys), "batch_size");
  EXPECT_EQ(nearest_name("batch-size", keys), "batch_size");
  EXPECT_EQ(nearest_name("Epoch", keys), "epochs");
  EXPECT_EQ(nearest_name("weight_decay", keys), "optim.weight_decay");
  EXPECT_EQ(nearest_name("barlow", {"byol", "barlow_twins"}), "barlow_twins");
  EXPECT_EQ(nearest_name("vit", {"vit_small", "vit_large_plus"}), "") << "several begin so";
  EXPECT_EQ(nearest_name("ba", {"byol", "barlow_twins"}), "");
  EXPECT_EQ(nearest_name("banana", keys), "");
  EXPECT_EQ(nearest_name("", keys), "");
  EXPECT_EQ(nearest_name("x", {}), "");
}

}  // namespace
}  // namespace dinoxx
