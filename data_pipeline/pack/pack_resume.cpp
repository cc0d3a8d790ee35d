#include "pack_resume.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/files.hpp"
#include "base/json_text.hpp"
#include "data_pipeline/format/content_hash.hpp"

namespace dinoxx::detail {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kState = "state.json";
constexpr const char* kContents = "contents.bin";
constexpr const char* kFormat = "dinoxx-pack-state";

/// "size time" of a file; empty for none.
std::string size_and_time(const std::string& path) {
  struct stat info {};
  if (path.empty() || ::stat(path.c_str(), &info) != 0) return {};
  return fmt::format("{} {}.{:09}", info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec);
}

}  // namespace

std::string input_identity(const PackPlan& plan, const PackOptions& options) {
  Hash128 hash{};
  const auto add = [&](const std::string& text) { hash = hash128(text.data(), text.size(), hash[0] ^ (hash[1] * 3)); };
  add(fmt::format("3 {} {} {} {} {} {} {} {} {}", options.seed, options.val_fraction, options.test_fraction, options.long_tail,
                  options.shard_bytes, options.max_pixels, static_cast<int>(options.tolerance), options.used_bits,
                  plan.draw ? plan.provenance : ""));
  for (const LabelColumn& column : plan.columns)
    add(fmt::format("{} {}{}", column.name, fmt::join(column.classes, "\n"), column.list.empty() ? "" : "\n" + column.list));
  for (const PackItem& item : plan.items) {
    add(fmt::format("{}\n{} {} {} {}\n{}\n{}", item.key, fmt::join(item.labels, " "), static_cast<int>(item.split),
                    item.group ? fmt::format("{}", *item.group) : "-", item.weight, size_and_time(item.path),
                    size_and_time(item.mask_path)));
  }
  return hash_text(hash);
}

void save_state(const fs::path& partial, const std::string& identity, const PackState& state) {
  json bad = json::array();
  for (const BadInput& one : state.bad) bad.push_back({one.key, one.reason, one.kind});
  const json out = {{"format", kFormat},
                    {"identity", identity},
                    {"done", state.done},
                    {"bad", bad},
                    {"faults", state.faulty.as_csv()},
                    {"manifest", state.manifest.to_json()}};
  write_file_atomically(partial / kState, json_text(out) + "\n");
}

std::optional<PackState> load_state(const fs::path& partial, const std::string& identity) {
  std::error_code code;
  if (!fs::exists(partial / kState, code)) return std::nullopt;
  try {
    const json in = json::parse(read_text(partial / kState));
    if (in.at("format") != kFormat || in.at("identity") != identity) return std::nullopt;
    PackState state;
    state.done = in.at("done").get<uint64_t>();
    for (const json& one : in.at("bad"))
      state.bad.push_back({one.at(0).get<std::string>(), one.at(1).get<std::string>(), one.at(2).get<std::string>()});
    state.faulty = Faulty::from_csv(in.at("faults").get<std::string>(), (partial / kState).string());
    state.manifest = Manifest::from_json(in.at("manifest").get<std::string>(), (partial / kState).string());
    for (const ShardInfo& shard : state.manifest.shards)
      if (fs::file_size(partial / shard.file, code) != shard.file_bytes || code) return std::nullopt;
    return state;
  } catch (const std::exception&) {  // damaged: the pack begins anew
    return std::nullopt;
  }
}

void save_contents(const fs::path& partial, const std::string& identity, const std::vector<ContentId>& contents) {
  std::string bytes = identity;
  bytes.append(reinterpret_cast<const char*>(contents.data()), contents.size() * sizeof(ContentId));
  write_file_atomically(partial / kContents, bytes);
}

std::vector<ContentId> load_contents(const fs::path& partial, const std::string& identity, size_t images) {
  std::error_code code;
  if (!fs::exists(partial / kContents, code)) return {};
  const std::string bytes = read_text(partial / kContents);
  if (bytes.size() != identity.size() + images * sizeof(ContentId) || !bytes.starts_with(identity)) return {};
  std::vector<ContentId> contents(images);
  std::memcpy(contents.data(), bytes.data() + identity.size(), images * sizeof(ContentId));
  return contents;
}

void remove_state(const fs::path& partial) {
  fs::remove(partial / kState);
  fs::remove(partial / kContents);
}

void remove_leftovers(const fs::path& partial, const std::optional<PackState>& state) {
  std::error_code code;
  for (const fs::directory_entry& entry : fs::directory_iterator(partial)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with('.') || name == kContents) continue;
    const bool kept = state && (name == kState || std::any_of(state->manifest.shards.begin(), state->manifest.shards.end(),
                                                              [&](const ShardInfo& shard) { return shard.file == name; }));
    if (!kept) fs::remove_all(entry.path(), code);
  }
}

}  // namespace dinoxx::detail
