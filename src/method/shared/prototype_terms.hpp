#pragma once
#include "prototypes.hpp"

/// The loss terms of the prototype family, each with what it asks of the batch.
namespace dinoxx {

LossTerm dino_term(const Config& config);
LossTerm patch_term(const Config& config, PatchCentre patch_centre);
/// Codes in the place of a teacher (SwAV).
LossTerm swapped_term(const Config& config);
LossTerm koleo_term(const Config& config);
LossTerm sigreg_term(const Config& config);
LossTerm gram_term(const Config& config);

}  // namespace dinoxx
