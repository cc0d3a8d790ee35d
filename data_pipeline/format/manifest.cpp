#include "manifest.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/json_text.hpp"
#include "content_hash.hpp"
#include "data_pipeline/labels/label_column_json.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr std::array<Split, 3> kSplits = {Split::kTrain, Split::kVal, Split::kTest};

}  // namespace

uint64_t Manifest::samples() const {
  uint64_t n = 0;
  for (const ShardInfo& shard : shards) n += shard.n;
  return n;
}

std::string fingerprint_of(const std::vector<ShardInfo>& shards) {
  std::string text;
  for (const ShardInfo& shard : shards) text += fmt::format("{} {}\n", shard.uuid, shard.n);
  return detail::hash_text(detail::hash128(text.data(), text.size()));
}

std::string Manifest::to_json() const {
  json out;
  out["format"] = kManifestFormat;
  out["format_version"] = format_version(has_groups);
  out["fingerprint"] = fingerprint;
  out["n_samples"] = samples();
  out["packer"] = {{"version", packer_version}, {"command", packer_command}, {"created_utc", created_utc}};
  out["provenance"] = json::parse(provenance);
  out["label_columns"] = json::array();
  for (const LabelColumn& column : label_columns) out["label_columns"].push_back(column_as_json(column));
  out["has_groups"] = has_groups;
  out["has_masks"] = has_masks;
  if (used_bits < 16) out["used_bits"] = used_bits;
  out["splits"] = json::object();
  for (const Split split : kSplits) {
    const auto s = static_cast<size_t>(split);
    out["splits"][std::string(split_name(split))] = {{"n", split_count[s]}, {"per_class", class_count[s]}, {"unlabelled", unlabelled[s]}};
  }
  out["bad"] = bad;
  out["input_identity"] = input_identity;
  out["left_out"] = json::array();
  for (const LeftOut& entry : left_out)
    out["left_out"].push_back({{"class", entry.class_name}, {"reason", entry.reason}, {"n", entry.images}});
  out["values"] = json::array();
  for (const ValueRange& range : values)
    out["values"].push_back({{"bits", range.bits}, {"n", range.images}, {"least", range.least}, {"most", range.most}});
  out["one_colour"] = one_colour;
  out["warnings"] = warnings;
  out["shards"] = json::array();
  for (const ShardInfo& shard : shards) {
    out["shards"].push_back({{"file", shard.file},
                             {"uuid", shard.uuid},
                             {"n", shard.n},
                             {"payload_bytes", shard.payload_bytes},
                             {"file_bytes", shard.file_bytes},
                             {"file_crc32c", fmt::format("{:08x}", shard.file_crc32c)}});
  }
  return json_text(out, 2) + "\n";
}

