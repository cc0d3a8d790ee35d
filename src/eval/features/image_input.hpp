#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "base/normalization.hpp"
#include "model/backbones/backbone.hpp"

// Images from files as input of a network, whatever their size.
namespace dinoxx::eval {

/// A whole image with both sides at multiples of what a network takes.
struct InputImage {
  at::Tensor pixels;          ///< [3, H, W] uint8
  int width = 0, height = 0;  ///< of the file
};

/// Sides of a network's input are multiples of this: the patch, or the stride of a convolutional network.
int input_multiple(const BackboneConfig& config);

/// Resized (bicubic) so that its short side is `size` (0: as in the file), then both sides rounded to the nearest multiple. Error with the
/// path for what cannot be read or decoded.
InputImage read_input_image(const std::filesystem::path& path, int size, int multiple);

/// [1, 3, H, W] float32 of pixels [3, H, W] uint8, by the network's own normalisation (LoadedModel::normalization).
at::Tensor network_input(const at::Tensor& pixels, const Normalization& normalization);

std::span<const uint8_t> as_bytes(const std::string& text);

}  // namespace dinoxx::eval
