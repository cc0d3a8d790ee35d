#include "needed_images.hpp"

#include <fmt/format.h>

namespace dinoxx {

std::string needed_images_text(const nlohmann::json& row, const nlohmann::json& target) {
  const auto number = [&](const char* key) { return row.is_object() ? row.value(key, nlohmann::json()) : nlohmann::json(); };
  const nlohmann::json now = number("recall"), enough = number("enough"), not_enough = number("not_enough");
  if (target.is_number() && now.is_number() && now.get<double>() >= target.get<double>()) return "reached";
  if (enough.is_number()) return fmt::format("{} images are enough", enough.get<double>());
  if (not_enough.is_number()) return fmt::format("{} images are not enough", not_enough.get<double>());
  return "cannot be told";
}

}  // namespace dinoxx
