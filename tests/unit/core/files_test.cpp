#include "base/files.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {
namespace fs = std::filesystem;

class Files : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("dinoxx_files_" + std::to_string(::getpid()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  size_t entries() const { return static_cast<size_t>(std::distance(fs::directory_iterator(folder_), fs::directory_iterator())); }
  fs::path folder_;
};

TEST_F(Files, WritesAtomicallyAndReadsBack) {
  const std::string content("a\0b\n", 4);
  write_file_atomically(folder_ / "f", content);
  EXPECT_EQ(read_text(folder_ / "f"), content);
  write_file_atomically(folder_ / "f", "shorter");
  EXPECT_EQ(read_text(folder_ / "f"), "shorter");
  EXPECT_EQ(entries(), 1u);
}

TEST_F(Files, FailedWriteLeavesNothing) {
  fs::create_directories(folder_ / "occupied" / "child");  // a folder that rename cannot replace
  EXPECT_THAT([&] { write_file_atomically(folder_ / "occupied", "x"); }, testing::ThrowsMessage<Error>(testing::HasSubstr("occupied")));
  EXPECT_EQ(entries(), 1u);
  EXPECT_THROW(write_file_atomically(folder_ / "absent" / "f", "x"), Error);
  EXPECT_EQ(entries(), 1u);
}

TEST_F(Files, ReadTextNamesPathAndReason) {
  EXPECT_THAT([&] { read_text(folder_ / "nothing"); },
              testing::ThrowsMessage<Error>(testing::AllOf(testing::HasSubstr("nothing"), testing::HasSubstr("No such file"))));
  EXPECT_THAT([&] { read_text(folder_); }, testing::ThrowsMessage<Error>(testing::HasSubstr("a folder")));
}

TEST_F(Files, ReadsFilesWhoseSizeIsNotKnown) {
  EXPECT_THAT(read_text("/proc/self/status"), testing::HasSubstr("Pid:"));
}

TEST_F(Files, ReadAtIsExact) {
  write_file_atomically(folder_ / "f", "0123456789");
  FileDescriptor file(folder_ / "f");
  EXPECT_EQ(file.size(), 10u);
  std::vector<std::byte> out(4);
  file.read_at(out, 6);
  EXPECT_EQ(std::to_integer<char>(out[0]), '6');
  EXPECT_EQ(std::to_integer<char>(out[3]), '9');
  EXPECT_THAT([&] { file.read_at(out, 7); }, testing::ThrowsMessage<Error>(testing::HasSubstr("end of the file after 3")));
  FileDescriptor moved = std::move(file);
  moved.read_at(out, 0);
  EXPECT_EQ(std::to_integer<char>(out[0]), '0');
  EXPECT_EQ(file.get(), -1);
}

TEST_F(Files, WritableDirectory) {
  make_writable_directory(folder_ / "a" / "b");
  EXPECT_TRUE(fs::is_empty(folder_ / "a" / "b"));
  write_file_atomically(folder_ / "file", "x");
  EXPECT_THROW(make_writable_directory(folder_ / "file"), Error);
  EXPECT_THROW(make_writable_directory(folder_ / "file" / "below"), Error);
  EXPECT_THROW(make_writable_directory("/proc/dinoxx"), Error);  // refused to root too
}

}  // namespace
}  // namespace dinoxx
