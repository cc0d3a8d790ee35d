#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/regular_file.hpp"
#include "base/utf8.hpp"
#include "dinoxx/base/error.hpp"
#include "strict_json.hpp"
#include "weight_file_state.hpp"

namespace dinoxx {
namespace {

constexpr size_t max_shards = 4096;
constexpr uint64_t max_index = 100'000'000;

constexpr const char* advice = "Copy or download the index and its shards again, all of the same version";

void check_shard_name(const std::string& name, const std::string& subject) {
  const auto ends = [&](std::string_view ending) { return name.size() > ending.size() && name.ends_with(ending); };
  if (!plain_file_name(name) || !(ends(".safetensors") || ends(".bin") || ends(".pth") || ends(".pt")))
    fail(subject, "names of files beside the index, ending in .safetensors or .bin", fmt::format("\"{}\"", name.substr(0, 200)), advice);
}

}  // namespace

bool plain_file_name(const std::string& name) {
  return !name.empty() && name.find_first_of(std::string_view("/\\:\0", 4)) == std::string::npos && name.find("..") == std::string::npos &&
         name.front() != '.' && name.size() <= 255 && without_controls(name) == name;
}

std::map<std::string, std::string> parse_weight_map(std::string_view text, const std::string& subject, nlohmann::json& settings) {
  if (text.size() > max_index) fail(subject, fmt::format("an index of at most {} bytes", max_index), std::to_string(text.size()), advice);
  const nlohmann::json index = parse_strict_json(subject, text, advice);
  const auto map = index.find("weight_map");
  if (map == index.end() || !map->is_object() || map->empty())
    fail(subject, "an object \"weight_map\" of tensor names and file names", map == index.end() ? "none" : excerpt(*map), advice);
  std::map<std::string, std::string> shards;
  std::set<std::string> names;
  for (const auto& [tensor, shard] : map->items()) {
    if (!shard.is_string() || shard.get_ref<const std::string&>().empty())
      fail(subject, fmt::format("a file name for \"{}\"", tensor.substr(0, 200)), excerpt(shard), advice);
    const std::string& name = shard.get_ref<const std::string&>();
    if (names.insert(name).second) check_shard_name(name, subject);
    if (names.size() > max_shards) fail(subject, fmt::format("at most {} shards", max_shards), "more", advice);
    shards.emplace(tensor, name);
  }
  if (const auto metadata = index.find("metadata"); metadata != index.end()) settings = *metadata;
  return shards;
}

WeightFile::State WeightFile::open_index(const std::filesystem::path& path, FileAccess access) {
  const MappedFile text{open_regular(path)};
  State state;
  state.path = path;
  const auto map =
      parse_weight_map({reinterpret_cast<const char*>(text.bytes().data()), text.bytes().size()}, path.string(), state.settings);
  std::set<std::string> names;
  for (const auto& [tensor, shard] : map) names.insert(shard);
  size_t found = 0;
  for (const std::string& name : names) {
    State shard = open_single(path.parent_path() / name, access);
    if (!state.shards.empty() && shard.format != state.format)
      fail((path.parent_path() / name).string(), "shards of one format", "safetensors and torch archives", advice);
    for (WeightEntry& entry : shard.entries) {
      const auto expected = map.find(entry.name);
      if (expected == map.end() || expected->second != name)
        fail(path.string(), fmt::format("a weight_map that says {} for \"{}\"", name, entry.name),
             expected == map.end() ? "no such tensor" : expected->second, advice);
      state.entries.push_back(std::move(entry));
      ++found;
    }
    state.format = shard.format;
    state.shards.push_back(name);
    state.file_bytes += shard.file_bytes;
    state.unread.insert(state.unread.end(), shard.unread.begin(), shard.unread.end());
    std::move(shard.maps.begin(), shard.maps.end(), std::back_inserter(state.maps));
  }
  if (found == map.size()) return state;
  std::set<std::string_view> present;
  for (const WeightEntry& entry : state.entries) present.insert(entry.name);
  for (const auto& [tensor, shard] : map)
    if (!present.contains(tensor)) fail(path.string(), fmt::format("the tensor \"{}\" in {}", tensor, shard), "none of that name", advice);
  return state;
}

}  // namespace dinoxx
