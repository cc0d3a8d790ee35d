#include "data_pipeline/format/shard.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hdf5.h>
#include <malloc.h>

#include <fstream>
#include <thread>

#include "data_pipeline/format/content_hash.hpp"
#include "dinoxx/base/error.hpp"
#include "support/image_files.hpp"
#include "support/temporary_folder.hpp"
#include "support/version_one.hpp"

namespace dinoxx {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;
using testing_support::TemporaryFolder;

std::vector<uint8_t> payload(uint32_t seed, size_t size) {
  std::vector<uint8_t> bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(seed * 31 + i * 7);
  return bytes;
}

ShardHeader header() {
  ShardHeader h;
  h.label_columns = {{"label", {"cat", "dog"}}, {"label2", {"a", "b", "c"}}};
  h.has_groups = true;
  h.provenance = R"({"kind":"test"})";
  h.packer_version = "0";
  h.packer_command = "none";
  h.created_utc = "2000-01-01T00:00:00Z";
  return h;
}

constexpr int kRows = 20;

ShardInfo write_shard(const std::filesystem::path& path, uint32_t seed = 0) {
  ShardWriter writer(header());
  for (uint32_t i = 0; i < kRows; ++i) {
    SampleRecord record;
    record.key = fmt::format("folder/{}.png", i);
    record.image = {Codec::kPng, static_cast<int>(100 + i), static_cast<int>(200 + i), 3, 8};
    record.labels = {static_cast<int32_t>(i % 2), static_cast<int32_t>(i % 4) - 1};
    record.split = static_cast<Split>(i % 3);
    if (i > 0) record.group = i == 1 ? 0 : uint64_t{1} << (40 + i);
    record.weight = 0.5f * static_cast<float>(i);
    record.content_id = {i, ~uint64_t{i}};
    writer.add(record, payload(seed + i, 50 + i), i % 2 == 0 ? payload(1000 + i, 10) : std::vector<uint8_t>());
  }
  return writer.finish(path, 0);
}

/// The size of a shard is what a user is told that packing takes.
TEST(Shard, TheWriterTakesLittleMoreMemoryThanTheBytes) {
  ShardHeader plain;
  ShardWriter writer(plain);
  const auto in_use = [] {
    const struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
  };
  constexpr size_t kSample = size_t{1} << 20, kSamples = 40;  // a vector would have room for 64 by then
  const std::vector<uint8_t> image = payload(1, kSample + 5);
  const size_t before = in_use();
  SampleRecord record;
  for (size_t i = 0; i < kSamples; ++i) writer.add(record, image, {});
  EXPECT_EQ(writer.payload_bytes(), kSamples * image.size());
  EXPECT_LT(in_use() - before, (kSamples + 3) * kSample);
}

TEST(Shard, LargeSamplesComeBack) {
  const TemporaryFolder folder;
  ShardHeader plain;
  ShardWriter writer(plain);
  std::vector<std::vector<uint8_t>> images;
  for (const size_t size : {size_t{1} << 20, size_t{3} << 20, size_t{700000}, size_t{700001}, size_t{1}}) {
    images.push_back(payload(static_cast<uint32_t>(size), size));
    SampleRecord record;
    record.key = std::to_string(size);
    writer.add(record, images.back(), {});
  }
  writer.finish(folder / "shard.h5", 0);
  const ShardReader shard(folder / "shard.h5");
  ASSERT_EQ(shard.size(), images.size());
  std::vector<uint8_t> bytes;
  for (uint64_t row = 0; row < images.size(); ++row) {
    shard.read(row, bytes);
    EXPECT_EQ(bytes, images[row]) << row;
  }
}

TEST(Shard, GivesBackWhatWasWritten) {
  const TemporaryFolder folder;
  const ShardInfo info = write_shard(folder / "shard.h5");
  EXPECT_EQ(info.n, uint64_t{kRows});
  EXPECT_EQ(info.file_bytes, std::filesystem::file_size(folder / "shard.h5"));
  const ShardReader shard(folder / "shard.h5");
  ASSERT_EQ(shard.size(), uint64_t{kRows});
  EXPECT_EQ(shard.uuid(), info.uuid);
  EXPECT_TRUE(shard.has_masks());
  EXPECT_TRUE(shard.has_groups());
  EXPECT_EQ(shard.provenance(), R"({"kind":"test"})");
  std::vector<uint8_t> bytes;
  for (uint32_t i = 0; i < kRows; ++i) {
    EXPECT_EQ(shard.key(i), fmt::format("folder/{}.png", i));
    EXPECT_EQ(shard.meta(i).label, static_cast<int32_t>(i % 2));
    EXPECT_EQ(shard.label(i, 0), static_cast<int32_t>(i % 2));
    EXPECT_EQ(shard.label(i, 1), static_cast<int32_t>(i % 4) - 1);
    EXPECT_EQ(shard.label(i, 2), -1);
    EXPECT_EQ(shard.meta(i).split, static_cast<Split>(i % 3));
    const std::optional<uint64_t> group = i == 0 ? std::nullopt : std::optional(i == 1 ? 0 : uint64_t{1} << (40 + i));
    EXPECT_EQ(shard.meta(i).group, group) << i;
    EXPECT_EQ(shard.meta(i).weight, 0.5f * static_cast<float>(i));
    EXPECT_EQ(shard.meta(i).width, 100 + i);
    EXPECT_EQ(shard.meta(i).height, 200 + i);
    EXPECT_EQ(shard.meta(i).codec, Codec::kPng);
    EXPECT_EQ(shard.content_id(i), (std::array<uint64_t, 2>{i, ~uint64_t{i}}));
    shard.read(i, bytes);
    EXPECT_EQ(bytes, payload(i, 50 + i));
    shard.read_mask(i, bytes);
    EXPECT_EQ(bytes, i % 2 == 0 ? payload(1000 + i, 10) : std::vector<uint8_t>());
  }
}

TEST(Shard, WithoutLabelsGroupsAndMasks) {
  const TemporaryFolder folder;
  ShardWriter writer{ShardHeader{}};
  SampleRecord record;
  record.key = "x";
  writer.add(record, payload(1, 5), {});
  writer.finish(folder / "shard.h5", 3);
  const ShardReader shard(folder / "shard.h5");
  EXPECT_EQ(shard.meta(0).label, -1);
  EXPECT_FALSE(shard.has_masks());
  EXPECT_FALSE(shard.has_groups());
  EXPECT_EQ(shard.label_columns_json(), "[]");
  std::vector<uint8_t> bytes{1};
  shard.read_mask(0, bytes);
  EXPECT_TRUE(bytes.empty());
}

TEST(Shard, IdentityIsTheContent) {
  const TemporaryFolder folder;
  const ShardInfo a = write_shard(folder / "a.h5"), b = write_shard(folder / "b.h5"), c = write_shard(folder / "c.h5", 1);
  EXPECT_EQ(a.uuid, b.uuid);
  EXPECT_EQ(a.file_crc32c, b.file_crc32c);
  EXPECT_NE(a.uuid, c.uuid);
  ASSERT_EQ(a.uuid.size(), 36u);
  EXPECT_EQ(a.uuid[14], '8');  // version of RFC 9562
}

TEST(Shard, ReadByManyThreads) {
  const TemporaryFolder folder;
  write_shard(folder / "shard.h5");
  const ShardReader shard(folder / "shard.h5");
  std::vector<std::thread> threads;
  threads.reserve(8);
  std::atomic<int> wrong{0};
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      std::vector<uint8_t> bytes;
      for (uint32_t k = 0; k < 500; ++k) {
        const uint32_t i = (k * 7 + static_cast<uint32_t>(t)) % kRows;
        shard.read(i, bytes);
        if (bytes != payload(i, 50 + i) || shard.key(i) != fmt::format("folder/{}.png", i)) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(Shard, ChecksItsRecords) {
  ShardWriter writer(header());
  EXPECT_THAT([&] { writer.add({.key = "k", .labels = {1}}, payload(1, 5), {}); },
              ThrowsMessage<Error>(HasSubstr("expected 2 labels, found 1")));
}

/// Everything that a reader can learn of a shard.
std::string contents(const std::filesystem::path& path) {
  const ShardReader shard(path);
  std::string all = shard.uuid() + shard.label_columns_json() + std::to_string(shard.has_groups());
  std::vector<uint8_t> bytes;
  for (uint64_t i = 0; i < shard.size(); ++i) {
    const SampleMeta& m = shard.meta(i);
    all += fmt::format("{} {} {} {} {} {} {} {} {}", shard.key(i), m.label, shard.label(i, 1), static_cast<int>(m.split),
                       m.group.value_or(0) + (m.group ? 1 : 0), m.weight, m.width, m.height, static_cast<int>(m.codec));
    shard.read(i, bytes);
    all.append(bytes.begin(), bytes.end());
    shard.read_mask(i, bytes);
    all.append(bytes.begin(), bytes.end());
    all += fmt::format("{}", shard.content_id(i)[0]);
  }
  return all;
}

std::vector<uint8_t> read_bytes(const std::filesystem::path& path) {
  const std::string text = read_text(path);
  return {text.begin(), text.end()};
}

TEST(Shard, AFlippedByteIsNoticedOrWithoutEffect) {
  const TemporaryFolder folder;
  write_shard(folder / "shard.h5");
  const std::string expected = contents(folder / "shard.h5");
  const std::vector<uint8_t> good = read_bytes(folder / "shard.h5");
  size_t noticed = 0, tried = 0;
  for (size_t at = 0; at < good.size(); at += 23) {
    std::vector<uint8_t> bad = good;
    bad[at] ^= 0x5A;
    testing_support::write_bytes(folder / "bad.h5", bad);
    ++tried;
    try {
      ASSERT_EQ(contents(folder / "bad.h5"), expected) << "byte " << at;  // provenance text and unused space may change
    } catch (const Error&) {
      ++noticed;
    }
  }
  EXPECT_GT(noticed, tried / 2);
}

TEST(Shard, EveryTruncationIsNoticed) {
  const TemporaryFolder folder;
  write_shard(folder / "shard.h5");
  const std::vector<uint8_t> good = read_bytes(folder / "shard.h5");
  for (size_t size = 0; size < good.size(); size += 97) {
    testing_support::write_bytes(folder / "bad.h5", std::span(good).first(size));
    EXPECT_THROW(ShardReader(folder / "bad.h5"), Error) << size;
  }
  testing_support::write_bytes(folder / "bad.h5", std::span(good).first(good.size() - 1));
  EXPECT_THAT([&] { ShardReader(folder / "bad.h5"); }, ThrowsMessage<Error>(testing::AllOf(HasSubstr("bad.h5"), HasSubstr("truncated"))));
}

TEST(Shard, AFlippedSampleNamesItsRowAndKey) {
  const TemporaryFolder folder;
  write_shard(folder / "shard.h5");
  std::vector<uint8_t> bytes = read_bytes(folder / "shard.h5");
  const std::vector<uint8_t> row = payload(7, 57);
  const auto found = std::search(bytes.begin(), bytes.end(), row.begin(), row.end());
  ASSERT_NE(found, bytes.end());
  found[20] ^= 1;
  testing_support::write_bytes(folder / "bad.h5", bytes);
  const ShardReader shard(folder / "bad.h5");
  std::vector<uint8_t> out;
  shard.read(6, out);
  EXPECT_THAT([&] { shard.read(7, out); },
              ThrowsMessage<Error>(testing::AllOf(HasSubstr("row 7"), HasSubstr("folder/7.png"), HasSubstr("CRC32C"))));
}

// Files of other programs.

class ForeignShard : public testing::Test {
 protected:
  void SetUp() override {
    write_shard(folder_ / "shard.h5");
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  }
  /// Opens the shard for changes with HDF5 itself.
  template <class Change>
  void change(const Change& apply) {
    const hid_t file = H5Fopen((folder_ / "shard.h5").c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
    ASSERT_GE(file, 0);
    apply(file);
    H5Fclose(file);
  }
  void replace_dataset(const char* name, hid_t type, std::vector<hsize_t> dims, hid_t plist = H5P_DEFAULT) {
    change([&](hid_t file) {
      H5Ldelete(file, name, H5P_DEFAULT);
      const hid_t space = H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr);
      const hid_t set = H5Dcreate2(file, name, type, space, H5P_DEFAULT, plist, H5P_DEFAULT);
      ASSERT_GE(set, 0);
      std::vector<char> zeros(4096 + 8 * dims[0] * (dims.size() > 1 ? dims[1] : 1));
      H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, zeros.data());
      H5Dclose(set);
      H5Sclose(space);
    });
  }
  void expect_refused(const std::string& words) {
    EXPECT_THAT([&] { ShardReader(folder_ / "shard.h5"); }, ThrowsMessage<Error>(testing::AllOf(HasSubstr("shard.h5"), HasSubstr(words))));
  }
  TemporaryFolder folder_;
};

TEST_F(ForeignShard, NoHdf5File) {
  testing_support::write_words(folder_ / "shard.h5", "this is no HDF5 file at all");
  expect_refused("an HDF5 file");
  EXPECT_THAT([&] { ShardReader(folder_ / "absent.h5"); }, ThrowsMessage<Error>(HasSubstr("No such file")));
}

TEST_F(ForeignShard, AnotherProgramsHdf5File) {
  change([](hid_t file) { H5Adelete(file, "format"); });
  expect_refused("format \"dinoxx-shard\"");
}

TEST_F(ForeignShard, AnotherVersion) {
  change([](hid_t file) {
    const hid_t attribute = H5Aopen(file, "format_version", H5P_DEFAULT);
    const uint64_t three = 3;
    H5Awrite(attribute, H5T_NATIVE_UINT64, &three);
    H5Aclose(attribute);
  });
  expect_refused("format version 1 to 2, found 3");
}

TEST_F(ForeignShard, VersionOneDoesNotSayWhetherZeroIsAGroup) {
  ASSERT_NO_FATAL_FAILURE(testing_support::make_version_one_shard(folder_ / "shard.h5"));
  const ShardReader shard(folder_ / "shard.h5");
  EXPECT_EQ(shard.unclear_groups(), 2u);
  EXPECT_FALSE(shard.meta(0).group);
  EXPECT_FALSE(shard.meta(1).group);
  EXPECT_EQ(shard.meta(2).group, uint64_t{1} << 42);
}

TEST_F(ForeignShard, ChunkedBlob) {
  const hid_t plist = H5Pcreate(H5P_DATASET_CREATE);
  const hsize_t chunk[1] = {64};
  H5Pset_chunk(plist, 1, chunk);
  replace_dataset("/samples/blob", H5T_STD_U8LE, {1190}, plist);
  expect_refused("contiguous");
  H5Pclose(plist);
}

TEST_F(ForeignShard, ExternalBlob) {
  const hid_t plist = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_external(plist, (folder_ / "elsewhere.bin").c_str(), 0, 1190);
  replace_dataset("/samples/blob", H5T_STD_U8LE, {1190}, plist);
  expect_refused("external storage");
  H5Pclose(plist);
}

TEST_F(ForeignShard, BlobOfAnotherType) {
  replace_dataset("/samples/blob", H5T_STD_U16LE, {1190});
  expect_refused("another type");
}

TEST_F(ForeignShard, BlobOfAnotherLength) {
  replace_dataset("/samples/blob", H5T_STD_U8LE, {1000});
  expect_refused("1000");
}

TEST_F(ForeignShard, IndexArrayReplaced) {
  replace_dataset("/samples/crc32c", H5T_STD_U32LE, {kRows});
  expect_refused("index arrays with CRC32C");
}

TEST_F(ForeignShard, MissingArray) {
  change([](hid_t file) { H5Ldelete(file, "/samples/codec", H5P_DEFAULT); });
  expect_refused("/samples/codec");
}

TEST(ContentHash, PublishedVectors) {
  // smhasher's verification vectors as others quote them: MurmurHash3_x64_128, seed 0
  EXPECT_EQ(detail::hash_text(detail::hash128("", 0)), "00000000000000000000000000000000");
  const std::string fox = "The quick brown fox jumps over the lazy dog";
  EXPECT_EQ(detail::hash_text(detail::hash128(fox.data(), fox.size())), "e34bbc7bbc071b6c7a433ca9c49a9347");
}

}  // namespace
}  // namespace dinoxx

/// HDF5 1.10 forgets some memory when it refuses a damaged file; the leak checker of the asan preset is told so.
extern "C" const char* __lsan_default_suppressions() {
  return "leak:libhdf5";
}
