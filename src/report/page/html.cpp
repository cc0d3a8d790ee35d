#include "html.hpp"

#include <fmt/format.h>

#include "style.hpp"

namespace dinoxx::report {
namespace {

// Length of the UTF-8 sequence at `at`, 0 when there is none: overlong forms, surrogates and what lies behind U+10FFFF are none.
size_t utf8_length(std::string_view s, size_t at) {
  const auto byte = [&](size_t i) { return at + i < s.size() ? static_cast<unsigned char>(s[at + i]) : 0u; };
  const auto tail = [&](size_t i) { return (byte(i) & 0xC0u) == 0x80u; };
  const unsigned first = byte(0), second = byte(1);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first < 0xE0) return tail(1) ? 2 : 0;
  if (first >= 0xE0 && first < 0xF0) {
    if ((first == 0xE0 && second < 0xA0) || (first == 0xED && second >= 0xA0)) return 0;
    return tail(1) && tail(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first < 0xF5) {
    if ((first == 0xF0 && second < 0x90) || (first == 0xF4 && second >= 0x90)) return 0;
    return tail(1) && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

}  // namespace

Html text(std::string_view text) {
  Html html;
  for (size_t at = 0; at < text.size();) {
    const size_t length = utf8_length(text, at);
    const char c = text[at];
    const bool control = length == 1 && (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) && c != '\n' && c != '\t';
    const bool control2 = length == 2 && c == '\xC2' && static_cast<unsigned char>(text[at + 1]) < 0xA0;
    if (length == 0 || control || control2) {
      html.code += "\xEF\xBF\xBD";
    } else if (c == '&') {
      html.code += "&amp;";
    } else if (c == '<') {
      html.code += "&lt;";
    } else if (c == '>') {
      html.code += "&gt;";
    } else if (c == '"') {
      html.code += "&quot;";
    } else if (c == '\'') {
      html.code += "&#39;";
    } else {
      html.code += text.substr(at, length);
    }
    at += length == 0 ? 1 : length;
  }
  return html;
}

Html element(std::string_view tag, const Html& body, std::string_view attributes) {
  return {fmt::format("<{}{}{}>{}</{}>", tag, attributes.empty() ? "" : " ", attributes, body.code, tag)};
}

Html paragraph(std::string_view words) {
  return element("p", text(words));
}

Html list(const std::vector<Html>& items) {
  Html html;
  for (const Html& item : items) html += element("li", item);
  return element("ul", html);
}

Html details(std::string_view summary, const Html& body) {
  return element("details", element("summary", text(summary)) + body);
}

Cell words(std::string_view words) {
  return {text(words), false, ""};
}

Cell number(std::string_view number) {
  return {text(number), true, ""};
}

Cell number(std::string_view number, std::string_view why) {
  if (why.empty()) return report::number(number);
  return {element("abbr", text(number), fmt::format("title=\"{}\"", text(why).code)), true, ""};
}

Table::Table(std::string_view caption, const std::vector<std::string>& headings) {
  head_ = element("caption", text(caption));
  Html row;
  for (const std::string& heading : headings) row += element("th", text(heading), "scope=\"col\"");
  head_ += element("thead", element("tr", row));
}

void Table::add(const std::vector<Cell>& cells) {
  Html row;
  for (size_t i = 0; i < cells.size(); ++i) {
    std::string css = cells[i].css;
    if (cells[i].number) css += css.empty() ? "n" : " n";
    std::string attributes = i == 0 ? "scope=\"row\"" : "";
    if (!css.empty()) attributes += fmt::format("{}class=\"{}\"", attributes.empty() ? "" : " ", css);
    row += element(i == 0 ? "th" : "td", cells[i].body, attributes);
  }
  body_ += element("tr", row) + Html{"\n"};
  ++rows_;
}

Html Table::html() const {
  // focusable, so that a keyboard can scroll it
  return element("div", element("table", head_ + element("tbody", body_)), "class=\"scroll\" tabindex=\"0\"") + Html{"\n"};
}

Html facts(std::string_view caption, const std::vector<std::pair<std::string, Html>>& rows) {
  Html body;
  for (const auto& [what, value] : rows)
    body += element("tr", element("th", text(what), "scope=\"row\"") + element("td", value)) + Html{"\n"};
  return element("div", element("table", element("caption", text(caption)) + element("tbody", body), "class=\"facts\""),
                 "class=\"scroll\" tabindex=\"0\"");
}

Page::Page(std::string_view title, std::string_view subtitle) : title_(title), subtitle_(subtitle) {}

void Page::section(std::string_view id, std::string_view heading, const Html& body) {
  contents_ += element("li", element("a", text(heading), fmt::format("href=\"#{}\"", id)));
  sections_ += element("section", element("h2", text(heading), fmt::format("id=\"{}\"", id)) + Html{"\n"} + body,
                       fmt::format("aria-labelledby=\"{}\"", id)) +
               Html{"\n"};
}

std::string Page::html() const {
  // The policy lets a browser itself refuse whatever is not in this file.
  const Html head{
      "<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n"};
  const Html body = element("header", element("h1", text(title_)) + element("p", text(subtitle_))) + Html{"\n"} +
                    element("nav", element("ul", contents_), "aria-label=\"Contents\"") + Html{"\n"} +
                    element("main", Html{"\n"} + sections_);
  return "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n" + head.code + element("title", text(title_)).code + "\n<style>" + kStyle +
         "</style>\n</head>\n<body>\n" + body.code + "\n</body>\n</html>\n";
}

}  // namespace dinoxx::report
