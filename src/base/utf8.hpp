#pragma once
#include <string>
#include <string_view>

namespace dinoxx {

/// Whether the bytes are well-formed UTF-8 (RFC 3629: no overlong forms, no surrogates, nothing beyond U+10FFFF).
inline bool is_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto at = [&](size_t k) { return i + k < text.size() ? static_cast<unsigned char>(text[i + k]) : 0u; };
    const auto follows = [&](size_t k) { return (at(k) & 0xC0u) == 0x80u; };
    const unsigned first = at(0);
    if (first < 0x80) {
      i += 1;
    } else if (first >= 0xC2 && first <= 0xDF && follows(1)) {
      i += 2;
    } else if (first >= 0xE0 && first <= 0xEF && follows(1) && follows(2) && !(first == 0xE0 && at(1) < 0xA0) &&
               !(first == 0xED && at(1) > 0x9F)) {
      i += 3;
    } else if (first >= 0xF0 && first <= 0xF4 && follows(1) && follows(2) && follows(3) && !(first == 0xF0 && at(1) < 0x90) &&
               !(first == 0xF4 && at(1) > 0x8F)) {
      i += 4;
    } else {
      return false;
    }
  }
  return true;
}

/// `text` with every control character (ASCII's, U+0080 to U+009F, and those that turn the direction of writing) as "\x1b" and the like, so
/// that what comes from a stranger's file cannot steer a terminal. Lines and tabulators stay where `lines` says so.
inline std::string without_controls(std::string_view text, bool lines = false) {
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

/// `text` if it is UTF-8, otherwise with every other byte than ASCII as '?', without control characters: for messages and JSON.
inline std::string printable(std::string_view text) {
  std::string result(text);
  if (!is_utf8(text))
    for (char& c : result)
      if (static_cast<unsigned char>(c) >= 0x80) c = '?';
  return without_controls(result);
}

}  // namespace dinoxx
