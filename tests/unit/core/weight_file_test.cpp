// Files that PyTorch wrote (tests/golden/make_weight_files.py): every tensor bit for bit, and what is no tensor.
#include "formats/weight_file.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/files.hpp"
#include "dinoxx/base/error.hpp"
#include "source_dir.hpp"
#include "support/temporary_folder.hpp"
#include "zip_builder.hpp"

namespace dinoxx {
namespace {

using nlohmann::json;
using testing::HasSubstr;

const std::filesystem::path golden = golden_dir() / "weight_files";

uint64_t bits(std::string_view name, uint64_t index) {
  uint64_t hash = 0xCBF29CE484222325ull;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ull;
  uint64_t z = hash + index + 0x9E3779B97F4A7C15ull;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ z >> 27) * 0x94D049BB133111EBull;
  return z ^ z >> 31;
}

// The row-major bytes of a tensor of the manifest.
std::vector<std::byte> expected_bytes(const json& row, DType dtype, uint64_t count) {
  std::string name = row["values"];
  uint64_t first = 0, step = 1;  // "name[5::2]"
  if (const size_t slice = name.find('['); slice != std::string::npos) {
    first = std::stoull(name.substr(slice + 1));
    step = std::stoull(name.substr(name.find("::") + 2));
    name.resize(slice);
  }
  const bool transposed = name.ends_with("^T");
  if (transposed) name.resize(name.size() - 2);
  const uint64_t period = row.value("period", uint64_t{0});
  const size_t size = dtype_size(dtype);
  std::vector<std::byte> bytes(count * size);
  for (uint64_t i = 0; i < count; ++i) {
    uint64_t index = period ? i % period : i;
    if (transposed) index = i % row["shape"][1].get<uint64_t>() * row["shape"][0].get<uint64_t>() + i / row["shape"][1].get<uint64_t>();
    uint64_t value = bits(name, first + step * index);
    if (dtype == DType::kBool) value &= 1;
    std::memcpy(bytes.data() + i * size, &value, size);
  }
  return bytes;
}

json manifest() {
  std::ifstream in(golden / "manifest.json");
  return json::parse(in);
}

TEST(WeightFileGolden, EveryTensorBitForBit) {
  const json files = manifest()["files"];
  ASSERT_GE(files.size(), 15u);
  size_t tensors = 0;
  for (const auto& [name, row] : files.items()) {
    SCOPED_TRACE(name);
    const WeightFile file = WeightFile::open(golden / name);
    EXPECT_EQ(file.format(), row["format"] == "torch"         ? WeightFormat::kTorchArchive
                             : row["format"] == "distributed" ? WeightFormat::kDistributed
                                                              : WeightFormat::kSafetensors);
    EXPECT_EQ(json(file.unread()), row["unread"]);
    EXPECT_EQ(file.entries().size(), row["tensors"].size());
    EXPECT_EQ(file.settings(), row["settings"]) << file.settings().dump(1);
    for (const auto& [tensor, expected] : row["tensors"].items()) {
      SCOPED_TRACE(tensor);
      const WeightEntry* entry = file.find(tensor);
      ASSERT_NE(entry, nullptr);
      EXPECT_EQ(dtype_name(entry->dtype), expected["dtype"]);
      EXPECT_EQ(entry->shape, expected["shape"].get<std::vector<int64_t>>());
      EXPECT_EQ(entry->strides, expected["strides"].get<std::vector<int64_t>>());
      std::vector<std::byte> copy(entry->byte_count());
      copy_contiguous(*entry, copy);
      EXPECT_TRUE(copy == expected_bytes(expected, entry->dtype, entry->element_count()));
      EXPECT_TRUE(!entry->contiguous() || !entry->pieces.empty() || entry->bytes.size() == entry->byte_count());
      ++tensors;
    }
  }
  EXPECT_GT(tensors, 150u);
}

TEST(WeightFileGolden, KeepsTheOrderOfTheFileAndShares) {
  const WeightFile file = WeightFile::open(golden / "strided.pth");
  ASSERT_FALSE(file.entries().empty());
  EXPECT_EQ(file.entries()[0].name, "transposed");
  EXPECT_FALSE(file.at("transposed").contiguous());
  EXPECT_TRUE(file.at("row").contiguous());
  EXPECT_EQ(file.at("tied").bytes.data(), file.at("tied_again").bytes.data());
  EXPECT_EQ(file.at("tied").shard, "strided.pth");
  EXPECT_EQ(file.find("tied_agai"), nullptr);
  try {
    file.at("tied_agai");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("Did you mean \"tied_again\""));
  }
  std::vector<std::byte> small(3);
  EXPECT_THROW(copy_contiguous(file.at("tied"), small), Error);
}

