#pragma once
#include <cstdint>

#include "cost/model.hpp"

namespace dinoxx::plan {

/// Bytes of an encoded image where no data set says it: 108 KB for photographs; for crops of less than 128 pixels 2.5 KB for 32 x 32, as
/// JPEG of CIFAR-10, by area.
double assumed_image_bytes(const Model& model);
/// Seconds of one core from bytes to crops: 10.2 ns for an encoded byte and 4.3 ns for a pixel of a crop, the stages of
/// docs/bench_loader.md for photographs (1106 us for 108 KB, 744 us for 174,080 pixels).
double load_seconds(const Model& model, double image_bytes);

/// Bytes of one checkpoint, as checkpoint_bytes() of a training says.
double checkpoint_bytes(const Model& model);

/// Time between checkpoints that costs least, seconds, for saves of `save` seconds and a mean time between failures of `mtbf` seconds:
/// Daly 2006 (Future Generation Computer Systems 22), equation 37, of which Young 1974, sqrt(2 save mtbf), is the first term.
double checkpoint_interval(double save, double mtbf);
/// Share of the time that saving, work done again and restarts of `restart` seconds take, at most 1: save / (interval + save) +
/// ((interval + save) / 2 + restart) / mtbf, its first order.
double lost_share(double save, double interval, double restart, double mtbf);

}  // namespace dinoxx::plan
