#pragma once
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

}  // namespace dinoxx
