// What no section is written for: whatever the protocols say, as tables and lists.
#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <map>

#include "eval_sections.hpp"
#include "report/run/run_figures.hpp"

namespace dinoxx::report {
namespace {

using nlohmann::json;

constexpr size_t kColumns = 12, kRows = 40, kNumbers = 24;

bool is_interval(const json& value) {
  return elements(value).size() == 2 && value[0].is_number() && value[1].is_number();
}

// What no reader looks for in a table: reasons stand where a number is missing, single draws and folds are for comparisons of evaluations.
bool is_left_out(const std::string& key) {
  return key == "undefined" || key == "values";
}

// A number, a word or an interval: what fits into a cell.
bool fits_cell(const json& value) {
  return !value.is_structured() || is_interval(value);
}

Cell cell_of(const json& row, const std::string& key) {
  const json& value = at(row, {key.c_str()});
  if (value.is_null()) return number("–", row.contains(key) ? why_undefined(row, key.c_str()) : "");
  if (value.is_number_float()) return number(figure(value.get<double>()));
  if (value.is_number()) return number(figure(value.get<double>(), 9));
  if (is_interval(value)) return number(fmt::format("[{}, {}]", figure(value[0].get<double>()), figure(value[1].get<double>())));
  return {value_text(value), false, ""};
}

// What lies in a member that is an object itself, as members of its own: "cosine, median".
json flat(const json& object) {
  if (!object.is_object()) return object;
  json result = json::object();
  for (const auto& [name, member] : object.items()) {
    if (!member.is_object() || is_left_out(name)) {
      result[name] = member;
      continue;
    }
    for (const auto& [inner, value] : member.items())
      if (!is_left_out(inner)) result[name + ", " + inner] = value;
  }
  return result;
}

// Names of what the rows have, in the order of their first appearance; none when they are no table.
std::vector<std::string> columns_of(const std::vector<const json*>& rows) {
  std::vector<std::string> columns;
  for (const json* row : rows) {
    if (!row->is_object()) return {};
    for (const auto& [key, value] : row->items()) {
      if (is_left_out(key)) continue;
      if (!fits_cell(value)) return {};
      if (std::find(columns.begin(), columns.end(), key) == columns.end()) columns.push_back(key);
    }
  }
  // what a row is called comes first
  std::stable_partition(columns.begin(), columns.end(), [](const std::string& key) { return key == "name" || key == "class"; });
  return columns.size() > kColumns ? std::vector<std::string>{} : columns;
}

Html table_of(const std::string& caption, const std::string& heading, const std::vector<std::string>& columns,
              const std::vector<std::pair<std::string, const json*>>& rows) {
  std::vector<std::string> headings{heading};
  headings.insert(headings.end(), columns.begin(), columns.end());
  Table table(caption, headings);
  for (const auto& [name, row] : rows) {
    std::vector<Cell> cells{words(name)};
    for (const std::string& column : columns) cells.push_back(cell_of(*row, column));
    table.add(cells);
  }
  const Html html = table.html();
  return rows.size() > kRows ? details(fmt::format("{} ({} rows)", caption, rows.size()), html) : html;
}

Html generic(const std::string& caption, const json& value);

// The members that are a word or a number as one table, the others each on their own.
Html generic_object(const std::string& caption, const json& object) {
  std::vector<std::pair<std::string, const json*>> rows, as_table;
  std::vector<const json*> members;
  std::deque<json> flattened;  // stay where they are
  for (const auto& [name, member] : object.items()) {
    if (is_left_out(name)) continue;
    rows.emplace_back(name, &member);
    flattened.push_back(flat(member));
    as_table.emplace_back(name, &flattened.back());
    members.push_back(&flattened.back());
  }
  if (const auto columns = columns_of(members); rows.size() > 1 && !columns.empty()) return table_of(caption, "", columns, as_table);
  std::vector<std::pair<std::string, Html>> plain;
  Html nested;
  for (const auto& [name, member] : rows) {
    if (fits_cell(*member)) {
      plain.emplace_back(name, cell_of(object, name).body);
    } else {
      nested += generic(caption + ", " + name, *member);
    }
  }
  return (plain.empty() ? Html{} : facts(caption, plain)) + nested;
}

Html generic(const std::string& caption, const json& value) {
  if (value.is_object()) return generic_object(caption, value);
  if (!value.is_array()) return facts(caption, {{"value", value_text(value)}});
  std::vector<std::pair<std::string, const json*>> rows;
  std::vector<const json*> members;
  for (const json& member : value) {
    rows.emplace_back(std::to_string(rows.size() + 1), &member);
    members.push_back(&member);
  }
  if (const auto columns = columns_of(members); !columns.empty()) return table_of(caption, "no.", columns, rows);
  const Html all = facts(caption, {{"values", value_text(value)}});
  return value.size() > kNumbers ? details(fmt::format("{} ({} values)", caption, value.size()), all) : all;
}

}  // namespace

Html other_protocols_section(const Results& results) {
  // what other sections show
  static const std::map<std::string, std::vector<std::string>> kShown{
      {"knn", {"by_k", "balanced_vote", "headline", "classes"}},
      {"zero", {"clustering", "retrieval"}},
      {"few", {"curve", "episodes", "more_images"}},
      {"multi_label", {"scores", "labels", "chance", "selection", "notes", "predictions", "bootstrap"}},
      {"linseg", {"object", "classes", "attention", "bootstrap95"}},
      {"match", {"points", "pck", "mutual", "best_of_grid", "chance", "bootstrap95"}}};
  Html body;
  for (const std::string& key : results.protocols()) {
    Html of_protocol;
    for (const json& result : elements(at(results.all(), {"suites", key.c_str(), "results"}))) {
      if (!result.is_object()) continue;
      json rest = result;  // methods stand in the table of methods
      for (const char* key : {"methods", "name", "description", "feature_dim", "left_out"}) rest.erase(key);
      if (const auto shown = kShown.find(key); shown != kShown.end())
        for (const std::string& key : shown->second) rest.erase(key);
      if (!rest.empty()) of_protocol += generic(features_name(text_of(result, "name")), rest);
    }
    if (!of_protocol.code.empty()) body += element("h3", text(protocol_title(key))) + of_protocol;
  }
  return body;
}

}  // namespace dinoxx::report
