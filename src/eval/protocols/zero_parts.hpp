// What the zero-shot step is made of. Private to it.
#pragma once
#include <nlohmann/json.hpp>

#include "eval/run/ladder.hpp"

namespace dinoxx::eval {

// Does a distorted copy of a test image find its original among all images of memory and queries? Looks at no label. Collective.
nlohmann::json copy_detection(const StepInput& input);
nlohmann::json copy_protocol();

}  // namespace dinoxx::eval
