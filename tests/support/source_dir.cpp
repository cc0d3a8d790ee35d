#include "source_dir.hpp"

namespace dinoxx {

std::filesystem::path source_dir() { return DINOXX_SOURCE_DIR; }

}  // namespace dinoxx
