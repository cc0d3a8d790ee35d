#pragma once
#include <nlohmann/json.hpp>

#include "eval/run/protocols.hpp"

namespace dinoxx::eval {

/// Whether features use their space, whatever the labels: of at most 2048 training images (evenly spaced rows), normalised features.
/// {name, images, dim, effective_rank (RankMe, Garrido et al. 2023: exponential of the entropy of the singular values' shares),
/// deviation (mean of the dimensions, times sqrt(dim): 1 when features lie all around the sphere, 0 when they are all the same),
/// deviation_quantiles (of the dimensions, the same unit: smallest, 5 %, median, 95 %, largest), dead_dimensions (share with less than
/// 0.01), mean_cosine (of pairs), uniformity (logarithm of the mean of exp(-2 |x - y|^2) over pairs: -4 at best in many dimensions, 0 when
/// all are the same; Wang & Isola 2020), alignment (mean |x - y|^2 of pairs of one class) and distance (of all pairs), spectrum
/// [{component, share, up_to}]: shares of the variance, and of all components so far}. Undefined is null, with the reason. Collective.
nlohmann::json feature_health(const ProtocolInput& input);

}  // namespace dinoxx::eval
