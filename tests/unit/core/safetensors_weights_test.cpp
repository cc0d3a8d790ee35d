// What published files need beyond the checkpoints of dinoxx: more element types, headers alone, writing tensor by tensor.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

#include "base/crc32c.hpp"
#include "base/files.hpp"
#include "dinoxx/base/error.hpp"
#include "formats/safetensors.hpp"
#include "formats/weight_file.hpp"
#include "source_dir.hpp"
#include "support/temporary_folder.hpp"

namespace dinoxx {
namespace {

using testing::HasSubstr;

std::span<const std::byte> bytes_of(const auto& values) {
  return std::as_bytes(std::span(values));
}

TEST(SafetensorsWeights, EveryTypeOfThePublishedFilesIsWrittenAgainBitForBit) {
  const testing_support::TemporaryFolder folder;
  const SafetensorsFile read(golden_dir() / "weight_files" / "dtypes.safetensors");
  ASSERT_EQ(read.tensors().size(), 16u);
  write_safetensors(folder / "again.safetensors", read.tensors(), read.metadata());
  const SafetensorsFile again(folder / "again.safetensors");
  EXPECT_EQ(again.metadata(), read.metadata());
  const std::byte* start = again.at("C64").bytes.data();
  for (const auto& [name, view] : read.tensors()) {
    const TensorView& other = again.at(name);
    EXPECT_EQ(dtype_name(other.dtype), name);
    EXPECT_EQ(other.shape, view.shape);
    EXPECT_TRUE(std::equal(view.bytes.begin(), view.bytes.end(), other.bytes.begin(), other.bytes.end())) << name;
    // readers that map elements in place need this; 15 elements of one byte would break it for all that follow in order of name
    EXPECT_EQ((other.bytes.data() - start) % static_cast<std::ptrdiff_t>(dtype_size(other.dtype)), 0) << name;
  }
}

TEST(SafetensorsWeights, StreamGivesTheSameFile) {
  const testing_support::TemporaryFolder folder;
  std::vector<float> a(1000);
  std::iota(a.begin(), a.end(), 0.0f);
  const std::vector<uint8_t> b{1, 2, 3};
  const uint32_t whole = write_safetensors(
      folder / "whole", {{"a", {DType::kF32, {10, 100}, bytes_of(a)}}, {"b", {DType::kU8, {3}, bytes_of(b)}}}, {{"format", "pt"}});
  int open = 0;
  const auto in_pieces = [&open](std::span<const std::byte> bytes) {
    return [bytes, &open](const std::function<void(std::span<const std::byte>)>& put) {
      EXPECT_EQ(open++, 0);  // one tensor at a time
      for (size_t i = 0; i < bytes.size(); i += 7) put(bytes.subspan(i, std::min<size_t>(7, bytes.size() - i)));
      --open;
    };
  };
  const std::map<std::string, TensorSource> sources{{"a", {DType::kF32, {10, 100}, in_pieces(bytes_of(a))}},
                                                    {"b", {DType::kU8, {3}, in_pieces(bytes_of(b))}}};
  EXPECT_EQ(write_safetensors_stream(folder / "stream", sources, {{"format", "pt"}}), whole);
  EXPECT_EQ(read_text(folder / "stream"), read_text(folder / "whole"));
}

TEST(SafetensorsWeights, StreamRefusesAWrongSizeAndLeavesNothing) {
  const testing_support::TemporaryFolder folder;
  const std::vector<uint8_t> three{1, 2, 3};
  for (const int64_t claimed : {2, 4}) {
    try {
      write_safetensors_stream(folder / "s", {{"a", {DType::kU8, {claimed}, [&](const auto& put) { put(bytes_of(three)); }}}});
      FAIL();
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("found 3 bytes"));
    }
  }
  EXPECT_THROW(write_safetensors_stream(folder / "s", {{"a", {DType::kU8, {-1}, [](const auto&) {}}}}), Error);
  EXPECT_EQ(folder.listing(), "");
}

TEST(SafetensorsWeights, HeaderAlone) {
  const std::filesystem::path path = golden_dir() / "weight_files" / "dtypes.safetensors";
  const SafetensorsFile header(path, FileAccess::kHeader), full(path);
  ASSERT_EQ(header.tensors().size(), full.tensors().size());
  for (const auto& [name, view] : header.tensors()) {
    EXPECT_EQ(view.shape, full.at(name).shape);
    EXPECT_TRUE(view.bytes.empty());
  }
  EXPECT_EQ(full.file_crc32c(), crc32c(read_text(path).data(), std::filesystem::file_size(path)));
  EXPECT_THROW(header.file_crc32c(), Error);
}

TEST(SafetensorsWeights, SizesAreCheckedForOverflow) {
  EXPECT_EQ(contiguous_bytes("t", DType::kF32, std::vector<int64_t>{2, 3}), 24u);
  EXPECT_EQ(contiguous_bytes("t", DType::kF32, std::vector<int64_t>{}), 4u);
  EXPECT_EQ(contiguous_bytes("t", DType::kF32, std::vector<int64_t>{INT64_MAX, 0, INT64_MAX}), 0u);
  EXPECT_THROW(contiguous_bytes("t", DType::kF32, std::vector<int64_t>{INT64_MAX, 2}), Error);
  EXPECT_THROW(contiguous_bytes("t", DType::kF32, std::vector<int64_t>{int64_t{1} << 61}), Error);
  EXPECT_THROW(contiguous_bytes("t", DType::kF32, std::vector<int64_t>{-1}), Error);
}

}  // namespace
}  // namespace dinoxx
