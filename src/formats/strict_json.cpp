#include "strict_json.hpp"

#include <fmt/format.h>

#include <unordered_set>
#include <vector>

#include "base/json_text.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

constexpr int max_depth = 4;
constexpr size_t max_array = 64;  // the longest array of these formats is a shape
constexpr size_t max_names = 1'000'000;

}  // namespace

nlohmann::json parse_strict_json(const std::string& subject, std::string_view text, std::string_view advice) {
  using json = nlohmann::json;
  struct Level {
    bool object;
    size_t values = 0;
    std::unordered_set<std::string> keys;
  };
  std::vector<Level> levels;
  std::string complaint;
  size_t names = 0;
  const auto count_value = [&] {
    if (!levels.empty() && !levels.back().object && ++levels.back().values > max_array)
      complaint = fmt::format("an array of more than {} values", max_array);
  };
  const json::parser_callback_t check = [&](int depth, json::parse_event_t event, json& value) {
    if (!complaint.empty()) return false;
    if (depth > max_depth) complaint = fmt::format("values nested more than {} deep", max_depth);
    switch (event) {
      case json::parse_event_t::object_start:
      case json::parse_event_t::array_start:
        count_value();
        levels.push_back({event == json::parse_event_t::object_start, 0, {}});
        break;
      case json::parse_event_t::object_end:
      case json::parse_event_t::array_end:
        if (!levels.empty()) levels.pop_back();
        break;
      case json::parse_event_t::value:
        count_value();
        break;
      case json::parse_event_t::key: {
        const std::string& name = value.get_ref<const std::string&>();
        if (++names > max_names) complaint = fmt::format("more than {} names", max_names);
        if (!levels.empty() && !levels.back().keys.insert(name).second)
          complaint = fmt::format("the name \"{}\" twice", name.substr(0, 200));
        break;
      }
    }
    return complaint.empty();
  };
  json result = json::parse(text, check, /*allow_exceptions=*/false);
  if (!complaint.empty()) fail(subject, "a plain JSON object with unique names", complaint, advice);
  if (!result.is_object()) fail(subject, "a JSON object", result.is_discarded() ? "text that is no JSON" : result.type_name(), advice);
  return result;
}

std::string excerpt(const nlohmann::json& value) {
  return json_text(value).substr(0, 80);
}

}  // namespace dinoxx
