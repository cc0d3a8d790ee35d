#pragma once
#include "method/methods.hpp"

/// What the methods share whose head is an MLP, the projector: BYOL, SimCLR, VICReg and Barlow Twins have two global views, FastSiam
/// further ones, each through the network by itself; LeJEPA, VISReg and EMP-SSL have crops, all together.
namespace dinoxx {

/// Views, backbone and projector that a resolved configuration asks for; no loss term yet.
MethodSpec two_view_spec(const Config& config);

/// The same with head.layers linear layers, the last without bias: losses that take means off the batch do not see one.
MethodSpec expander_spec(const Config& config);

/// Crops, backbone and a projector of so many linear layers; no loss term yet.
MethodSpec projector_spec(const Config& config, int64_t layers);

/// LeJEPA's prediction (arXiv 2511.08544): the mean squared distance of all views to the mean of the global ones, which has its gradient,
/// too.
LossOutputs prediction_of_globals(const LossInputs& in);

/// LossTerm::check of losses that take statistics over the batch or other images of it. UsageError for one image over all ranks.
void check_two_images(const MethodSpec& spec, int64_t batch, int world_size);

}  // namespace dinoxx
