#pragma once
#include <gmock/gmock.h>

#include <algorithm>
#include <regex>
#include <string>
#include <vector>

namespace dinoxx::report {

/// Why a page is not well formed: "" when every element is closed in order, attributes are quoted, and no bare < or & is left.
inline std::string not_well_formed(const std::string& page) {
  static const std::vector<std::string> kVoid{"meta", "img"};
  std::vector<std::string> open;
  bool style = false;
  for (size_t at = 0; at < page.size();) {
    if (style) {
      at = page.find("</style>", at);
      style = false;
      continue;
    }
    const char c = page[at];
    if (c == '&') {
      const size_t end = page.find(';', at);
      static const std::vector<std::string> kKnown{"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"};
      if (end == std::string::npos || std::find(kKnown.begin(), kKnown.end(), page.substr(at, end - at + 1)) == kKnown.end())
        return "a bare & at " + page.substr(at, 40);
      at = end + 1;
      continue;
    }
    if (c == '>') return "a bare > at " + page.substr(at, 40);
    if (c != '<') {
      ++at;
      continue;
    }
    static const std::regex kTag("<(!DOCTYPE html|/?[a-z][a-z0-9]*)((?: [a-zA-Z:-]+=\"[^\"<>]*\")*)( ?/)?>");
    std::smatch match;
    const std::string rest = page.substr(at, std::min<size_t>(page.size() - at, page.find('>', at) - at + 1));
    if (!std::regex_match(rest, match, kTag)) return "no tag: " + rest.substr(0, 200);
    const std::string name = match[1];
    at += rest.size();
    if (name[0] == '/') {
      if (open.empty() || open.back() != name.substr(1)) return "closes " + name + " inside " + (open.empty() ? "nothing" : open.back());
      open.pop_back();
    } else if (name[0] != '!' && !match[3].matched && std::find(kVoid.begin(), kVoid.end(), name) == kVoid.end()) {
      open.push_back(name);
      style = name == "style";
    }
  }
  return open.empty() ? "" : "not closed: " + open.back();
}

/// What a page would load or run; "" when nothing.
inline std::string not_self_contained(const std::string& page) {
  for (const char* part : {"<script", "<link", "<iframe", "<object", "<embed", "url(", "@import", "srcset=", " on"}) {
    const size_t at = page.find(part);
    if (at == std::string::npos) continue;
    if (std::string(part) == " on" && !std::regex_search(page, std::regex("<[^<>]* on[a-z]+=\""))) continue;
    return page.substr(at, 80);
  }
  static const std::regex kReference("(?:src|href|action|data|poster|background)=\"([^\"]*)\"");
  for (auto it = std::sregex_iterator(page.begin(), page.end(), kReference); it != std::sregex_iterator(); ++it) {
    const std::string to = (*it)[1];
    if (!to.starts_with("#") && !to.starts_with("data:image/png;base64,")) return to;
  }
  return "";
}

inline void expect_good_page(const std::string& page) {
  EXPECT_EQ(not_well_formed(page), "");
  EXPECT_EQ(not_self_contained(page), "");
  // each in-page link has its target, each heading cell its scope, each table a caption, each chart a title
  static const std::regex kLink("href=\"#([^\"]*)\"");
  for (auto it = std::sregex_iterator(page.begin(), page.end(), kLink); it != std::sregex_iterator(); ++it)
    EXPECT_NE(page.find("id=\"" + (*it)[1].str() + "\""), std::string::npos) << (*it)[1];
  EXPECT_FALSE(std::regex_search(page, std::regex("<th(?![^>]*scope=)[ >]")));
  EXPECT_FALSE(std::regex_search(page, std::regex("<table[^>]*>(?!<caption>)")));
  EXPECT_FALSE(std::regex_search(page, std::regex("<svg[^>]*role=\"img\"[^>]*>(?!<title>)")));
  EXPECT_FALSE(std::regex_search(page, std::regex("<img(?![^>]* alt=)")));
}

/// The text between a heading and the next section.
inline std::string section_of(const std::string& page, const std::string& id) {
  const size_t begin = page.find("id=\"" + id + "\"");
  return begin == std::string::npos ? "" : page.substr(begin, page.find("</section>", begin) - begin);
}

}  // namespace dinoxx::report
