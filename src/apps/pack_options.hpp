#pragma once
#include <string>

#include "data_pipeline/pack/pack.hpp"

namespace dinoxx {

struct PackLine {
  PackOptions options;
  std::string help;  ///< set when help was asked for; then nothing else is
};

/// The line of "dinoxx pack". UsageError for an unknown option (with the nearest name), for none or several inputs and for values that are
/// out of range.
PackLine read_pack_line(int argc, char** argv);

}  // namespace dinoxx