Manifest Manifest::from_json(const std::string& text, const std::string& path) {
  constexpr const char* kAdvice = "Copy the data folder again from its source, or pack again";
  const json in = json::parse(text, nullptr, false);
  if (in.is_discarded() || !in.is_object()) fail(path, "a JSON object", "text that is none", kAdvice);
  if (!in.contains("format") || in["format"] != kManifestFormat) {
    fail(path, fmt::format("format \"{}\"", kManifestFormat), in.contains("format") ? json_text(in["format"]) : "none",
         "Make data folders with dinoxx pack");
  }
  const json version = in.value("format_version", json());
  if (!version.is_number_integer() || version < 1 || version > kShardFormatVersion) {
    fail(path, fmt::format("format version 1 to {}", kShardFormatVersion), version.is_null() ? "none" : json_text(version),
         "Pack again with this version of dinoxx, or use the newer program");
  }
  Manifest out;
  try {
    out.fingerprint = in.at("fingerprint").get<std::string>();
    out.packer_version = in.at("packer").at("version").get<std::string>();
    out.packer_command = in.at("packer").at("command").get<std::string>();
    out.created_utc = in.at("packer").at("created_utc").get<std::string>();
    out.provenance = json_text(in.at("provenance"));
    for (const json& column : in.at("label_columns")) {
      out.label_columns.push_back({column.at("name").get<std::string>(), column.at("classes").get<std::vector<std::string>>(),
                                   column.value("list", std::string())});
    }
    out.has_groups = in.at("has_groups").get<bool>();
    out.has_masks = in.at("has_masks").get<bool>();
    out.used_bits = in.value("used_bits", 16);
    for (const Split split : kSplits) {
      const json& entry = in.at("splits").at(std::string(split_name(split)));
      const auto s = static_cast<size_t>(split);
      out.split_count[s] = entry.at("n").get<uint64_t>();
      out.class_count[s] = entry.at("per_class").get<std::vector<uint64_t>>();
      out.unlabelled[s] = entry.at("unlabelled").get<uint64_t>();
    }
    out.bad = in.at("bad").get<uint64_t>();
    out.warnings = in.at("warnings").get<std::vector<std::string>>();
    out.input_identity = in.value("input_identity", std::string());
    for (const json& entry : in.value("left_out", json::array())) {
      out.left_out.push_back({entry.at("class").get<std::string>(), entry.at("reason").get<std::string>(), entry.at("n").get<uint64_t>()});
    }
    for (const json& range : in.value("values", json::array())) {
      out.values.push_back(
          {range.at("bits").get<int>(), range.at("n").get<uint64_t>(), range.at("least").get<int>(), range.at("most").get<int>()});
    }
    out.one_colour = in.value("one_colour", uint64_t{0});
    for (const json& shard : in.at("shards")) {
      ShardInfo info;
      info.file = shard.at("file").get<std::string>();
      info.uuid = shard.at("uuid").get<std::string>();
      info.n = shard.at("n").get<uint64_t>();
      info.payload_bytes = shard.at("payload_bytes").get<uint64_t>();
      info.file_bytes = shard.at("file_bytes").get<uint64_t>();
      info.file_crc32c = static_cast<uint32_t>(std::stoul(shard.at("file_crc32c").get<std::string>(), nullptr, 16));
      if (fs::path(info.file).filename() != info.file || info.file.empty()) {
        fail(path, "shards to be files of this folder", '"' + info.file + '"', kAdvice);
      }
      out.shards.push_back(std::move(info));
    }
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {  // missing field, wrong type, not a number
    fail(path, "all fields of a manifest", error.what(), kAdvice);
  }
  if (out.shards.empty()) fail(path, "shards", "none", kAdvice);
  if (out.used_bits < 8 || out.used_bits > 16) fail(path, "used_bits from 8 to 16", std::to_string(out.used_bits), kAdvice);
  if (in.value("n_samples", uint64_t{0}) != out.samples())
    fail(path, "n_samples to be the sum over the shards", std::to_string(out.samples()), kAdvice);
  if (fingerprint_of(out.shards) != out.fingerprint) {
    fail(path, "the fingerprint of its shards, " + fingerprint_of(out.shards), out.fingerprint, kAdvice);
  }
  return out;
}

fs::path data_folder(const fs::path& path) {
  constexpr const char* kAdvice = "Make a data folder with dinoxx pack --from-folder IMAGES --out DATA";
  std::error_code code;
  if (!fs::exists(path, code)) fail_usage(path.string(), "a data folder", "nothing there", kAdvice);
  if (fs::is_directory(path, code)) {
    if (!fs::exists(path / kManifestName, code) && fs::exists(path / ".partial", code)) {
      fail_usage(path.string(), "a data folder", "one that dinoxx pack has not finished", "Wait for it, or run the same command again");
    }
    if (!fs::exists(path / kManifestName, code))
      fail_usage(path.string(), fmt::format("a data folder with {}", kManifestName), "a folder without it", kAdvice);
    return path;
  }
  if (path.extension() != ".json")
    fail_usage(path.string(), fmt::format("a data folder or its {}", kManifestName), "another file", kAdvice);
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

Manifest read_data_manifest(const fs::path& path) {
  const fs::path file = data_folder(path) / kManifestName;
  return Manifest::from_json(read_text(file), file.string());
}

}  // namespace dinoxx
