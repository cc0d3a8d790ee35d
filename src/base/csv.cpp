#include "csv.hpp"

#include <fmt/format.h>

#include "dinoxx/base/error.hpp"

namespace dinoxx {

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + '"';
}

std::string csv_row(std::span<const std::string> fields) {
  std::string line;
  for (size_t i = 0; i < fields.size(); ++i) line += (i > 0 ? "," : "") + csv_field(fields[i]);
  return line + "\n";
}

CsvTable parse_csv(const std::string& text, const std::string& path) {
  CsvTable table;
  size_t at = text.starts_with("\xEF\xBB\xBF") ? 3 : 0;
  if (text.find('\n') == std::string::npos && text.find('\r') != std::string::npos)
    fail_usage(path, "lines that end with a line feed", "carriage returns alone", "Save the list with the line ends of Unix or Windows");
  size_t line = 1;
  std::vector<std::string> row;
  std::string field;
  bool quoted = false;  // this field began with a quote
  size_t row_line = 1;
  const auto end_field = [&] {
    row.push_back(std::move(field));
    field.clear();
    quoted = false;
  };
  const auto end_row = [&] {
    if (!row.empty() || !field.empty() || quoted) {
      end_field();
      table.rows.push_back(std::move(row));
      table.line.push_back(row_line);
      row.clear();
    }
    row_line = line;
  };
  while (at < text.size()) {
    const char c = text[at];
    if (c == '"' && field.empty() && !quoted) {
      quoted = true;
      const size_t opened = line;
      for (++at;; ++at) {
        if (at >= text.size())
          fail_usage(fmt::format("{}, line {}", path, opened), "a closing quote", "the end of the file", "Close the quote");
        if (text[at] == '\n') ++line;
        if (text[at] != '"') {
          field += text[at];
        } else if (at + 1 < text.size() && text[at + 1] == '"') {
          field += text[at++];
        } else {
          break;
        }
      }
      ++at;
      if (at < text.size() && text[at] != ',' && text[at] != '\r' && text[at] != '\n') {
        const bool other = text[at] == ';' || text[at] == '\t' || text[at] == '|';
        fail_usage(fmt::format("{}, line {}", path, line), "a comma after a closing quote",
                   text[at] == '\t' ? "a tab" : fmt::format("'{}'", text[at]),
                   other ? "Fields are separated by commas: save the list so" : "Double quotes inside quotes: \"\"");
      }
      continue;
    }
    if (c == ',') {
      end_field();
    } else if (c == '\n') {
      ++line;
      end_row();
    } else if (c != '\r' || (at + 1 < text.size() && text[at + 1] != '\n')) {
      field += c;
    }
    ++at;
  }
  end_row();
  return table;
}

}  // namespace dinoxx