TEST(WeightFileGolden, ShardsSayWhereEachTensorIs) {
  const WeightFile file = WeightFile::open(golden / "sharded");
  EXPECT_EQ(file.path().filename(), "model.safetensors.index.json");
  EXPECT_THAT(file.shards(), testing::ElementsAre("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"));
  EXPECT_EQ(file.at("b.weight").shard, "model-00002-of-00002.safetensors");
  EXPECT_GT(file.file_bytes(), 72u);
}

// Tensors that three processes saved a part of each, along either dimension, and what one of them saved whole.
TEST(WeightFileGolden, PiecesOfADistributedCheckpointAreJoined) {
  const WeightFile file = WeightFile::open(golden / "distributed_3");
  EXPECT_EQ(file.path().filename(), ".metadata");
  EXPECT_THAT(file.shards(), testing::UnorderedElementsAre("__0_0.distcp", "__1_0.distcp", "__2_0.distcp"));
  EXPECT_EQ(file.at("model.rows.weight").pieces.size(), 3u);
  EXPECT_EQ(file.at("model.rows.bias").pieces.size(), 2u) << "the third process had none of it";
  EXPECT_EQ(file.at("model.columns").pieces.size(), 3u);
  EXPECT_TRUE(file.at("model.whole").pieces.empty());
  EXPECT_EQ(WeightFile::open(golden / "distributed_3" / ".metadata").entries().size(), file.entries().size());
}

TEST(WeightFileGolden, AFolderOfDistributedCheckpointsNamesThem) {
  const testing_support::TemporaryFolder folder;
  std::filesystem::create_directories(folder / "ckpt");
  std::filesystem::copy(golden / "distributed_1", folder / "ckpt" / "199");
  try {
    WeightFile::open(folder.path());
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_THAT(error.what(), HasSubstr((folder / "ckpt" / "199").string()));
  }
}

TEST(WeightFileGolden, OutlivesTheObjectThatOpenedIt) {
  WeightFile copy = WeightFile::open(golden / "dtypes.pth");
  const WeightEntry* entry = nullptr;
  {
    const WeightFile first = WeightFile::open(golden / "state_dict_p2.pth");
    copy = first;
    entry = first.find("fc.weight");
  }
  ASSERT_NE(entry, nullptr);
  std::vector<std::byte> bytes(entry->byte_count());
  copy_contiguous(*entry, bytes);
  EXPECT_EQ(std::memcmp(bytes.data(), copy.at("fc.weight").bytes.data(), bytes.size()), 0);
}

TEST(WeightFileGolden, HeaderAloneHasEverythingButBytes) {
  for (const char* name : {"dtypes.pth", "dtypes.safetensors", "sharded", "sharded_bin", "unknown_p2.pth", "before_1.6_p2.pth",
                           "before_0.1.10.pth", "distributed_1", "distributed_3"}) {
    const WeightFile header = WeightFile::open(golden / name, FileAccess::kHeader), full = WeightFile::open(golden / name);
    ASSERT_EQ(header.entries().size(), full.entries().size());
    for (size_t i = 0; i < full.entries().size(); ++i) {
      EXPECT_EQ(header.entries()[i].name, full.entries()[i].name);
      EXPECT_EQ(header.entries()[i].shape, full.entries()[i].shape);
      EXPECT_FALSE(header.entries()[i].has_data());
      std::vector<std::byte> bytes(full.entries()[i].byte_count());
      EXPECT_THROW(copy_contiguous(header.entries()[i], bytes), Error);
    }
  }
}

