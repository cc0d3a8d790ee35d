#include "json_text.hpp"

#include <nlohmann/json.hpp>

#include "utf8.hpp"

namespace dinoxx {
namespace {

using nlohmann::json;

std::string writable(const std::string& text) {
  return is_utf8(text) ? text : escaped(text);
}

/// A copy whose strings are all UTF-8.
json with_writable_strings(const json& value) {
  if (value.is_string()) return writable(value.get_ref<const std::string&>());
  if (value.is_array()) {
    json out = json::array();
    for (const json& item : value) out.push_back(with_writable_strings(item));
    return out;
  }
  if (value.is_object()) {
    json out = json::object();
    for (const auto& [name, item] : value.items()) out[writable(name)] = with_writable_strings(item);
    return out;
  }
  return value;
}

}  // namespace

std::string json_text(const json& value, int indent) {
  try {
    return value.dump(indent);
  } catch (const json::type_error&) {  // a string is no UTF-8
    return with_writable_strings(value).dump(indent);
  }
}

}  // namespace dinoxx
