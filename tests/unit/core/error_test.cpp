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

TEST(NearestName, FindsSlipsAndNothingElse) {
  const std::vector<std::string> keys = {"batch_size", "learning_rate", "optim.weight_decay", "epochs"};
  EXPECT_EQ(nearest_name("batch_szie", keys), "batch_size");
  EXPECT_EQ(nearest_name("batch-size", keys), "batch_size");
  EXPECT_EQ(nearest_name("Epoch", keys), "epochs");
  EXPECT_EQ(nearest_name("weight_decay", keys), "optim.weight_decay");
  EXPECT_EQ(nearest_name("banana", keys), "");
  EXPECT_EQ(nearest_name("", keys), "");
  EXPECT_EQ(nearest_name("x", {}), "");
}

}  // namespace
}  // namespace dinoxx
