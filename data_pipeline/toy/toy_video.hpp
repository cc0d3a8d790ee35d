#pragma once
#include <cstdint>
#include <filesystem>
#include <vector>

#include "data_pipeline/codec/label_image.hpp"
#include "dinoxx/data_pipeline/image.hpp"

namespace dinoxx {

struct ToyVideoOptions {
  int width = 128, height = 96, frames = 24;  ///< 32 to 4096 pixels a side, at least two frames
  int objects = 2;                            ///< 1 to 8; a later one passes in front of an earlier one
  uint64_t seed = 0;
};

struct ToyVideo {
  std::vector<Image> frames;
  std::vector<LabelImage> masks;  ///< 0 = ground, 1, 2, ... = objects
};

/// A short film whose truth is known: discs and squares, each with a texture and a tint of its own that move with it along a straight line
/// inside the picture, over a textured ground that stands still. A pure function of (options, index). UsageError for options out of range.
ToyVideo draw_toy_video(const ToyVideoOptions& options, uint64_t index);

/// `count` of them as files, in the layout of DAVIS: folder/frames/toy_00/00000.png and folder/masks/toy_00/00000.png.
void write_toy_videos(const std::filesystem::path& folder, int count, const ToyVideoOptions& options);

}  // namespace dinoxx
