#include "subgroup_text.hpp"

#include <fmt/format.h>

namespace dinoxx {

std::string worst_subgroup_text(const nlohmann::json& by) {
  const auto found = by.find("worst");
  if (found == by.end() || !found->is_object())
    return fmt::format("no subgroup has {} test images, which it takes to call one the worst", kLeastOfSubgroup);
  const nlohmann::json& worst = *found;
  const auto percent = [&](const char* key) { return fmt::format("{:.2f} %", 100 * worst.value(key, 0.0)); };
  const bool below = worst.value("accuracy", 0.0) < worst.value("expected", 0.0) - 1e-9;
  return fmt::format("worst: {} with {}, where its classes lead to expect {}{}", worst.value("name", ""), percent("accuracy"),
                     percent("expected"),
                     !below                              ? ""
                     : worst.value("significant", false) ? "; this is more than chance (p below 0.05)"
                                                         : "; this may be chance");
}

}  // namespace dinoxx
