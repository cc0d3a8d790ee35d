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

/// `text` if it is UTF-8, otherwise with every other byte than ASCII as '?': for messages and JSON.
inline std::string printable(std::string_view text) {
  std::string result(text);
  if (!is_utf8(text))
    for (char& c : result)
      if (static_cast<unsigned char>(c) >= 0x80) c = '?';
  return result;
}

}  // namespace dinoxx
