#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

/// A threshold for a wanted recall, from probabilities of images that were not learned from.
namespace dinoxx::eval {

/// With which a recall is said to be at least so much.
inline constexpr double kRecallConfidence = 0.95;

/// Lower bound of the recall of a threshold that finds `found` of `images`: exact, one-sided (Clopper and Pearson 1934). Because the
/// threshold is the probability of the found-th image, it is also the bound of Wilks (1941) for new images: the recall of an order
/// statistic of n independent images has the distribution Beta(found, images - found + 1), whatever the probabilities are.
double recall_at_least(int64_t found, int64_t images, double confidence = kRecallConfidence);

/// The fewest images with which a recall can be shown: when all are found, recall^n <= 1 - confidence.
int64_t images_to_show(double recall, double confidence = kRecallConfidence);

/// How many of `images` have to be found: at least the share `recall`; with a confidence so many that recall_at_least() >= recall. Nothing
/// where even all of them are too few.
std::optional<int64_t> images_to_find(int64_t images, double recall, std::optional<double> confidence);

/// The highest threshold that finds `count` of the images: the count-th largest of their `probabilities`. 1 <= count <= their number.
double highest_threshold(std::vector<double> probabilities, int64_t count);

}  // namespace dinoxx::eval
