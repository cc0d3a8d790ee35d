#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "dinoxx/comm/communicator.hpp"
#include "eval/features/model_source.hpp"

/// Is the same place of a thing found again in another image? Patches are matched by the cosine of their features alone, nothing is
/// trained. PCK: share of key points found within a share of a reference length (Yang and Ramanan 2013).
namespace dinoxx::eval {

inline constexpr std::array<double, 3> kPckShares{0.05, 0.1, 0.2};

/// Counts of key points: sums over any images add up.
struct PointTally {
  double points = 0, mutual = 0;  ///< mutual: the patch found has, of all patches of the first, the asked one as its nearest
  std::array<double, 3> right{}, mutual_right{};  ///< within kPckShares
  std::array<double, 3> best{}, chance{};         ///< by the patch whose centre is nearest to the truth; by any patch
  static constexpr int64_t kNumbers = 2 + 4 * 3;
  void write(double* row) const;
  /// Adds a written one `times` times.
  void add(const double* row, double times = 1);
};
/// {"points", "pck", "mutual": {"share", "pck"}, "best_of_grid", "chance"}: each of pck, best_of_grid and chance {"0.05", "0.1", "0.2"},
/// null without points.
nlohmann::json tally_json(const PointTally& tally);

/// Features [rows * columns, D] of the patches of an image of width x height, in whatever unit the key points have.
struct PatchMap {
  at::Tensor features;
  int64_t rows = 0, columns = 0;
  double width = 0, height = 0;
};
/// A place in the first image and the same place in the second; (0, 0) is the upper left corner.
struct KeyPoint {
  double x = 0, y = 0, to_x = 0, to_y = 0;
};
/// A point is asked for by the patch that it lies in and answered by the centre of the most similar patch (equal: the earlier). `reference`
/// is the length that kPckShares are of.
PointTally match_points(const PatchMap& first, const PatchMap& second, std::span<const KeyPoint> points, double reference);

/// (x, y) -> (a x + b y + c, d x + e y + f)
struct Warp {
  double a = 1, b = 0, c = 0, d = 0, e = 1, f = 0;
  std::pair<double, double> operator()(double x, double y) const { return {a * x + b * y + c, d * x + e * y + f}; }
  Warp inverse() const;
};
/// Of an image of size x size, about its centre: turned by up to 30 degrees, scaled by 0.8 to 1.25, stretched by up to 10 %, shifted by up
/// to a tenth of the side. A function of (seed, id).
Warp draw_warp(uint64_t seed, uint64_t id, double size);
/// [3, S, S] float32 -> the image after the warp, bilinear, 0 (the mean colour) where the image does not reach.
at::Tensor warped_image(const at::Tensor& image, const Warp& warp);
/// Centres of the patches of a size x size image with `asked` (of every cell; empty: all) whose place after the warp is inside the
/// image by half a patch.
std::vector<KeyPoint> warp_points(const Warp& warp, int64_t side, double size, std::span<const uint8_t> asked = {});

struct MatchOptions : NetworkRun {
  std::filesystem::path pairs, images, out;  ///< a list of pairs; the folder that its names are in; where results.json goes
  std::vector<std::string> baselines{"untrained", "raw"};
  uint64_t seed = 0;  ///< of resamples
};
/// PCK on pairs of images with known points. The list is JSON: [{"first": FILE, "second": FILE, "points": [[x, y, x2, y2], ...], "box":
/// [x, y, width, height]}] in pixels of the files; the reference length is the longer side of the box (of the thing in the second
/// image), without a box of the second image. Writes out/results.json, equal at any number of ranks but for its "run". Returns it on
/// every rank. UsageError for a list that is not of this form, images that are missing, points outside their image. Collective.
nlohmann::json match_pairs(const MatchOptions& options, Communicator& comm);
/// Lines for the terminal: one for each of `results`, as in results.json.
std::string match_table(const nlohmann::json& results);

}  // namespace dinoxx::eval
