#pragma once
#include <set>
#include <string>
#include <vector>

namespace dinoxx::report {

/// A table for a terminal: columns as wide as their widest cell, in characters.
class TextTable {
 public:
  explicit TextTable(std::vector<std::string> heading) : rows_{std::move(heading)} {}
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  /// `left`: columns whose cells stand on the left; the others on the right.
  std::string text(const std::set<size_t>& left) const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace dinoxx::report