uint64_t resident_bytes() {
  std::ifstream in("/proc/self/statm");
  uint64_t total = 0, resident = 0;
  in >> total >> resident;
  return resident * 4096;
}

// ViT-7B in float32, without its numbers: the file is a hole.
TEST(WeightFileLarge, InspectsASparseFileWithoutReadingIt) {
  const testing_support::TemporaryFolder folder;
  const uint64_t data = uint64_t{6'716'035'072} * 4;
  json header = {{"blocks.weight", {{"dtype", "F32"}, {"shape", {data / 4 - 4096, 1}}, {"data_offsets", {0, data - 4 * 4096}}}},
                 {"norm.weight", {{"dtype", "F32"}, {"shape", {4096}}, {"data_offsets", {data - 4 * 4096, data}}}}};
  const std::string text = header.dump();
  const uint64_t length = text.size();
  const auto path = folder.path() / "vit7b.safetensors";
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(&length), 8) << text;
  std::filesystem::resize_file(path, 8 + length + data);

  for (const FileAccess access : {FileAccess::kData, FileAccess::kHeader}) {
    const uint64_t before = resident_bytes();
    const WeightFile file = WeightFile::open(path, access);
    EXPECT_EQ(file.at("blocks.weight").byte_count(), data - 4 * 4096);
    EXPECT_EQ(file.file_bytes(), 8 + length + data);
    EXPECT_LT(resident_bytes(), before + (uint64_t{16} << 20));
    if (access == FileAccess::kHeader) continue;
    std::vector<std::byte> norm(4 * 4096, std::byte{1});
    copy_contiguous(file.at("norm.weight"), norm);  // the last bytes of 27 GB are where the header says
    EXPECT_EQ(norm, std::vector<std::byte>(4 * 4096));
  }
}

// Sizes and places beyond 32 bits stand in zip64 fields.
TEST(WeightFileLarge, ReadsZip64) {
  const testing_support::TemporaryFolder folder;
  using namespace std::string_literals;
  const uint64_t elements = uint64_t{5} << 29;  // 10 GiB
  const auto storage = [](const std::string& key, uint64_t count) {
    std::string number(reinterpret_cast<const char*>(&count), 8);
    return "ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0"s + key + "X\x03\0\0\0cpu\x8a\x08"s +
           number + "tQK\0\x8a\x08"s + number + "\x85K\x01\x85\x89}tR"s;
  };
  const std::string pickle = "\x80\x02}(X\x01\0\0\0a"s + storage("0", elements) + "X\x01\0\0\0b"s + storage("1", 2) + "u."s;
  testing_support::ZipBuilder zip;
  zip.zip64_end = true;
  zip.add("big/data.pkl", pickle);
  zip.add("big/data/0", "\x01\x02\x03\x04", elements * 4 - 4);
  zip.add("big/data/1", "abcdefgh");
  const auto path = folder.path() / "big.pth";
  zip.write(path);
  const WeightFile file = WeightFile::open(path);
  ASSERT_EQ(file.at("a").byte_count(), elements * 4);
  EXPECT_EQ(file.at("a").bytes[0], std::byte{1});
  EXPECT_EQ(file.at("a").bytes.back(), std::byte{0});
  EXPECT_EQ(std::memcmp(file.at("b").bytes.data(), "abcdefgh", 8), 0);

  zip.entries[1].zip64 = "\x01\x00\x08\x00"s;  // a field too short for the three numbers
  zip.write(path);
  EXPECT_THROW(WeightFile::open(path), Error);
}

}  // namespace
}  // namespace dinoxx
