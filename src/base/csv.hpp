#pragma once
#include <span>
#include <string>

namespace dinoxx {

/// The fields as one line of a CSV, with its line break; quoted where they must be (RFC 4180).
std::string csv_row(std::span<const std::string> fields);

}  // namespace dinoxx
