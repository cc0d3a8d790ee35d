#include "describe.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "dinoxx/base/error.hpp"
#include "dinoxx/data_pipeline/dataset.hpp"
#include "hdf5_util.hpp"
#include "manifest.hpp"
#include "preflight.hpp"

namespace dinoxx {

std::string hdf5_description() {
  const detail::Hdf5Session session;
  return detail::hdf5_version() + ", thread-safe";
}

DataDescription describe_data(const std::filesystem::path& data) {
  const auto set = Dataset::open(data);
  const Manifest manifest = read_data_manifest(data);
  uint64_t payload = 0;
  for (const ShardInfo& shard : manifest.shards) payload += shard.payload_bytes;
  std::vector<uint32_t> widths, heights;
  uint64_t png = 0;
  for (uint64_t id = 0; id < set->size(); ++id) {
    const SampleMeta& meta = set->meta(id);
    widths.push_back(meta.width);
    heights.push_back(meta.height);
    if (meta.codec == Codec::kPng) ++png;
  }
  const auto range = [](std::vector<uint32_t>& v) {
    std::sort(v.begin(), v.end());
    return v.front() == v.back() ? std::to_string(v.front()) : fmt::format("{} to {}, median {}", v.front(), v.back(), v[v.size() / 2]);
  };
  std::string text;
  const auto row = [&](const char* name, const std::string& value) { text += fmt::format("{:<12} {}\n", name, value); };
  row("images", fmt::format("{} ({} JPEG, {} PNG), {:.1f} MB in {} shards", set->size(), set->size() - png, png,
                            static_cast<double>(payload) * 1e-6, manifest.shards.size()));
  row("width", range(widths));
  row("height", range(heights));
  row("masks", manifest.has_masks ? "yes" : "no");
  row("fingerprint", manifest.fingerprint);
  row("packed", fmt::format("{} by dinoxx {}: {}", manifest.created_utc, manifest.packer_version, manifest.packer_command));
  row("origin", manifest.provenance);
  for (size_t c = 1; c < manifest.label_columns.size(); ++c) {
    if (!manifest.label_columns[c].list.empty()) continue;  // the report below has them
    row("also labels", fmt::format("{}, {} classes", manifest.label_columns[c].name, manifest.label_columns[c].classes.size()));
  }
  const Preflight found = preflight(*set, manifest);
  text += "pre-flight report\n" + found.text;
  DataDescription description{text, manifest.warnings, set->notes()};
  for (const std::string& warning : found.warnings) {
    if (std::find(manifest.warnings.begin(), manifest.warnings.end(), warning) == manifest.warnings.end())
      description.warnings.push_back(warning);
  }
  return description;
}

}  // namespace dinoxx
