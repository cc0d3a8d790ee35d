#pragma once

#include <filesystem>

namespace dinoxx {

// The checkout that this test was built from. The path stands in one object file (source_dir.cpp), so that the compiler's cache serves all others
// to every checkout.
std::filesystem::path source_dir();

// Values and small files that the scripts beside the golden tests have made.
inline std::filesystem::path golden_dir() { return source_dir() / "tests" / "golden" / "data"; }

}  // namespace dinoxx
