#pragma once
#include "method/method.hpp"

namespace dinoxx {

/// What a run's views are normalised by: model.mean and model.std, else the profile's.
Normalization normalization_of(const Config& config);

/// Puts the views of config.views in the profile that it names, in each of the resolutions.
void configure_views(MethodSpec& spec, const Config& config);

}  // namespace dinoxx
