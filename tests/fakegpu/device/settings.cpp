#include "settings.hpp"

#include <cstdlib>

namespace fakegpu {

double number_from_environment(const char* name, double otherwise) {
  const char* text = std::getenv(name);
  return text && *text ? std::atof(text) : otherwise;
}

const Settings& settings() {
  static const Settings* found = [] {
    auto* s = new Settings;  // never destroyed: libraries call the device until the last moment of the process
    s->memory = static_cast<size_t>(number_from_environment("FAKEGPU_MEMORY_GB", 80) * 1e9);
    s->devices = static_cast<int>(number_from_environment("FAKEGPU_DEVICES", 1));
    s->architecture = static_cast<int>(number_from_environment("FAKEGPU_ARCHITECTURE", 90));
    s->driver = static_cast<int>(number_from_environment("FAKEGPU_DRIVER", 13000));
    s->copied = static_cast<size_t>(number_from_environment("FAKEGPU_COPIED_BYTES", 1e18));
    s->side_copies = number_from_environment("FAKEGPU_SIDE_COPIES", 1) != 0;
    s->late_events = number_from_environment("FAKEGPU_LATE_EVENTS", 0) != 0;
    s->names_of_step = static_cast<int>(number_from_environment("FAKEGPU_NAMES_OF_STEP", 0));
    const char* rank = std::getenv("OMPI_COMM_WORLD_RANK");
    s->rank = rank ? std::atoi(rank) : 0;
    s->one_gpu = number_from_environment("FAKEGPU_ONE_GPU", 0) != 0;
    if (number_from_environment("FAKEGPU_NO_DEVICE_ON_RANK", -1) == s->rank) s->devices = 0;
    if (const char* log = std::getenv("FAKEGPU_LOG")) s->log = rank ? std::string(log) + "." + rank : log;
    return s;
  }();
  return *found;
}

}  // namespace fakegpu
