#pragma once
#include <string>
#include <string_view>

namespace dinoxx {

/// Bytes of the UTF-8 character that begins at text[at] (RFC 3629: no overlong forms, no surrogates, nothing beyond U+10FFFF); 0 when none
/// does.
size_t utf8_length(std::string_view text, size_t at);

/// Whether the bytes are well-formed UTF-8.
bool is_utf8(std::string_view text);

/// `text` with every control character (ASCII's, U+0080 to U+009F, and those that turn the direction of writing) as "\x1b" and the like, so
/// that what comes from a stranger's file cannot steer a terminal. Lines and tabulators stay where `lines` says so.
std::string without_controls(std::string_view text, bool lines = false);

/// `text` if it is UTF-8, otherwise with every other byte than ASCII as '?', without control characters: for messages.
std::string printable(std::string_view text);

/// Any bytes as UTF-8 text without control characters, so that unescaped() gives the bytes back: what is neither becomes \xHH, and a
/// backslash before x and two hexadecimal digits becomes \x5c. Other text stays as it is.
std::string escaped(std::string_view bytes);
std::string unescaped(std::string_view text);

}  // namespace dinoxx
