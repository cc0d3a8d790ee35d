#pragma once
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "eval/features/features.hpp"

// What of a network is taken as the feature of an image.
namespace dinoxx::eval {

struct Readout {
  int stages = 0;  ///< 0: the feature of the network (CLS, or what takes its place); else the maps of so many last stages (last_stages.hpp)
  int grid = 1;    ///< each map averaged over grid x grid cells
  std::optional<double> whiten;  ///< the shrinkage of fit_whitening(); nothing: not whitened

  bool plain() const { return stages == 0 && !whiten; }
};

/// Not more than this may be asked for.
inline constexpr int kLargestGrid = 16;
/// Widest features that are whitened: the covariance has the square of it.
inline constexpr int64_t kWidestWhitened = 8192;

/// UsageError naming the option: a grid without stages, a share outside (0, 1], less than nothing.
void check_readout(const Readout& readout);

/// "CLS feature", "last 3 stages, each averaged over 2 x 2 cells, whitened (shrinkage 0.3)".
std::string describe(const Readout& readout);
/// {"stages", "grid", "whiten"}; null for a plain one.
nlohmann::json to_json(const Readout& readout);
/// Back from there. nlohmann's exceptions for another object.
Readout readout_from_json(const nlohmann::json& object);

/// `embedder` of a network with the maps in place of its feature: for each stage, the earliest first, CLS (of a ViT) and the grid's cells
/// row by row, each of the two divided by its L2 norm, so that stages of different scales count the same. Without stages it comes back as
/// it is; whitening is learned from features (whitening.hpp). `side`: of the images, by which the width is found. UsageError: more stages
/// than the network has, cells smaller than a position of a map, features too wide to be whitened.
Embedder read_stages(Embedder embedder, const Readout& readout, int side);

}  // namespace dinoxx::eval
