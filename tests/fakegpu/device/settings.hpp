// What the environment says of the fake device. Read once.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace fakegpu {

struct Settings {
  size_t memory = 0;      ///< FAKEGPU_MEMORY_GB (80): bytes of a device
  int devices = 1;        ///< FAKEGPU_DEVICES (1); FAKEGPU_NO_DEVICE_ON_RANK names a rank of mpirun that has none
  int architecture = 90;  ///< FAKEGPU_ARCHITECTURE (90): compute capability times ten
  int driver = 13000;     ///< FAKEGPU_DRIVER (13000): what the driver supports; 0: there is none
  size_t copied = 0;      ///< FAKEGPU_COPIED_BYTES (unlimited): a larger copy is counted and not made
  bool side_copies =
      true;  ///< FAKEGPU_SIDE_COPIES (1); 0: copies to the device on another stream than the default one (pixels) are counted
             ///< and not made, so that what no kernel computes is what the memory began with, and not bytes that may be NaN
  bool late_events = false;  ///< FAKEGPU_LATE_EVENTS (0): an event is complete only after the host has waited for the device
  int names_of_step = 0;     ///< FAKEGPU_NAMES_OF_STEP (0): the kernels and products of this step by name
  std::string log;           ///< FAKEGPU_LOG (none): one JSON object a line; ranks of mpirun append their number
  int rank = 0;              ///< of mpirun, for the name of the log and the identity of the device
  bool one_gpu = false;      ///< FAKEGPU_ONE_GPU (0): the devices of all ranks are the same one
};
const Settings& settings();

/// A number from the environment, or `otherwise`.
double number_from_environment(const char* name, double otherwise);

}  // namespace fakegpu
