#include "fact_values.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <stdexcept>

namespace dinoxx {

std::array<float, 3> parse_channels(std::string_view text) {
  std::array<float, 3> values{};
  size_t count = 0;
  const auto separates = [](char c) { return c == ',' || c == ' '; };
  while (true) {
    while (!text.empty() && separates(text.front())) text.remove_prefix(1);
    if (text.empty()) break;
    const auto length = static_cast<size_t>(std::find_if(text.begin(), text.end(), separates) - text.begin());
    float value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + length, value);
    if (count == 3 || error != std::errc() || end != text.data() + length || !std::isfinite(value))
      throw std::invalid_argument("three numbers with commas between them, or one for all channels");
    values[count++] = value;
    text.remove_prefix(length);
  }
  if (count == 1) values[1] = values[2] = values[0];
  if (count != 1 && count != 3) throw std::invalid_argument("three numbers with commas between them, or one for all channels");
  return values;
}

std::string channels_text(const std::array<float, 3>& values) {
  return fmt::format("{},{},{}", values[0], values[1], values[2]);
}

}  // namespace dinoxx
