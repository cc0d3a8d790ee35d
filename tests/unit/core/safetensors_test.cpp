#include "formats/safetensors.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <fstream>

#include "base/crc32c.hpp"
#include "base/files.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

using testing::HasSubstr;

class SafetensorsTest : public testing::Test {
 protected:
  SafetensorsTest() : folder_(std::filesystem::temp_directory_path() / ("dinoxx_safetensors_" + std::to_string(::getpid()))) {
    std::filesystem::create_directories(folder_);
  }
  ~SafetensorsTest() override { std::filesystem::remove_all(folder_); }

  // A file from a header text and a number of data bytes.
  std::filesystem::path raw(const std::string& header, size_t data, uint64_t length = UINT64_MAX) {
    if (length == UINT64_MAX) length = header.size();
    const auto path = folder_ / "raw.safetensors";
    std::ofstream out(path, std::ios::binary);
    out.write(reinterpret_cast<const char*>(&length), sizeof length);
    out << header << std::string(data, 'x');
    return path;
  }
  std::string refusal(const std::filesystem::path& path) {
    try {
      SafetensorsFile file(path);
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(path.string()));
      return error.what();
    }
    return "accepted";
  }
  std::filesystem::path folder_;
};

std::span<const std::byte> bytes_of(const auto& values) {
  return std::as_bytes(std::span(values));
}

TEST_F(SafetensorsTest, ReadsBackWhatItWrote) {
  const std::vector<float> a{1.5f, -2.0f, 3.25f, 0.0f, 5.0f, 6.0f};
  const std::vector<int64_t> b{-7};
  const std::vector<uint8_t> none;
  const auto path = folder_ / "t.safetensors";
  const uint32_t crc = write_safetensors(path,
                                         {{"z.weight", {DType::kF32, {2, 3}, bytes_of(a)}},
                                          {"count", {DType::kI64, {}, bytes_of(b)}},
                                          {"empty", {DType::kU8, {0, 4}, bytes_of(none)}}},
                                         {{"step", "12"}, {"note", "a \"quoted\" line"}});
  const std::string content = read_text(path);
  EXPECT_EQ(crc, crc32c(content.data(), content.size()));

  const SafetensorsFile file(path);
  EXPECT_EQ(file.file_crc32c(), crc);
  ASSERT_EQ(file.tensors().size(), 3u);
  EXPECT_EQ(file.metadata(), (std::map<std::string, std::string>{{"step", "12"}, {"note", "a \"quoted\" line"}}));
  const TensorView& z = file.at("z.weight");
  EXPECT_EQ(z.dtype, DType::kF32);
  EXPECT_EQ(z.shape, (std::vector<int64_t>{2, 3}));
  ASSERT_EQ(z.bytes.size(), a.size() * 4);
  EXPECT_EQ(std::memcmp(z.bytes.data(), a.data(), z.bytes.size()), 0);
  EXPECT_TRUE(file.at("count").shape.empty());
  EXPECT_EQ(file.at("empty").bytes.size(), 0u);
  // the data begins at a multiple of 8
  ASSERT_GE(content.size(), 8u);
  uint64_t header = 0;
  std::memcpy(&header, content.data(), 8);
  EXPECT_EQ(header % 8, 0u);
}

TEST_F(SafetensorsTest, KeepsTheDataWhenMoved) {
  const std::vector<int32_t> a{4, 5};
  write_safetensors(folder_ / "m", {{"a", {DType::kI32, {2}, bytes_of(a)}}});
  SafetensorsFile first(folder_ / "m");
  SafetensorsFile second(std::move(first));
  EXPECT_EQ(std::memcmp(second.at("a").bytes.data(), a.data(), 8), 0);
}

TEST_F(SafetensorsTest, AbsentTensorNamesTheNearest) {
  const std::vector<uint8_t> a{1};
  write_safetensors(folder_ / "n", {{"backbone.cls_token", {DType::kU8, {1}, bytes_of(a)}}});
  const SafetensorsFile file(folder_ / "n");
  try {
    file.at("backbone.cls_tokn");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("backbone.cls_token"));
  }
}

