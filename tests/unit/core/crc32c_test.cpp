#include "base/crc32c.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace dinoxx::detail {
uint32_t crc32c_portable(const void* data, size_t size, uint32_t crc);
}

namespace dinoxx {
namespace {

// RFC 3720, appendix B.4, and the check value of the catalogue of parametrised CRC algorithms.
TEST(Crc32c, PublishedVectors) {
  const std::string digits = "123456789";
  EXPECT_EQ(crc32c(digits.data(), digits.size()), 0xE3069283u);
  const std::vector<uint8_t> zeros(32, 0x00), ones(32, 0xFF);
  EXPECT_EQ(crc32c(zeros.data(), zeros.size()), 0x8A9136AAu);
  EXPECT_EQ(crc32c(ones.data(), ones.size()), 0x62A8AB43u);
  std::vector<uint8_t> rising(32);
  for (size_t i = 0; i < rising.size(); ++i) rising[i] = static_cast<uint8_t>(i);
  EXPECT_EQ(crc32c(rising.data(), rising.size()), 0x46DD794Eu);
  EXPECT_EQ(crc32c(nullptr, 0), 0u);
}

TEST(Crc32c, PortableEqualsHardwareAtEveryLengthAndAlignment) {
  std::vector<uint8_t> data(200);
  uint32_t state = 1;
  for (uint8_t& byte : data) byte = static_cast<uint8_t>((state = state * 1664525u + 1013904223u) >> 24);
  for (size_t begin = 0; begin < 9; ++begin) {
    for (size_t size = 0; size < 100; ++size) {
      EXPECT_EQ(crc32c(data.data() + begin, size), detail::crc32c_portable(data.data() + begin, size, 0)) << begin << ' ' << size;
    }
  }
}

TEST(Crc32c, ContinuesFromAnEarlierPart) {
  const std::string text = "the quick brown fox jumps over the lazy dog";
  const uint32_t whole = crc32c(text.data(), text.size());
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    EXPECT_EQ(crc32c(text.data() + cut, text.size() - cut, crc32c(text.data(), cut)), whole);
  }
}

}  // namespace
}  // namespace dinoxx
