#include "plain_name.hpp"

#include <algorithm>
#include <cctype>
#include <iterator>

#include "base/utf8.hpp"
#include "canonical_pairs.hpp"

namespace dinoxx {
namespace {

uint32_t character_at(std::string_view text, size_t length) {
  if (length == 1) return static_cast<unsigned char>(text[0]);
  uint32_t c = static_cast<unsigned char>(text[0]) & (0xFFu >> (length + 1));
  for (size_t i = 1; i < length; ++i) c = (c << 6) | (static_cast<unsigned char>(text[i]) & 0x3Fu);
  return c;
}

/// Of a capital letter its small one: the ranges of Unicode's case folding whose letters stand at one distance (Latin-1, Greek, Cyrillic,
/// Armenian, full width) or alternate (extended Latin and Cyrillic). Others stay.
uint32_t small_letter(uint32_t c) {
  struct Range {
    uint32_t first, last, distance;
  };
  constexpr Range kShifted[] = {{0xC0, 0xD6, 32},   {0xD8, 0xDE, 32},   {0x391, 0x3A1, 32}, {0x3A3, 0x3AB, 32},
                                {0x400, 0x40F, 80}, {0x410, 0x42F, 32}, {0x531, 0x556, 48}, {0xFF21, 0xFF3A, 32}};
  for (const Range& range : kShifted)
    if (c >= range.first && c <= range.last) return c + range.distance;
  constexpr Range kEven[] = {{0x100, 0x137, 0}, {0x14A, 0x177, 0}, {0x460, 0x481, 0},
                             {0x48A, 0x4BF, 0}, {0x4D0, 0x52F, 0}, {0x1E00, 0x1E95, 0}};
  for (const Range& range : kEven)
    if (c >= range.first && c <= range.last && c != 0x130 && c != 0x131) return c | 1;
  constexpr Range kOdd[] = {{0x139, 0x148, 0}, {0x179, 0x17E, 0}, {0x4C1, 0x4CE, 0}};
  for (const Range& range : kOdd)
    if (c >= range.first && c <= range.last) return c + (c & 1);
  return c == 0x3C2 ? 0x3C3 : c;  // the Greek sigma at a word's end
}

/// A letter, small; those that stand for several as these.
void append(std::string& out, uint32_t c) {
  if (c == 0xDF || c == 0x1E9E) return append(out, 's'), append(out, 's');
  if (c == 0xFB01 || c == 0xFB02) return append(out, 'f'), append(out, c == 0xFB01 ? 'i' : 'l');
  c = small_letter(c);
  if (c < 0x80) {
    out += static_cast<char>(std::tolower(static_cast<int>(c)));
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | (c >> 6));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xE0 | (c >> 12));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

/// A letter, then its marks.
void append_apart(std::string& out, uint32_t c) {
  constexpr uint32_t kSyllables = 0xAC00, kLast = 0xD7A3, kMiddle = 21, kEnds = 28;  // Unicode 15, 3.12: Hangul
  if (c >= kSyllables && c <= kLast) {
    const uint32_t index = c - kSyllables, end = index % kEnds;
    append(out, 0x1100 + index / (kMiddle * kEnds));
    append(out, 0x1161 + index / kEnds % kMiddle);
    if (end > 0) append(out, 0x11A7 + end);
    return;
  }
  const auto* const pair = std::lower_bound(std::begin(kCanonicalPairs), std::end(kCanonicalPairs), c,
                                            [](const CanonicalPair& p, uint32_t wanted) { return p.composed < wanted; });
  if (pair == std::end(kCanonicalPairs) || pair->composed != c) return append(out, c);
  append_apart(out, pair->first);
  append_apart(out, pair->second);
}

}  // namespace

std::string plain_name(std::string_view name) {
  std::string plain;
  for (size_t i = 0; i < name.size();) {
    const size_t length = std::max<size_t>(utf8_length(name, i), 1);
    const std::string_view one = name.substr(i, length);
    i += length;
    if (length == 1) {
      const auto c = static_cast<unsigned char>(one[0]);
      if (std::isspace(c) || c == '-' || c == '_') continue;
      plain += static_cast<char>(c < 0x80 ? std::tolower(c) : c);
    } else if (length > 3) {
      plain += one;
    } else {
      append_apart(plain, character_at(one, length));
    }
  }
  return plain.empty() ? std::string(name) : plain;
}

}  // namespace dinoxx
