#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "dinoxx/data_pipeline/dataset.hpp"
#include "dinoxx/data_pipeline/image.hpp"

namespace dinoxx {

struct ToyOptions {
  std::string name = "textures";  ///< or "scenes"
  uint64_t count = 6000;          ///< images in total; a tenth each goes to val and test
  uint64_t seed = 0;
  int size = 32;            ///< pixels, square; 8 to 4096
  double imbalance = 10.0;  ///< first class of train has so many times the images of the last
};

struct ToyImage {
  Image image;
  std::vector<uint8_t> mask;  ///< [size, size], 255 = object, 0 = background
};

/// A self-drawn, long-tailed image set that a small network can learn in minutes and raw pixels cannot solve. What does not belong to the
/// class (phase, orientation, inversion, wavelength, noise) is drawn anew for each image. Class c of C keeps a share of
/// imbalance^(-c/(C-1)) in train; val and test are balanced. Everything is a pure function of (options, index).
///
/// - "textures": one textured object of random outline, nine tenths of the image, on noise; the class is the kind of texture. What could
/// serve as an image's name
///   (brightness, contrast, tint, background) is equal in all of them, because the crops of one image would be matched by it and no texture
///   learned.
/// - "scenes": one coloured object anywhere, 15 to 45 % of the image, on a background with a gradient and a texture of its own, beside up
/// to two small blobs; the
///   class is texture and shape together (toy_scenes.hpp).
class ToySet {
 public:
  /// UsageError for an unknown name, a size out of range, or fewer images than 10 per class.
  explicit ToySet(ToyOptions options);

  uint64_t size() const { return entries_.size(); }
  const std::vector<std::string>& class_names() const { return class_names_; }
  int label(uint64_t index) const { return entries_[index].label; }
  Split split(uint64_t index) const { return entries_[index].split; }
  /// "train/stripes/000012.png"
  std::string key(uint64_t index) const;
  /// Thread-safe.
  ToyImage draw(uint64_t index) const;

 private:
  struct Entry {
    int16_t label;
    Split split;
    uint32_t number;  ///< within its split and class
  };
  ToyOptions options_;
  std::vector<std::string> class_names_;
  std::vector<Entry> entries_;
};

}  // namespace dinoxx
