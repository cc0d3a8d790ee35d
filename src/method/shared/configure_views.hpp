#pragma once
#include "method/method.hpp"

namespace dinoxx {

/// Puts the views of config.views in the profile that it names, in each of the resolutions.
void configure_views(MethodSpec& spec, const Config& config);

}  // namespace dinoxx
