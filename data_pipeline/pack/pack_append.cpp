#include "pack_append.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <unordered_set>

#include "base/files.hpp"
#include "base/json_text.hpp"
#include "data_pipeline/labels/dataset_view.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx::detail {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> names_of(const std::vector<LabelColumn>& columns) {
  std::vector<std::string> names;
  names.reserve(columns.size());
  for (const LabelColumn& column : columns) names.push_back(column.name);
  return names;
}

/// The classes of the data folder, then the new ones; labels of the plan follow.
void number_as_before(PackPlan& plan, size_t c, const LabelColumn& before) {
  std::vector<std::string> classes = before.classes;
  std::vector<int32_t> number;
  for (const std::string& name : plan.columns[c].classes) {
    auto at = std::find(classes.begin(), classes.end(), name);
    if (at == classes.end()) at = classes.insert(at, name);
    number.push_back(static_cast<int32_t>(at - classes.begin()));
  }
  for (PackItem& item : plan.items) {
    int32_t& label = item.labels[c];
    if (label >= 0) label = number[static_cast<size_t>(label)];
  }
  plan.columns[c].classes = std::move(classes);
}

/// Lists of labels on one side alone, and labels that the images of the data folder were not asked about.
void refuse_other_lists(const PackPlan& plan, const std::vector<LabelColumn>& before) {
  const bool lists = std::ranges::any_of(before, [](const LabelColumn& column) { return !column.list.empty(); });
  std::vector<std::string> fresh;
  for (const LabelColumn& column : plan.columns) {
    const auto there = std::ranges::find(before, column.name, &LabelColumn::name);
    if (lists && column.list.empty() && may_hold_lists(column.name) && there == before.end())
      fail_usage("--append", "lists of labels, as the data folder has them",
                 fmt::format("one label in every field of column \"{}\"", column.name),
                 "Write \"cat;\" for a list of one label, or give --label-separator.");
    if (!lists && !column.list.empty())
      fail_usage("--append", "one label an image, as the data folder has them", fmt::format("lists in column \"{}\"", column.list),
                 "Pack into a new folder.");
    if (!column.list.empty() && there == before.end()) fresh.push_back(label_name(column.name));
  }
  if (!fresh.empty())
    fail_usage("--append", "labels that the data folder has", fmt::format("also {}", fmt::join(fresh, ", ")),
               "Whether the images there have them is not known: pack all of them into a new folder.");
}

}  // namespace

uint64_t plan_append(PackPlan& plan, const fs::path& data, const Manifest& manifest) {
  take_over_lists(plan, manifest.label_columns);
  refuse_other_lists(plan, manifest.label_columns);
  const std::vector<std::string> before = names_of(manifest.label_columns), now = names_of(plan.columns);
  if (before != now) {
    fail_usage(
        "--append",
        fmt::format("the label columns of {}: {}", data.string(), before.empty() ? "none" : fmt::format("{}", fmt::join(before, ", "))),
        now.empty() ? "none" : fmt::format("{}", fmt::join(now, ", ")), "Pack into a new folder");
  }
  for (size_t c = 0; c < plan.columns.size(); ++c) number_as_before(plan, c, manifest.label_columns[c]);
  const auto set = Dataset::open(data);
  std::unordered_set<std::string> there;
  std::unordered_map<uint64_t, Split> split_of;
  for (uint64_t id = 0; id < set->size(); ++id) {
    there.insert(set->key(id));
    if (const auto& group = set->meta(id).group) split_of.try_emplace(*group, set->meta(id).split);
  }
  const uint64_t all = plan.items.size();
  std::erase_if(plan.items, [&](const PackItem& item) { return there.contains(item.key); });
  for (PackItem& item : plan.items) {
    if (plan.has_splits || !item.group) continue;
    const auto known = split_of.find(*item.group);
    if (known == split_of.end()) continue;
    item.split = known->second;
    item.split_is_known = true;
  }
  plan.has_groups = plan.has_groups || manifest.has_groups;
  plan.provenance = json_text(
      {{"kind", "appended"}, {"to", nlohmann::json::parse(manifest.provenance)}, {"from", nlohmann::json::parse(plan.provenance)}});
  return all - plan.items.size();
}

void take_over_files(const fs::path& data, const fs::path& partial) {
  for (const fs::directory_entry& entry : fs::directory_iterator(data)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("shard-") || fs::exists(partial / name)) continue;  // others stay where they are, or are written anew
    std::error_code code;
    if (entry.is_regular_file() && !entry.is_symlink())
      fs::create_hard_link(entry.path(), partial / name, code);
    else
      fs::copy(entry.path(), partial / name, fs::copy_options::recursive | fs::copy_options::copy_symlinks);
    if (!code) continue;
    fs::copy_file(entry.path(), partial / name, code);
    if (code) fail((partial / name).string(), "a copy of " + entry.path().string(), code.message(), "Check space and permissions");
    sync_path(partial / name);
  }
}

}  // namespace dinoxx::detail
