#pragma once
#include <nlohmann/json.hpp>

namespace dinoxx {

/// What was built, from what and with what: goes into run records, and two builds that differ in it promise no equal bits.
nlohmann::json build_info();

}  // namespace dinoxx
