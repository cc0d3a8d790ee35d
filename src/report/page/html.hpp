#pragma once
#include <string>
#include <string_view>
#include <vector>

/// Pages that stand alone: no script, no resource from anywhere, read by a person, a screen reader or a printer.
namespace dinoxx::report {

/// Markup. Text gets into it through text() alone, so that nothing from data can become markup.
struct Html {
  std::string code;
  Html& operator+=(const Html& more) {
    code += more.code;
    return *this;
  }
  friend Html operator+(Html first, const Html& second) { return first += second; }
};

/// Text as it is to be read, also inside a quoted attribute. Bytes that are no UTF-8 and control characters become U+FFFD.
Html text(std::string_view text);

/// <tag attributes>body</tag>; `attributes` is markup of the program's own.
Html element(std::string_view tag, const Html& body, std::string_view attributes = "");
Html paragraph(std::string_view words);
Html list(const std::vector<Html>& items);
/// Folded away until asked for; print shows the summary.
Html details(std::string_view summary, const Html& body);

struct Cell {
  Html body;
  bool number = false;  ///< aligned to the right, digits of equal width
  std::string css;      ///< classes of the style sheet
};
Cell words(std::string_view words);
Cell number(std::string_view number);
Cell number(std::string_view number, std::string_view why);  ///< `why`: shown on hover and read aloud when there is no number

/// A table with a caption and headings, scrolled sideways by itself when it is wider than the page.
class Table {
 public:
  explicit Table(std::string_view caption, const std::vector<std::string>& headings);
  /// The first cell is the row's heading.
  void add(const std::vector<Cell>& cells);
  bool empty() const { return rows_ == 0; }
  Html html() const;

 private:
  Html head_, body_;
  size_t rows_ = 0;
};
/// Two columns: what, and what it is.
Html facts(std::string_view caption, const std::vector<std::pair<std::string, Html>>& rows);

class Page {
 public:
  Page(std::string_view title, std::string_view subtitle);
  void section(std::string_view id, std::string_view heading, const Html& body);
  std::string html() const;

 private:
  std::string title_, subtitle_;
  Html contents_, sections_;
};

}  // namespace dinoxx::report
