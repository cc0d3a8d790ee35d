// Files that are damaged or made to do harm: each is refused with a message that names the file and the reason. Their pickles are tested in
// hostile_pickle_test.cpp.
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <span>
#include <vector>

#include "base/files.hpp"
#include "dinoxx/base/error.hpp"
#include "formats/pickle.hpp"
#include "formats/torch_archive.hpp"
#include "formats/weight_file.hpp"
#include "hostile_files.hpp"

namespace dinoxx::testing_support {
namespace {

using testing::HasSubstr;

TEST_F(HostileTest, ArchivesThatLie) {
  const std::string good = pickle_of(dict(good_tensor()));
  const auto change = [&](auto&& apply) {
    ZipBuilder zip = archive_of(good);
    apply(zip);
    return open(zip);
  };
  const auto entry = [&](size_t index, auto&& apply) { return change([&](ZipBuilder& zip) { apply(zip.entries[index]); }); };
  EXPECT_EQ(change([](ZipBuilder&) {}), "accepted");
  EXPECT_EQ(change([](ZipBuilder& zip) { zip.zip64_end = true; }), "accepted");
  EXPECT_THAT(entry(0, [](auto& e) { e.crc_change = 1; }), HasSubstr("checksum"));
  EXPECT_THAT(entry(2, [](auto& e) { e.method = 8; }), HasSubstr("compression method 8"));
  EXPECT_THAT(entry(2, [](auto& e) { e.flags = 1; }), HasSubstr("encrypted"));
  EXPECT_THAT(entry(2, [](auto& e) { e.local_name = "archive/data/1"; }), HasSubstr("agrees with the central directory"));
  EXPECT_THAT(entry(2, [](auto& e) { e.size_change = 1000; }), HasSubstr("inside the"));
  EXPECT_THAT(entry(3, [](auto& e) { e.size_change = 100; }), HasSubstr("before the central directory"));
  EXPECT_THAT(entry(2, [](auto& e) { e.size_change = 20; }), HasSubstr("an overlap"));
  EXPECT_THAT(entry(2, [](auto& e) { e.size_change = UINT32_MAX; }), testing::Not(HasSubstr("accepted")));
  EXPECT_THAT(entry(2, [](auto& e) { e.local_offset = 1; }), HasSubstr("a local header at byte 1"));
  EXPECT_THAT(entry(2, [](auto& e) { e.local_offset = 1 << 30; }), HasSubstr("a local header inside"));
  EXPECT_THAT(entry(2, [](auto& e) { e.local_offset = INT64_MAX; }), HasSubstr("a local header inside"));
  EXPECT_THAT(entry(2, [](auto& e) { e.name = "archive/data.pkl"; }), HasSubstr("found it twice"));
  EXPECT_THAT(entry(2, [](auto& e) { e.name = "other/data.pkl"; }), HasSubstr("one data.pkl"));
  EXPECT_THAT(entry(0, [](auto& e) { e.name = "archive/data.txt"; }), HasSubstr("another zip archive"));
  EXPECT_THAT(entry(0, [](auto& e) { e.name = "data.pkl"; }), HasSubstr("another zip archive"));
  EXPECT_THAT(entry(2, [](auto& e) { e.name = "archive/../data/0"; }), HasSubstr("a record data/0"));
  EXPECT_THAT(entry(2, [](auto& e) { e.content += "x"; }), HasSubstr("a record of 17 bytes"));
  EXPECT_THAT(entry(1, [](auto& e) { e.content = "big"; }), HasSubstr("byteorder \"big\""));
  EXPECT_THAT(entry(3, [](auto& e) { e.content = "11\n"; }), HasSubstr("a version from 1 to 10"));
  EXPECT_THAT(entry(3, [](auto& e) { e.content = "x"; }), HasSubstr("a version from 1 to 10"));
  EXPECT_THAT(change([](ZipBuilder& zip) { zip.count = 3; }), HasSubstr("more bytes behind them"));
  EXPECT_THAT(change([](ZipBuilder& zip) { zip.count = 5; }), testing::AnyOf(HasSubstr("another record"), HasSubstr("at most 4 entries")));
  EXPECT_THAT(change([](ZipBuilder& zip) { zip.count = 60000; }), HasSubstr("entries in"));
  EXPECT_THAT(change([](ZipBuilder& zip) { zip.zip64_end = true, zip.count = INT64_MAX; }), HasSubstr("entries in"));
  EXPECT_THAT(change([](ZipBuilder& zip) { zip.directory_offset = INT32_MAX; }), HasSubstr("central directory inside"));
  EXPECT_THAT(change([](ZipBuilder& zip) { zip.zip64_end = true, zip.directory_offset = INT64_MAX; }),
              HasSubstr("central directory inside"));
  EXPECT_THAT(change([](ZipBuilder& zip) { zip.directory_size = 10; }), HasSubstr("a central directory that ends"));
  EXPECT_THAT(change([](ZipBuilder& zip) { zip.behind = "x"; }), HasSubstr("the end of a zip archive"));
  EXPECT_THAT(change([](ZipBuilder& zip) { zip.comment = "PK"; }), HasSubstr("the end of a zip archive"));
  EXPECT_EQ(change([](ZipBuilder& zip) { zip.between = std::string(10, 'x'); }), "accepted");  // a gap harms nobody
}

// Every prefix of a real file, and every prefix of its pickle in an archive that is otherwise right.
TEST_F(HostileTest, CutAtEveryByte) {
  const std::string whole = read_text(golden / "state_dict_p5.pth");
  const auto read = [](const std::string& bytes) { return read_torch_archive(std::as_bytes(std::span(bytes)), "cut.pth"); };
  EXPECT_EQ(read(whole).tensors.size(), 11u);
  for (size_t size = 0; size < whole.size(); ++size) EXPECT_THROW(read(whole.substr(0, size)), Error) << size;
  for (const char* name : {"v1_checkpoint_p2.pth", "v1_checkpoint_p5.pth", "parameters.pth"}) {
    const std::string archive = read_text(golden / name);
    std::string pickle;
    for (const ZipEntry& entry : read_zip(std::as_bytes(std::span(archive)), name))
      if (entry.name.ends_with("/data.pkl")) pickle.assign(reinterpret_cast<const char*>(entry.bytes.data()), entry.bytes.size());
    ASSERT_GT(pickle.size(), 500u);
    EXPECT_NO_THROW(pickle::parse(std::as_bytes(std::span(pickle)), name));
    for (size_t size = 0; size < pickle.size(); ++size)
      EXPECT_THROW(pickle::parse(std::as_bytes(std::span(pickle)).first(size), name), Error) << name << " " << size;
  }
}

TEST_F(HostileTest, SafetensorsCutAtEveryByte) {
  const std::string whole = read_text(golden / "dtypes.safetensors");
  const auto bytes = std::as_bytes(std::span(whole));
  EXPECT_EQ(parse_safetensors(bytes, bytes.size(), "s").tensors.size(), 16u);
  for (size_t size = 0; size < whole.size(); ++size) EXPECT_THROW(parse_safetensors(bytes.first(size), size, "s"), Error) << size;
  // the header alone is enough to list, but no byte less
  uint64_t length = 0;
  std::memcpy(&length, whole.data(), 8);
  EXPECT_TRUE(parse_safetensors(bytes.first(8 + length), bytes.size(), "s").tensors.at("F32").bytes.empty());
  EXPECT_THROW(parse_safetensors(bytes.first(7 + length), bytes.size(), "s"), Error);
}

TEST_F(HostileTest, SafetensorsThatAskForMemory) {
  const auto open_header = [&](const std::string& header, uint64_t length) {
    std::ofstream(folder_ / "h.safetensors", std::ios::binary) << little(length, 8) << header;
    return refusal(folder_ / "h.safetensors");
  };
  EXPECT_THAT(open_header("{}", 100'000'001), HasSubstr("header length"));
  EXPECT_THAT(open_header("{}", UINT64_MAX), HasSubstr("header length"));
  const std::string numbers = R"({"a":{"dtype":"F32","shape":[)" + repeated("0,", 100'000) + "0]}}";
  EXPECT_THAT(open_header(numbers, numbers.size()), HasSubstr("more than 64 values"));
  const std::string lists = R"({"a":[[)" + repeated("[],", 100'000) + "[]]]}";
  EXPECT_THAT(open_header(lists, lists.size()), HasSubstr("more than 64 values"));
  const std::string deep = R"({"a":)" + std::string(1'000'000, '[');
  EXPECT_THAT(open_header(deep, deep.size()), HasSubstr("nested"));
}

TEST_F(HostileTest, IndexFiles) {
  const auto map_to = [](const std::string& name) { return R"({"weight_map":{"a.weight":)" + name + "}}"; };
  for (const char* name : {R"("../model.safetensors")", R"("/etc/passwd")", R"("sub/model.safetensors")", R"("..\\model.safetensors")",
                           R"("..")", R"(".")", R"("model.safetensors\u0000.safetensors")", R"("a..safetensors")", R"("passwd")",
                           R"("C:model.safetensors")", R"(".hidden.safetensors")"})
    EXPECT_THAT(open_index(map_to(name)), HasSubstr("names of files beside the index")) << name;
  EXPECT_THAT(open_index(map_to("\"" + std::string(300, 'a') + ".safetensors\"")), HasSubstr("names of files beside"));
  EXPECT_THAT(open_index(map_to("\"\"")), HasSubstr("a file name for"));
  EXPECT_THAT(open_index(map_to("5")), HasSubstr("a file name for"));
  EXPECT_THAT(open_index("{}"), HasSubstr("weight_map"));
  EXPECT_THAT(open_index(R"({"weight_map":{}})"), HasSubstr("weight_map"));
  EXPECT_THAT(open_index(R"({"weight_map":[1]})"), HasSubstr("weight_map"));
  EXPECT_THAT(open_index(R"({"weight_map":{"a":"x.bin","a":"y.bin"}})"), HasSubstr("\"a\" twice"));
  EXPECT_THAT(open_index("x"), HasSubstr("no JSON"));
  std::string shards = R"({"weight_map":{)";
  for (int i = 0; i < 5000; ++i) shards += fmt::format("{}\"t{}\":\"{}.bin\"", i ? "," : "", i, i);
  EXPECT_THAT(open_index(shards + "}}"), HasSubstr("at most 4096 shards"));

  for (const char* name : {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"})
    std::filesystem::copy_file(golden / "sharded" / name, folder_ / name);
  const std::string first = "\"model-00001-of-00002.safetensors\"", second = "\"model-00002-of-00002.safetensors\"";
  const auto index = [&](const std::string& a, const std::string& b, const std::string& more) {
    return R"({"weight_map":{"a.weight":)" + a + R"(,"b.weight":)" + b + R"(,"c.weight":)" + first + more + "}}";
  };
  EXPECT_EQ(open_index(index(first, second, "")), "accepted");
  EXPECT_THAT(open_index(index(second, second, "")), HasSubstr("a weight_map that says model-00001-of-00002.safetensors for \"a.weight\""));
  EXPECT_THAT(open_index(index(first, second, R"(,"d.weight":)" + first)), HasSubstr("the tensor \"d.weight\" in model-00001"));
  EXPECT_THAT(open_index(R"({"weight_map":{"a.weight":)" + first + "}}"), HasSubstr("found no such tensor"));
  std::filesystem::remove(folder_ / "model-00002-of-00002.safetensors");
  EXPECT_THROW(WeightFile::open(folder_ / "model.safetensors.index.json"), Error);
}

// Opening one for reading waits for a writer that may never come; here there is one, so that a reader that waits fails instead.
TEST_F(HostileTest, NamedPipes) {
  std::vector<int> writers;
  const auto pipe = [&](const char* name) {
    const std::filesystem::path path = folder_ / name;
    EXPECT_EQ(::mkfifo(path.c_str(), 0600), 0);
    writers.push_back(::open(path.c_str(), O_RDWR | O_NONBLOCK));
    return path;
  };
  EXPECT_THAT(refusal(pipe("pipe.safetensors")), HasSubstr("a named pipe"));
  EXPECT_THAT(refusal(pipe("pipe.index.json")), HasSubstr("a named pipe"));
  EXPECT_THAT(refusal(pipe(".metadata")), HasSubstr("a named pipe"));
  EXPECT_THROW(SafetensorsFile(folder_ / "pipe.safetensors"), Error);
  std::ofstream(folder_ / "model.safetensors.index.json") << R"({"weight_map":{"a.weight":"pipe.safetensors"}})";
  EXPECT_THROW(WeightFile::open(folder_ / "model.safetensors.index.json"), Error);
  EXPECT_THAT(refusal("/dev/zero"), HasSubstr("a device"));
  for (const int writer : writers) ::close(writer);
}

TEST_F(HostileTest, FilesOfAnotherKind) {
  const auto content = [&](const std::string& bytes) {
    std::ofstream(folder_ / "other.bin", std::ios::binary) << bytes;
    return refusal(folder_ / "other.bin");
  };
  EXPECT_THAT(content(""), HasSubstr("an empty file"));
  EXPECT_THAT(content("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), HasSubstr("git lfs pull"));
  EXPECT_THAT(content("<!DOCTYPE html><html>"), HasSubstr("web page"));
  EXPECT_THAT(content("\x1f\x8b\x08"), HasSubstr("gzip"));
  EXPECT_THAT(content("\x89HDF\r\n"), HasSubstr("HDF5"));
  EXPECT_THAT(content(std::string(257, 'a') + "ustar" + std::string(300, 0)), HasSubstr("of another size"));
  EXPECT_THAT(content("PK\x03\x04"), HasSubstr("at least 22 bytes"));
  EXPECT_THAT(content("hello"), HasSubstr("at least 8 bytes"));
  EXPECT_THAT(refusal(folder_.path()), HasSubstr("a folder with model.safetensors"));
  EXPECT_THROW(WeightFile::open(folder_ / "missing.pth"), Error);
  EXPECT_THROW(WeightFile::open("/dev/null"), Error);
}

}  // namespace
}  // namespace dinoxx::testing_support
