// Copy detection, a part of the protocol clustering. Private to it.
#pragma once
#include <nlohmann/json.hpp>

#include "eval/run/protocols.hpp"

namespace dinoxx::eval {

// Does a distorted copy of a test image find its original among all images of memory and queries? Looks at no label. Collective.
nlohmann::json copy_detection(const ProtocolInput& input);
nlohmann::json copy_detection_settings();

}  // namespace dinoxx::eval
