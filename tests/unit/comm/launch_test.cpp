#include <gtest/gtest.h>

#include <cstdlib>

#include "dinoxx/comm/runtime.hpp"

namespace dinoxx {
namespace {

class LaunchedTasksTest : public testing::Test {
 protected:
  void SetUp() override { clear(); }
  void TearDown() override { clear(); }
  void clear() {
    for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"})
      unsetenv(name);
  }
};

TEST_F(LaunchedTasksTest, OneWithoutALauncher) {
  EXPECT_EQ(launched_tasks().count, 1);
  EXPECT_STREQ(launched_tasks().variable, "");
}

TEST_F(LaunchedTasksTest, ABatchScriptOfSlurmStartsOneProcess) {
  setenv("SLURM_NTASKS", "8", 1);
  EXPECT_EQ(launched_tasks().count, 1);
}

TEST_F(LaunchedTasksTest, ASlurmStepStartsItsTasks) {
  setenv("SLURM_STEP_NUM_TASKS", "8", 1);
  EXPECT_EQ(launched_tasks().count, 8);
  EXPECT_STREQ(launched_tasks().variable, "SLURM_STEP_NUM_TASKS");
}

TEST_F(LaunchedTasksTest, MpirunInsideASlurmStepIsTheOneThatCounts) {
  setenv("SLURM_STEP_NUM_TASKS", "2", 1);  // of srun, for the daemons of mpirun
  setenv("OMPI_COMM_WORLD_SIZE", "16", 1);
  EXPECT_EQ(launched_tasks().count, 16);
}

TEST_F(LaunchedTasksTest, NonsenseIsPassedOver) {
  setenv("OMPI_COMM_WORLD_SIZE", "many", 1);
  setenv("PMI_SIZE", "0", 1);
  EXPECT_EQ(launched_tasks().count, 1);
}

}  // namespace
}  // namespace dinoxx
