#pragma once
#include <cstdint>
#include <string>

#include "weight_file.hpp"

namespace dinoxx {

/// Which weights a file holds, whatever its name: of all its parts in order.
struct WeightContent {
  uint64_t bytes = 0;
  uint32_t crc32c = 0;
  bool operator==(const WeightContent&) const = default;
};
WeightContent content_of(const WeightFile& file);

/// "123 bytes, CRC32C 0123abcd".
std::string to_text(const WeightContent& content);

}  // namespace dinoxx
