// Would more training images of a class help? A part of the few-shot protocol.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "few_shot_parts.hpp"

namespace dinoxx::eval {

// logit(recall) = limit - loss / images: what nearest class means lose by the error of a mean, whose square falls with the number of
// images.
struct MeanCurve {
  double limit = 0, loss = 0;
  double recall(double images) const;
};
// Least squares, a point of m images counts m times. `images`, `recall`: at least two points of different numbers of images; recalls are
// kept within [least, 1 - least].
MeanCurve fit_mean_curve(std::span<const double> images, std::span<const double> recall, double least);

// {"rule", "target", "classes": [{name, memory, queries, recall, at: [{times, images, recall, interval95}], limit, limit95, not_enough,
// enough}]} of the classes of the fewest training images: what recall SimpleShot is predicted to have with more of them, all else as it is.
// `target`: the mean recall of all classes now; "not_enough": the largest of the numbers of images with which the interval lies below it;
// "enough": the smallest with which it lies above; null: none of them, or it is reached already. A class of which nothing can be told has
// "left_out". Collective.
// `answers`: SimpleShot's to all queries, from all of the memory.
nlohmann::json more_images(const ProtocolInput& input, const Prepared& prepared, std::span<const int32_t> answers);
// For the terminal, of one result of the protocol: the rarest classes; "" without.
std::string more_images_table(const nlohmann::json& result);

}  // namespace dinoxx::eval
