#pragma once
#include <span>
#include <string>

namespace dinoxx {

/// A field of a CSV, quoted where it must be (RFC 4180).
std::string csv_field(const std::string& text);
/// The fields as one line of a CSV, with its line break.
std::string csv_row(std::span<const std::string> fields);

}  // namespace dinoxx
