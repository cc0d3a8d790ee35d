#include "data_folder_writer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/files.hpp"

namespace dinoxx::detail {
namespace {

/// A reason without the numbers that belong to one file, so that equal ones can be counted.
std::string without_numbers(const std::string& reason) {
  std::string out;
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  for (size_t i = 0; i < reason.size(); ++i) {
    if (!digit(reason[i]))
      out += reason[i];
    else if (i == 0 || !digit(reason[i - 1]))
      out += '#';
  }
  return out;
}

}  // namespace

DataFolderWriter::DataFolderWriter(const ShardHeader& header, uint64_t shard_bytes, std::filesystem::path folder, Manifest begun)
    : shard_bytes_(shard_bytes), folder_(std::move(folder)), manifest_(std::move(begun)), writer_(header) {
  manifest_.packer_version = header.packer_version;
  manifest_.packer_command = header.packer_command;
  manifest_.created_utc = header.created_utc;
  manifest_.provenance = header.provenance;
  manifest_.label_columns = header.label_columns;
  manifest_.has_groups = header.has_groups;
  if (header.label_columns.empty()) return;
  for (auto& count : manifest_.class_count) count.resize(header.label_columns.front().classes.size());
}

void DataFolderWriter::add(const SampleRecord& record, std::span<const uint8_t> image, std::span<const uint8_t> mask, PixelRange values) {
  const uint64_t bytes = image.size() + mask.size();
  if (writer_.size() > 0 && writer_.payload_bytes() + bytes > shard_bytes_) flush();
  writer_.add(record, image, mask);
  const auto split = static_cast<size_t>(record.split);
  ++manifest_.split_count[split];
  const int32_t label = record.labels.empty() ? -1 : record.labels[0];
  if (label >= 0)
    ++manifest_.class_count[split][static_cast<size_t>(label)];
  else
    ++manifest_.unlabelled[split];
  if (!mask.empty()) manifest_.has_masks = true;

  const int bits = record.image.bits > 8 ? 16 : 8;
  auto range = std::find_if(manifest_.values.begin(), manifest_.values.end(), [&](const ValueRange& r) { return r.bits >= bits; });
  if (range == manifest_.values.end() || range->bits != bits) range = manifest_.values.insert(range, ValueRange{bits});
  ++range->images;
  range->least = std::min(range->least, values.least);
  range->most = std::max(range->most, values.most);
  if (values.least == values.most) ++manifest_.one_colour;
}

void DataFolderWriter::leave_out(const std::string& class_name, const std::string& reason) {
  ++manifest_.bad;
  const std::string general = without_numbers(reason);
  for (LeftOut& entry : manifest_.left_out) {
    if (entry.class_name != class_name || entry.reason != general) continue;
    ++entry.images;
    return;
  }
  manifest_.left_out.push_back({class_name, general, 1});
}

void DataFolderWriter::flush() {
  if (writer_.size() == 0) return;
  const uint64_t index = manifest_.shards.size();
  manifest_.shards.push_back(writer_.finish(folder_ / fmt::format("shard-{:05}.h5", index), index));
  manifest_.fingerprint = fingerprint_of(manifest_.shards);
  if (flushed) flushed(manifest_);
}

void DataFolderWriter::finish() {
  flush();
  write_warnings({});
}

void DataFolderWriter::write_warnings(std::vector<std::string> warnings) {
  manifest_.warnings = std::move(warnings);
  write_file_atomically(folder_ / kManifestName, manifest_.to_json());
}

}  // namespace dinoxx::detail
