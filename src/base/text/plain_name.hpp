#pragma once
#include <string>
#include <string_view>

namespace dinoxx {

/// What two names have in common that a person would take for one: without blanks, hyphens and underscores, in lower case, and accented
/// letters in one of the two ways in which Unicode writes them (macOS gives file names with the mark behind the letter, most others as one
/// character). The name itself where nothing else is left. Bytes that are no UTF-8 stay as they are.
std::string plain_name(std::string_view name);

}  // namespace dinoxx
