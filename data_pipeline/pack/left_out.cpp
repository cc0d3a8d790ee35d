#include "left_out.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "base/csv.hpp"
#include "base/files.hpp"
#include "dinoxx/base/error.hpp"
#include "pack_plan.hpp"

namespace dinoxx::detail {
namespace {

namespace fs = std::filesystem;
constexpr size_t kInMessage = 5;

std::string write_beside(const fs::path& out, const std::string& csv) {
  const fs::path beside = out.string() + ".bad.csv";
  std::string why;
  for (const fs::path& list : {beside, fs::absolute(beside.filename())}) {  // the folder of a mount point may not be ours
    try {
      write_file_atomically(list, csv);
      return fmt::format("list: {}", list.string());
    } catch (const Error& error) {
      if (why.empty()) why = error.what();
    }
  }
  return fmt::format("no list could be written: {}", why);
}

/// How many of which kind, and the reasons of some.
std::string found(const std::vector<BadInput>& bad) {
  std::string text = fmt::format("{} bad ({})", bad.size(), kinds_of(bad));
  for (size_t i = 0; i < std::min(bad.size(), kInMessage); ++i)
    text += fmt::format("{} {} ({})", i == 0 ? ":" : ";", bad[i].key, bad[i].reason);
  return bad.size() > kInMessage ? text + "; and others" : text;
}

}  // namespace

std::string bad_as_csv(std::vector<BadInput> bad) {
  std::sort(bad.begin(), bad.end(), [](const BadInput& a, const BadInput& b) { return std::tie(a.kind, a.key) < std::tie(b.kind, b.key); });
  std::string text = "path,reason,kind\n";
  for (const BadInput& one : bad) text += csv_field(one.key) + ',' + csv_field(one.reason) + ',' + csv_field(one.kind) + '\n';
  return text;
}

std::string counted(const std::map<std::string, uint64_t>& count) {
  std::vector<std::pair<std::string, uint64_t>> order(count.begin(), count.end());
  std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  std::string text;
  for (const auto& [name, n] : order) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", n, name);
  return text;
}

std::string kinds_of(const std::vector<BadInput>& bad) {
  std::map<std::string, uint64_t> count;
  for (const BadInput& one : bad) ++count[one.kind];
  return counted(count);
}

void none_good(const std::vector<BadInput>& bad, const std::string& input, const fs::path& out) {
  const std::string list = write_beside(out, bad_as_csv(bad));
  fail(input, "a good image", found(bad), fmt::format("Repair them ({}). Nothing was written", list));
}

void too_many_bad(const std::vector<BadInput>& bad, uint64_t total, double allowed_fraction, const fs::path& out) {
  const std::string list = write_beside(out, bad_as_csv(bad));
  fail("input", fmt::format("at most {:g} % of {} images to be bad", 100 * allowed_fraction, total), found(bad),
       fmt::format("Repair or remove them ({}), or allow more with --max-bad-fraction", list));
}

void Faulty::add(const std::string& key, const DecodeNotes& notes) {
  for (const std::string& fault : notes.harmless) rows_.push_back({key, fault, false});
  if (!notes.lost.empty()) rows_.push_back({key, notes.lost, true});
}

Faulty Faulty::from_csv(const std::string& csv, const std::string& path) {
  Faulty faulty;
  const CsvTable table = parse_csv(csv, path);
  for (size_t r = 1; r < table.rows.size(); ++r) {
    if (table.rows[r].size() == 3) faulty.rows_.push_back({table.rows[r][0], table.rows[r][1], table.rows[r][2] == "lost"});
  }
  return faulty;
}

Faulty Faulty::read(const fs::path& list) {
  std::error_code code;
  return fs::exists(list, code) ? from_csv(read_text(list), list.string()) : Faulty();
}

std::string Faulty::as_csv() const {
  std::vector<Row> rows = rows_;
  std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return std::tie(a.key, a.fault) < std::tie(b.key, b.fault); });
  std::string text = "path,fault,pixels\n";
  for (const Row& row : rows) text += csv_field(row.key) + ',' + csv_field(row.fault) + (row.lost ? ",lost\n" : ",sound\n");
  return text;
}

void Faulty::add_warnings(std::vector<std::string>& warnings) const {
  std::map<std::string, uint64_t> harmless;
  uint64_t lost = 0;
  for (const Row& row : rows_) {
    if (row.lost)
      ++lost;
    else
      ++harmless[row.fault];
  }
  if (lost > 0)
    warnings.push_back(fmt::format("{} images have lost a part of their pixels: what is left of them is packed, see faults.csv", lost));
  if (!harmless.empty()) {
    warnings.push_back(
        fmt::format("images with faults that cost no pixel, packed as they are (--tolerance strict leaves them out): {}; see faults.csv",
                    counted(harmless)));
  }
}

}  // namespace dinoxx::detail
