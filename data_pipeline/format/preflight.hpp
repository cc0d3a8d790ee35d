#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "dinoxx/data_pipeline/dataset.hpp"
#include "manifest.hpp"

namespace dinoxx {

/// What a person should know of a data set before training on it or scoring with it.
struct Preflight {
  std::string text;                   ///< for the terminal, several lines
  std::vector<std::string> warnings;  ///< what will make numbers wrong or mean less; one line each
};

/// Splits by class, groups and copies on several sides, bit depth against the values used, inputs left out by reason and class, names that
/// may be mistakes, classes that a split lacks. Reads no image.
Preflight preflight(const Dataset& set, const Manifest& manifest);

/// Images that are in a set, or will be.
struct ImagesToExamine {
  uint64_t count = 0;
  bool has_groups = false;
  std::function<SampleMeta(uint64_t)> meta;
  std::function<std::string(uint64_t)> key;
  std::function<std::array<uint64_t, 2>(uint64_t)> content;  ///< hash of the pixels; zeros where it is not known
  std::function<int32_t(uint64_t, size_t)> label;            ///< of an image in a label column
};
/// The warnings that are known before an image is packed: classes that a split lacks, groups and copies on several sides, names that may be
/// mistakes. `manifest` has the label columns and counts.
std::vector<std::string> warnings_of_plan(const ImagesToExamine& images, const Manifest& manifest);

}  // namespace dinoxx
