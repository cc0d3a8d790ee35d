#include "tensorboard.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>

#include "base/crc32c.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

static_assert(std::endian::native == std::endian::little, "records are little-endian");

template <class T>
std::string bytes_of(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

// Protocol buffers' wire format.
std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
  return bytes + static_cast<char>(value);
}
enum class Wire : unsigned { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };
std::string field(unsigned number, Wire wire, const std::string& payload) {
  const std::string key = varint(number << 3 | static_cast<unsigned>(wire));
  return wire == Wire::kBytes ? key + varint(payload.size()) + payload : key + payload;
}

// Event: wall_time = 1, step = 2, file_version = 3, summary = 5, session_log = 7. Summary: value = 1. Value: tag = 1, simple_value = 2.
std::string event(const std::string& rest) {
  const double now = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  return field(1, Wire::kFixed64, bytes_of(now)) + rest;
}

// TFRecord's checksums are rotated, so that the checksum of data with checksums inside is no special value.
uint32_t masked_crc(const std::string& data) {
  const uint32_t crc = crc32c(data.data(), data.size());
  return std::rotr(crc, 15) + 0xa282ead8u;
}

constexpr const char* kFilePrefix = "events.out.tfevents.";

// Of the clock, or one more than the latest file's name has.
int64_t next_seconds(const std::filesystem::path& folder) {
  int64_t seconds = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  std::error_code code;
  for (const auto& entry : std::filesystem::directory_iterator(folder, code)) {
    const std::string name = entry.path().filename().string(), prefix = kFilePrefix;
    int64_t there = 0;
    if (!name.starts_with(prefix)) continue;
    const auto [end, error] = std::from_chars(name.data() + prefix.size(), name.data() + name.size(), there);
    if (error == std::errc() && there < 9'999'999'999) seconds = std::max(seconds, there + 1);
  }
  return seconds;
}

}  // namespace

TensorBoardFile::TensorBoardFile(const std::filesystem::path& folder, int64_t step) {
  path_ = folder / fmt::format("{}{:010}.dinoxx.{}", kFilePrefix, next_seconds(folder), ::getpid());
  file_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (file_ < 0) fail(path_.string(), "to write the file", std::strerror(errno), "Choose a folder that you may write to");
  write_record(event(field(3, Wire::kBytes, "brain.Event:2")));
  const std::string start = field(1, Wire::kVarint, varint(1));  // SessionLog: status = 1, START = 1
  write_record(event(field(2, Wire::kVarint, varint(static_cast<uint64_t>(step) + 1)) + field(7, Wire::kBytes, start)));
}

TensorBoardFile::~TensorBoardFile() {
  if (file_ >= 0) ::close(file_);
}

void TensorBoardFile::log(int64_t step, const std::vector<std::pair<std::string, double>>& scalars) {
  std::string summary;
  for (const auto& [tag, value] : scalars)
    summary += field(1, Wire::kBytes, field(1, Wire::kBytes, tag) + field(2, Wire::kFixed32, bytes_of(static_cast<float>(value))));
  write_record(event(field(2, Wire::kVarint, varint(static_cast<uint64_t>(step))) + field(5, Wire::kBytes, summary)));
}

// uint64 length, its checksum, data, its checksum; in one write, so that a reader never sees half of one for long
void TensorBoardFile::write_record(const std::string& data) {
  const std::string length = bytes_of(static_cast<uint64_t>(data.size()));
  const std::string record = length + bytes_of(masked_crc(length)) + data + bytes_of(masked_crc(data));
  size_t done = 0;
  while (done < record.size()) {
    const ssize_t n = ::write(file_, record.data() + done, record.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(path_.string(), "to write a record", std::strerror(errno), "Free space on that file system, then resume");
    done += static_cast<size_t>(n);
  }
}

}  // namespace dinoxx
