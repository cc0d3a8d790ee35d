#pragma once
#include "method/methods.hpp"

/// What BYOL, SimCLR, VICReg and Barlow Twins share: two global views, each through the network by itself, and an MLP as the projector.
namespace dinoxx {

/// Views, backbone and projector that a resolved configuration asks for; no loss term yet.
MethodSpec two_view_spec(const Config& config);

/// The same with head.layers linear layers, the last without bias: losses that take means off the batch do not see one.
MethodSpec expander_spec(const Config& config);

/// LossTerm::check of losses that take statistics over the batch or other images of it. UsageError for one image over all ranks.
void check_two_images(const MethodSpec& spec, int64_t batch, int world_size);

}  // namespace dinoxx
