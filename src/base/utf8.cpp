#include "utf8.hpp"

#include <fmt/format.h>

#include <cctype>

namespace dinoxx {
namespace {

bool is_control(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
}

/// Whether \xHH stands at text[at].
bool is_escape(std::string_view text, size_t at) {
  return at + 3 < text.size() && text[at] == '\\' && text[at + 1] == 'x' && std::isxdigit(static_cast<unsigned char>(text[at + 2])) != 0 &&
         std::isxdigit(static_cast<unsigned char>(text[at + 3])) != 0;
}

}  // namespace

size_t utf8_length(std::string_view text, size_t at) {
  const auto byte = [&](size_t k) { return at + k < text.size() ? static_cast<unsigned char>(text[at + k]) : 0u; };
  const auto follows = [&](size_t k) { return (byte(k) & 0xC0u) == 0x80u; };
  if (at >= text.size()) return 0;
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return follows(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF)
    return follows(1) && follows(2) && !(first == 0xE0 && byte(1) < 0xA0) && !(first == 0xED && byte(1) > 0x9F) ? 3 : 0;
  if (first >= 0xF0 && first <= 0xF4)
    return follows(1) && follows(2) && follows(3) && !(first == 0xF0 && byte(1) < 0x90) && !(first == 0xF4 && byte(1) > 0x8F) ? 4 : 0;
  return 0;
}

bool is_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const size_t length = utf8_length(text, i);
    if (length == 0) return false;
    i += length;
  }
  return true;
}

std::string without_controls(std::string_view text, bool lines) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto at = [&](size_t k) { return i + k < text.size() ? static_cast<unsigned char>(text[i + k]) : 0u; };
    size_t bytes = 0;  // of a control character
    if (at(0) < 0x20 || at(0) == 0x7F)
      bytes = lines && (text[i] == '\n' || text[i] == '\t') ? 0 : 1;
    else if (at(0) == 0xC2 && at(1) >= 0x80 && at(1) <= 0x9F)
      bytes = 2;
    else if (at(0) == 0xE2 && ((at(1) == 0x80 && at(2) >= 0xAA && at(2) <= 0xAE) || (at(1) == 0x81 && at(2) >= 0xA6 && at(2) <= 0xA9)))
      bytes = 3;
    if (bytes == 0) result += text[i];
    constexpr std::string_view digits = "0123456789abcdef";
    for (size_t k = 0; k < bytes; ++k) result.append({'\\', 'x', digits[at(k) >> 4], digits[at(k) & 15]});
    if (bytes > 1) i += bytes - 1;
  }
  return result;
}

std::string printable(std::string_view text) {
  std::string result(text);
  if (!is_utf8(text))
    for (char& c : result)
      if (static_cast<unsigned char>(c) >= 0x80) c = '?';
  return without_controls(result);
}

std::string escaped(std::string_view bytes) {
  std::string out;
  for (size_t i = 0; i < bytes.size();) {
    const size_t length = utf8_length(bytes, i);
    if (length == 0 || is_control(bytes[i]) || is_escape(bytes, i)) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(bytes[i++]));
    } else {
      out += bytes.substr(i, length);
      i += length;
    }
  }
  return out;
}

std::string unescaped(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    if (is_escape(text, i)) {
      out += static_cast<char>(std::stoi(std::string(text.substr(i + 2, 2)), nullptr, 16));
      i += 4;
    } else {
      out += text[i++];
    }
  }
  return out;
}

}  // namespace dinoxx
