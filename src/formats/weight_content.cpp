#include "weight_content.hpp"

#include <fmt/format.h>

#include "base/crc32c.hpp"
#include "base/mapped_file.hpp"

namespace dinoxx {

WeightContent content_of(const WeightFile& file) {
  WeightContent content;
  for (const std::string& shard : file.shards()) {
    const MappedFile mapped{FileDescriptor(file.path().parent_path() / shard)};
    content.crc32c = crc32c(mapped.bytes().data(), mapped.bytes().size(), content.crc32c);
    content.bytes += mapped.bytes().size();
  }
  return content;
}

std::string to_text(const WeightContent& content) {
  return fmt::format("{} bytes, CRC32C {:08x}", content.bytes, content.crc32c);
}

}  // namespace dinoxx
