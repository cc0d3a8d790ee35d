#include <fmt/format.h>

#include <map>
#include <unordered_map>

#include "base/crc32c.hpp"
#include "data_pipeline/pack/pack.hpp"
#include "dinoxx/base/error.hpp"
#include "manifest.hpp"

namespace dinoxx {
namespace {

constexpr size_t kMaxTexts = 100;

uint32_t file_crc(const std::filesystem::path& path) {
  const FileDescriptor file(path);
  std::vector<std::byte> chunk(size_t{1} << 20);
  uint32_t crc = 0;
  for (uint64_t at = 0, size = file.size(); at < size;) {
    const std::span<std::byte> part(chunk.data(), static_cast<size_t>(std::min<uint64_t>(chunk.size(), size - at)));
    file.read_at(part, at);
    crc = crc32c(part.data(), part.size(), crc);
    at += part.size();
  }
  return crc;
}

struct IdHash {
  size_t operator()(const std::array<uint64_t, 2>& id) const { return id[0] ^ (id[1] * 0x9E3779B97F4A7C15ull); }
};

}  // namespace

VerifyReport verify_dataset(const std::filesystem::path& data, bool decode) {
  VerifyReport report;
  const auto problem = [&](std::string text) {
    if (report.problem_count++ < kMaxTexts) report.problems.push_back(std::move(text));
  };
  const std::filesystem::path folder = data_folder(data);
  for (const ShardInfo& shard : read_data_manifest(data).shards) {
    try {
      const uint32_t crc = file_crc(folder / shard.file);
      if (crc != shard.file_crc32c)
        problem(fmt::format("{}: expected CRC32C {:08x} of the file, found {:08x}", shard.file, shard.file_crc32c, crc));
    } catch (const Error& error) {
      problem(error.what());
    }
  }
  std::shared_ptr<const Dataset> set;
  try {
    set = Dataset::open(data);
  } catch (const Error& error) {
    problem(error.what());
    return report;
  }
  report.samples = set->size();
  std::vector<uint8_t> bytes;
  Image image, mask;
  std::unordered_map<std::array<uint64_t, 2>, uint8_t, IdHash> seen;  // content -> splits
  for (uint64_t id = 0; id < set->size(); ++id) {
    try {
      set->read(id, bytes);
      if (decode) {
        decode_image(bytes, image);
        if (static_cast<uint32_t>(image.width) != set->meta(id).width || static_cast<uint32_t>(image.height) != set->meta(id).height) {
          problem(fmt::format("{}: expected {} x {} pixels, found {} x {}", set->key(id), set->meta(id).width, set->meta(id).height,
                              image.width, image.height));
        }
      }
      set->read_mask(id, bytes);
      if (decode && !bytes.empty()) decode_image(bytes, mask);
      const auto bit = static_cast<uint8_t>(1u << static_cast<unsigned>(set->meta(id).split));
      uint8_t& splits = seen[set->content_id(id)];
      if ((splits & bit) != 0)
        ++report.duplicates;
      else if (splits != 0)
        ++report.duplicates_across_splits;
      splits |= bit;
    } catch (const Error& error) {
      problem(error.what());
    }
  }
  return report;
}

}  // namespace dinoxx
