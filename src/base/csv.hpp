#pragma once
#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace dinoxx {

/// A field of a CSV, quoted where it must be (RFC 4180).
std::string csv_field(const std::string& text);
/// The fields as one line of a CSV, with its line break.
std::string csv_row(std::span<const std::string> fields);

/// Rows of an RFC 4180 text (quotes, doubled quotes, line breaks inside quotes, CRLF, byte order mark). Empty lines are left out; line[i]
/// is the line where row i begins. UsageError for an open quote or text after a closing one; `path` is
/// what it names.
struct CsvTable {
  std::vector<std::vector<std::string>> rows;
  std::vector<size_t> line;
};
CsvTable parse_csv(const std::string& text, const std::string& path);

}  // namespace dinoxx
