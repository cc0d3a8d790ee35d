#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace dinoxx {

/// A JSON object from a file that nobody has checked. Beyond nlohmann::json::parse it refuses a name twice in one object (which would
/// keep the last), nesting deeper than four, arrays of more than 64 values and more than a million names, all while parsing, so that the
/// memory stays within a small multiple of the text. Error names `subject`; `advice` ends it.
nlohmann::json parse_strict_json(const std::string& subject, std::string_view text, std::string_view advice);

/// The beginning of a value's text, for a message; safe for strings that are not UTF-8.
std::string excerpt(const nlohmann::json& value);

}  // namespace dinoxx
