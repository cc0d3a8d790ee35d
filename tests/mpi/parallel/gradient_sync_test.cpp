#include <gtest/gtest.h>

#include "dinoxx/comm/mpi_communicator.hpp"
#include "gradient_suite.hpp"

namespace dinoxx {
namespace {

using namespace testing_support;

TEST(MpiGradientSync, AverageIsTheSerialGradient) {
  check_average_is_serial_gradient(make_mpi_communicator());
}
TEST(MpiGradientSync, GatheredGradientsAreThoseOfTheViews) {
  check_gathered_is_added(make_mpi_communicator());
}
TEST(MpiGradientSync, Bf16NetworkHasFloatGradients) {
  check_bf16_network(make_mpi_communicator());
}
TEST(MpiGradientSync, Bf16MessagesAreRoundedOnTheirWay) {
  check_bf16_messages(make_mpi_communicator());
}
TEST(MpiGradientSync, BucketsArePostedFromHooksInOrder) {
  check_event_log(make_mpi_communicator());
}
TEST(MpiGradientSync, CollectivesFinishDuringBackward) {
  check_overlap(make_mpi_communicator());
}
TEST(MpiGradientSync, HooksDriveProgress) {
  check_hooks_drive_progress(make_mpi_communicator());
}
TEST(MpiGradientSync, MissingGradientIsNamed) {
  check_missing_gradient_is_named(make_mpi_communicator());
}
TEST(MpiGradientSync, DivergenceIsFound) {
  check_divergence_is_found(make_mpi_communicator());
}

}  // namespace
}  // namespace dinoxx
