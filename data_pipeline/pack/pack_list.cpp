#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/csv.hpp"
#include "base/files.hpp"
#include "base/json_text.hpp"
#include "base/text/plain_name.hpp"
#include "base/utf8.hpp"
#include "data_pipeline/format/content_hash.hpp"
#include "dinoxx/base/error.hpp"
#include "pack_plan.hpp"

namespace dinoxx::detail {
namespace {

namespace fs = std::filesystem;

constexpr int kNone = -1;

/// Which column of the CSV holds what.
struct Columns {
  int path = kNone, split = kNone, group = kNone, mask = kNone, weight = kNone;
  std::vector<int> labels;
};

/// Columns by which lists keep apart what belongs together, under names of their own.
std::string advice_on(const std::string& column) {
  static const std::set<std::string> kGroups = {"patient", "subject",  "case",    "person", "individual", "plot",    "site",  "slide",
                                                "video",   "scene",    "session", "camera", "animal",     "sample",  "study", "series",
                                                "plate",   "specimen", "tree",    "field",  "donor",      "location"};
  std::string plain = plain_name(column);
  for (const std::string_view end : {"identifier", "number", "name", "id", "no", "nr"})
    if (plain.ends_with(end) && kGroups.contains(plain.substr(0, plain.size() - end.size()))) plain.resize(plain.size() - end.size());
  return kGroups.contains(plain) ? fmt::format(": if the images of one {} must stay on one side, call it \"group\"", plain) : "";
}

Columns find_columns(const std::vector<std::string>& header, const std::string& path, std::vector<std::string>& warnings) {
  const std::vector<std::string> known = {"path", "label", "split", "group", "mask", "weight"};
  Columns columns;
  std::set<std::string> seen;
  for (size_t i = 0; i < header.size(); ++i) {
    const std::string& name = header[i];
    const int at = static_cast<int>(i);
    if (!seen.insert(name).second) fail_usage(path, "column names that differ", fmt::format("\"{}\" twice", name), "Rename one of them");
    if (name == "path")
      columns.path = at;
    else if (name == "split")
      columns.split = at;
    else if (name == "group")
      columns.group = at;
    else if (name == "mask")
      columns.mask = at;
    else if (name == "weight")
      columns.weight = at;
    else if (name.starts_with("label"))
      columns.labels.push_back(at);
    else if (const std::string nearest = nearest_name(name, known); !nearest.empty()) {
      fail_usage(path + ", line 1", "columns path, label..., split, group, mask, weight", fmt::format("\"{}\"", name),
                 fmt::format("Did you mean \"{}\"?", nearest));
    } else {
      warnings.push_back(fmt::format(
          "column \"{0}\" is not used{1}; called \"label_{0}\" it is packed as labels (dinoxx eval --label, --by)", name, advice_on(name)));
    }
  }
  if (columns.path == kNone) {
    fail_usage(path + ", line 1", "a header with a column \"path\"",
               header.empty() ? "nothing" : fmt::format("\"{}\"", fmt::join(header, ",")),
               header.size() == 1 && header[0].find_first_of(";\t|") != std::string::npos
                   ? "Columns are separated by commas: save the list with commas"
                   : "Begin the file with a line like: path,label,split");
  }
  return columns;
}

/// The number of a group is a function of its name alone, so that lists which are packed one after the other agree: a whole number is
/// itself, also as tables of measurements write it (1.0), of other names a hash with the highest bit set. None for an empty field and for
/// the words by which spreadsheets and scripts say that there is none.
std::optional<uint64_t> group_number(std::string_view name) {
  name = without_blanks(name);
  std::string lower(name);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  constexpr std::array<std::string_view, 8> kMissing = {"", "nan", "na", "n/a", "#n/a", "none", "null", "<na>"};
  if (std::find(kMissing.begin(), kMissing.end(), lower) != kMissing.end()) return std::nullopt;
  constexpr uint64_t kNamed = uint64_t{1} << 63;
  uint64_t number = 0;
  std::string_view whole = name;
  if (const size_t point = name.find('.'); point > 0 && point < name.size() - 1 && name.find_first_not_of('0', point + 1) == name.npos)
    whole = name.substr(0, point);
  const auto result = std::from_chars(whole.data(), whole.data() + whole.size(), number);
  if (result.ec == std::errc() && result.ptr == whole.data() + whole.size() && number < kNamed) return number;
  return hash128(name.data(), name.size())[0] | kNamed;
}

/// A list is UTF-8: names in another encoding would be other names, and nothing could write them down.
void refuse_other_encodings(std::string_view text, const std::string& path) {
  const auto advice = [&](const char* encoding) {
    return fmt::format("Save it as \"CSV UTF-8\", or convert it: iconv -f {} -t UTF-8 {} > utf8.csv", encoding, path);
  };
  const std::string_view mark = text.substr(0, 2);
  if (mark == "\xFF\xFE" || mark == "\xFE\xFF") fail_usage(path, "a CSV file in UTF-8", "one in UTF-16", advice("UTF-16"));
  size_t line = 1, begin = 0;
  for (size_t i = 0; i < text.size();) {
    const size_t length = utf8_length(text, i);
    if (length == 0) {
      const std::string_view around = text.substr(begin, text.find_first_of("\r\n", i) - begin).substr(0, 200);
      fail_usage(fmt::format("{}, line {}", path, line), "UTF-8 text",
                 fmt::format("byte 0x{:02x} in \"{}\", as Latin-1 (Windows-1252) files have it", static_cast<unsigned char>(text[i]),
                             escaped(around)),
                 advice("WINDOWS-1252"));
    }
    if (text[i] == '\n') {
      ++line;
      begin = i + 1;
    }
    i += length;
  }
}

/// The bytes of the file name that a field means: \xHH is that byte where no file has the name as it stands.
std::string file_name(const fs::path& base, const std::string& field) {
  std::string bytes = unescaped(field);
  std::error_code code;
  return bytes == field || fs::exists(base / field, code) ? field : bytes;
}

/// Lists such as "cat;dog" in a column of single labels become classes of their own, which is rarely meant.
void warn_of_lists(const std::string& column, const std::vector<std::string>& texts, std::vector<std::string>& warnings) {
  const auto is_list = [](const std::string& text) { return text.find_first_of(";|") != std::string::npos; };
  const auto lists = std::count_if(texts.begin(), texts.end(), is_list);
  if (lists == 0) return;
  warnings.push_back(
      fmt::format("column \"{}\": {} labels such as \"{}\" look like several labels of an image, and are classes of their own here. Call "
                  "the column \"labels\" to pack it as lists (dinoxx eval --protocol multi_label)",
                  column, lists, *std::find_if(texts.begin(), texts.end(), is_list)));
}

/// Groups that a person would take for one: their images may come to stand on several sides.
void warn_of_spellings(const std::vector<std::string>& groups, std::vector<std::string>& warnings) {
  std::map<std::string, std::set<std::string>> alike;
  for (const std::string& group : groups)
    if (group_number(group)) alike[plain_name(group)].insert(std::string(without_blanks(group)));
  std::string example;
  size_t several = 0;
  for (const auto& [plain, written] : alike) {
    if (written.size() < 2) continue;
    if (several++ == 0) example = fmt::format("\"{}\"", fmt::join(written, "\" and \""));
  }
  if (several > 0)
    warnings.push_back(
        fmt::format("column \"group\": {} are different groups, and may be meant as one ({} such names): their images may stand "
                    "on several sides",
                    example, several));
}

/// One spelling for each file: "./a.jpg", "b/../a.jpg" and "file://" before an absolute path are others' ways of writing it.
std::string normal_path(std::string text) {
  constexpr std::string_view kScheme = "file://";
  if (text.starts_with("file:///")) text.erase(0, kScheme.size());
  return text.find("://") != std::string::npos ? text : fs::path(text).lexically_normal().string();
}

/// Columns of single labels first: the first of all is what is predicted, and with lists no single one is.
void add_labels(PackPlan& plan, const std::vector<std::string>& header, const Columns& columns,
                std::vector<std::vector<std::string>>& texts, const std::string& asked) {
  std::vector<std::pair<size_t, std::string>> lists;
  bool may_hold = false;
  for (size_t c = 0; c < columns.labels.size(); ++c) {
    const std::string& name = header[static_cast<size_t>(columns.labels[c])];
    clear_missing_labels(name, texts[c], plan.notes);
    may_hold = may_hold || may_hold_lists(name);
    if (std::string separator = list_separator(name, texts[c], asked); !separator.empty()) {
      lists.emplace_back(c, std::move(separator));
      continue;
    }
    warn_of_lists(name, texts[c], plan.warnings);
    std::vector<int32_t> labels;
    plan.columns.push_back({name, number_classes(texts[c], labels)});
    for (size_t i = 0; i < labels.size(); ++i) plan.items[i].labels.push_back(labels[i]);
  }
  if (!asked.empty() && !may_hold)
    fail_usage("--label-separator", "a column \"labels\" (or \"labels_...\") of lists", "none in the list",
               "Rename the column that has them.");
  for (const auto& [c, separator] : lists) add_label_lists(plan, header[static_cast<size_t>(columns.labels[c])], texts[c], separator);
}

}  // namespace

PackPlan plan_list(const fs::path& csv, const std::string& separator) {
  std::error_code code;
  if (!fs::exists(csv, code)) fail_usage(csv.string(), "a CSV file", "nothing there", "Check the path");
  if (fs::is_directory(csv, code)) fail_usage(csv.string(), "a CSV file", "a folder", "A folder is packed with --from-folder");
  const std::string text = read_text(csv);
  refuse_other_encodings(text, csv.string());
  const CsvTable table = parse_csv(text, csv.string());
  if (table.rows.empty())
    fail_usage(csv.string(), "a header and rows", "an empty file", "Begin the file with a line like: path,label,split");
  PackPlan plan;
  const std::vector<std::string>& header = table.rows.front();
  const Columns columns = find_columns(header, csv.string(), plan.warnings);
  if (table.rows.size() == 1) fail_usage(csv.string(), "rows after the header", "none", "List one image per line");

  const fs::path base = csv.parent_path(), folder = fs::absolute(csv).parent_path();
  std::set<std::string> keys;
  Names names;
  std::vector<std::vector<std::string>> label_text(columns.labels.size());
  std::vector<std::string> group_text;
  for (size_t r = 1; r < table.rows.size(); ++r) {
    const std::vector<std::string>& row = table.rows[r];
    const std::string where = fmt::format("{}, line {}", csv.string(), table.line[r]);
    if (row.size() != header.size())
      fail_usage(where, fmt::format("{} fields", header.size()), std::to_string(row.size()), "Quote fields that contain commas");
    const auto field = [&](int column) -> const std::string& { return row[static_cast<size_t>(column)]; };
    PackItem item;
    item.key = normal_path(field(columns.path));
    if (item.key.empty()) fail_usage(where, "a path", "an empty field", "");
    if (!keys.insert((folder / item.key).lexically_normal().string()).second)
      fail_usage(where, "each path once", fmt::format("\"{}\" again", item.key), "Give several labels in columns label, label2 ...");
    const std::string name = file_name(base, item.key);
    item.key = names.kept(name);
    item.path = (base / name).string();  // an absolute path stays as it is
    if (columns.mask != kNone && !field(columns.mask).empty())
      item.mask_path = (base / file_name(base, normal_path(field(columns.mask)))).string();
    if (columns.split != kNone && !field(columns.split).empty() && !split_from_name(field(columns.split), item.split)) {
      fail_usage(where, "split to be train, val or test", fmt::format("\"{}\"", field(columns.split)), "");
    }
    if (columns.weight != kNone && !field(columns.weight).empty()) {
      const std::string& text = field(columns.weight);
      const auto result = std::from_chars(text.data(), text.data() + text.size(), item.weight);
      if (result.ec != std::errc() || result.ptr != text.data() + text.size() || !std::isfinite(item.weight) || item.weight < 0) {
        fail_usage(where, "weight to be a number, zero or more", fmt::format("\"{}\"", text), "");
      }
    }
    for (size_t c = 0; c < columns.labels.size(); ++c) label_text[c].push_back(field(columns.labels[c]));
    if (columns.group != kNone) group_text.push_back(field(columns.group));
    plan.items.push_back(std::move(item));
  }
  add_labels(plan, header, columns, label_text, separator);
  names.add_warning(plan.warnings);
  plan.has_splits = columns.split != kNone;
  plan.has_groups = columns.group != kNone;
  if (plan.has_groups) {
    size_t without = 0;
    for (size_t i = 0; i < group_text.size(); ++i) {
      plan.items[i].group = group_number(group_text[i]);
      without += plan.items[i].group ? 0 : 1;
    }
    warn_of_spellings(group_text, plan.warnings);
    if (without > 0)
      plan.warnings.push_back(
          fmt::format("{} of {} images have no group: each of them counts as a group of its own", without, plan.items.size()));
  }
  plan.provenance = json_text({{"kind", "list"}, {"path", fs::absolute(csv).lexically_normal().string()}, {"rows", plan.items.size()}});
  return plan;
}

}  // namespace dinoxx::detail
