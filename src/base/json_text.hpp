#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace dinoxx {

/// The text of a JSON value, on one line or, with `indent` >= 0, on several. It never fails: names and paths of the file system may hold
/// bytes that are no UTF-8, which JSON cannot; in such strings they are written as escaped() of utf8.hpp. All JSON that the program writes
/// goes through here (unit_layout holds that).
std::string json_text(const nlohmann::json& value, int indent = -1);

}  // namespace dinoxx
