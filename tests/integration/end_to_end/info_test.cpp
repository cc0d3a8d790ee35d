// What `dinoxx info --profile` says.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "program.hpp"

namespace dinoxx {
namespace {

using namespace testing_support;
using testing::HasSubstr;

TEST(InfoProfile, SaysWhatEachViewGoesThrough) {
  const RunResult result = dinoxx_run("info --profile dinov2-as-released");
  EXPECT_EQ(result.code, 0) << result.output;
  for (const char* words :
       {"global1: 224 px, area 0.32-1,", "blur 0 (9 taps", "global2: 224 px", "blur 0.9 (9 taps", "solarize 0.2", "local1..local8: 96 px"})
    EXPECT_THAT(result.output, HasSubstr(words));
}

TEST(Commands, AnUnknownOneIsAnsweredFromTheirTable) {
  const RunResult result = dinoxx_run("proagate");
  expect_refusal(result, 2, {"\"proagate\"", "Did you mean propagate?"});
  const RunResult help = dinoxx_run("--help");
  EXPECT_EQ(help.code, 0);
  for (const char* name : {"pack", "plan", "train", "eval", "attend", "propagate", "match", "embed", "predict", "report", "compare",
                           "weights", "doctor", "info"}) {
    EXPECT_THAT(help.output, HasSubstr("\n  " + std::string(name) + " "));
    EXPECT_THAT(result.output, testing::ContainsRegex("one of .*\\b" + std::string(name) + "\\b.*, found"));
  }
}

TEST(InfoProfile, ListsTheProfiles) {
  const RunResult list = dinoxx_run("info --profile");
  EXPECT_EQ(list.code, 0) << list.output;
  for (const char* name :
       {"dino-v1 ", "dinov2-as-documented ", "dinov3 ", "byol ", "simclr ", "swav ", "solo-cifar-symmetric ", "emp-ssl "})
    EXPECT_THAT(list.output, HasSubstr(name));
  expect_refusal(dinoxx_run("info --profile dinov1"), 2, {"view profile", "dino-v1, dinov2-as-released"});
}

}  // namespace
}  // namespace dinoxx