TEST_F(SafetensorsTest, WritingRefusesAWrongSizeAndLeavesNothing) {
  const std::vector<uint8_t> a{1, 2};
  EXPECT_THROW(write_safetensors(folder_ / "w", {{"a", {DType::kF32, {2}, bytes_of(a)}}}), Error);
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
}

TEST_F(SafetensorsTest, RefusesDamagedHeaders) {
  const std::string good = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  EXPECT_EQ(refusal(raw(good, 8)), "accepted");
  EXPECT_EQ(refusal(raw(good + "   ", 8)), "accepted");  // padded with spaces
  EXPECT_THAT(refusal(raw(good, 7)), HasSubstr("range inside the 7 bytes"));
  EXPECT_THAT(refusal(raw(good, 9)), HasSubstr("8 bytes of data, found 9"));
  EXPECT_THAT(refusal(raw(good, 8, good.size() + 100)), HasSubstr("header length"));
  EXPECT_THAT(refusal(raw(good, 8, UINT64_MAX - 1)), HasSubstr("header length"));
  EXPECT_THAT(refusal(raw("[1,2]", 0)), HasSubstr("JSON object"));
  EXPECT_THAT(refusal(raw("{\"a\":", 0)), HasSubstr("no JSON"));
  EXPECT_THAT(
      refusal(raw(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8)),
      HasSubstr("\"a\" twice"));
  EXPECT_THAT(refusal(raw(R"({"a":{"dtype":"F31","shape":[2],"data_offsets":[0,8]}})", 8)), HasSubstr("F31"));
  EXPECT_THAT(refusal(raw(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8)), HasSubstr("12 bytes"));
  EXPECT_THAT(refusal(raw(R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8)), HasSubstr("shape"));
  EXPECT_THAT(refusal(raw(R"({"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}})", 8)), HasSubstr("shape"));
  EXPECT_THAT(refusal(raw(R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]}})", 8)), HasSubstr("63 bits"));
  EXPECT_THAT(refusal(raw(R"({"a":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8]}})", 8)), HasSubstr("63 bits"));
  EXPECT_THAT(refusal(raw(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8)), HasSubstr("8 to 0"));
  EXPECT_THAT(refusal(raw(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,9]}})", 8)), HasSubstr("data_offsets"));
  EXPECT_THAT(refusal(raw(R"({"a":{"dtype":"F32","shape":[2]}})", 8)), HasSubstr("data_offsets"));
  EXPECT_THAT(refusal(raw(R"({"__metadata__":{"k":1}})", 0)), HasSubstr("string"));
  EXPECT_THAT(refusal(raw(std::string(100000, '['), 0)), HasSubstr("nested"));
}

TEST_F(SafetensorsTest, RefusesHolesAndOverlaps) {
  const auto two = [](int b0, int b1) {
    return fmt::format(
        R"({{"a":{{"dtype":"U8","shape":[4],"data_offsets":[0,4]}},"b":{{"dtype":"U8","shape":[{}],"data_offsets":[{},{}]}}}})", b1 - b0,
        b0, b1);
  };
  EXPECT_EQ(refusal(raw(two(4, 8), 8)), "accepted");
  EXPECT_THAT(refusal(raw(two(5, 8), 8)), HasSubstr("without hole or overlap"));
  EXPECT_THAT(refusal(raw(two(3, 8), 8)), HasSubstr("without hole or overlap"));
}

TEST_F(SafetensorsTest, RefusesFilesThatAreNoFiles) {
  EXPECT_THROW(SafetensorsFile(folder_ / "missing"), Error);
  EXPECT_THROW(SafetensorsFile{folder_}, Error);
  std::ofstream(folder_ / "zero");
  EXPECT_THAT(refusal(folder_ / "zero"), HasSubstr("0 bytes"));
}

TEST(DTypeTest, NamesAndSizes) {
  for (const DType dtype : {DType::kF64, DType::kF32, DType::kF16, DType::kBF16, DType::kI64, DType::kI32, DType::kU8})
    EXPECT_EQ(dtype_from_name(dtype_name(dtype)), dtype);
  EXPECT_EQ(dtype_size(DType::kBF16), 2u);
  EXPECT_EQ(dtype_size(DType::kI64), 8u);
  EXPECT_THROW(dtype_from_name("F8"), Error);
}

}  // namespace
}  // namespace dinoxx
