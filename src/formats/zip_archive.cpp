#include "zip_archive.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <unordered_set>

#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

constexpr uint32_t local_signature = 0x04034b50, central_signature = 0x02014b50, end_signature = 0x06054b50;
constexpr uint32_t end64_signature = 0x06064b50, locator_signature = 0x07064b50;
constexpr uint64_t local_size = 30, central_size = 46, end_size = 22, end64_size = 56, locator_size = 20;
constexpr uint16_t zip64_extra = 1;

[[noreturn]] void defect(const std::string& subject, std::string_view expected, std::string_view found) {
  fail(subject, expected, found, "The archive is damaged or was not written by torch.save: copy, download or save it again");
}

// Little-endian numbers at checked places.
class Reader {
 public:
  Reader(std::span<const std::byte> bytes, const std::string& subject) : bytes_(bytes), subject_(subject) {}
  uint64_t size() const { return bytes_.size(); }

  std::span<const std::byte> range(uint64_t begin, uint64_t count, std::string_view what) const {
    if (begin > size() || count > size() - begin)
      defect(subject_, fmt::format("{} inside the {} bytes of the file", what, size()),
             fmt::format("{} bytes from byte {} on", count, begin));
    return bytes_.subspan(begin, count);
  }

 private:
  std::span<const std::byte> bytes_;
  const std::string& subject_;
};

template <class T>
T number(std::span<const std::byte> bytes, size_t at) {
  static_assert(std::endian::native == std::endian::little, "the format is little-endian");
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);  // callers have a range that holds it
  return value;
}

std::string_view text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

struct Directory {
  uint64_t begin = 0, size = 0, entries = 0;
};

// The end record has to be the last thing in the file: a comment behind it would make its place a matter of search and opinion.
Directory find_directory(const Reader& file, const std::string& subject) {
  if (file.size() < end_size) defect(subject, fmt::format("at least {} bytes", end_size), fmt::format("{} bytes", file.size()));
  const uint64_t end_at = file.size() - end_size;
  const auto end = file.range(end_at, end_size, "the end record");
  if (number<uint32_t>(end, 0) != end_signature || number<uint16_t>(end, 20) != 0)
    defect(subject, "the end of a zip archive in the last 22 bytes", "something else (a file cut short?)");
  if (number<uint16_t>(end, 4) != 0 || number<uint16_t>(end, 6) != 0) defect(subject, "an archive of one disk", "several");
  Directory directory{number<uint32_t>(end, 16), number<uint32_t>(end, 12), number<uint16_t>(end, 10)};
  uint64_t directory_end = end_at;
  const bool locator =
      end_at >= locator_size && number<uint32_t>(file.range(end_at - locator_size, locator_size, "the locator"), 0) == locator_signature;
  if (locator) {
    const auto pointer = file.range(end_at - locator_size, locator_size, "the locator");
    directory_end = number<uint64_t>(pointer, 8);
    const auto end64 = file.range(directory_end, end64_size, "the zip64 end record");
    if (number<uint32_t>(end64, 0) != end64_signature) defect(subject, "a zip64 end record where the locator points", "something else");
    directory = {number<uint64_t>(end64, 48), number<uint64_t>(end64, 40), number<uint64_t>(end64, 32)};
  }
  const auto bytes = file.range(directory.begin, directory.size, "the central directory");
  if (directory.begin + directory.size != directory_end)
    defect(subject, fmt::format("a central directory that ends at byte {}", directory_end),
           fmt::format("one that ends at byte {}", directory.begin + directory.size));
  if (directory.entries > bytes.size() / central_size)
    defect(subject, fmt::format("at most {} entries in {} bytes of central directory", bytes.size() / central_size, bytes.size()),
           std::to_string(directory.entries));
  return directory;
}

struct Central {
  std::string_view name;
  uint16_t flags = 0, method = 0;
  uint32_t crc = 0;
  uint64_t compressed = 0, uncompressed = 0, local = 0;
};

// Fields that are 0xFFFFFFFF in the record stand in the extra field 1, in this order.
void read_zip64(std::span<const std::byte> extra, Central& entry, const std::string& subject) {
  std::vector<uint64_t*> wanted;
  for (uint64_t* field : {&entry.uncompressed, &entry.compressed, &entry.local})
    if (*field == UINT32_MAX) wanted.push_back(field);
  if (wanted.empty()) return;
  while (extra.size() >= 4) {
    const auto id = number<uint16_t>(extra, 0), size = number<uint16_t>(extra, 2);
    if (size > extra.size() - 4) break;
    if (id == zip64_extra) {
      if (size < wanted.size() * 8) break;
      for (size_t i = 0; i < wanted.size(); ++i) *wanted[i] = number<uint64_t>(extra, 4 + i * 8);
      return;
    }
    extra = extra.subspan(4 + size);
  }
  defect(subject, "a zip64 field with the sizes of a large entry", "none that is complete");
}

Central read_central(std::span<const std::byte>& directory, const std::string& subject) {
  if (directory.size() < central_size || number<uint32_t>(directory, 0) != central_signature)
    defect(subject, "another record of the central directory", "something else");
  Central entry;
  entry.flags = number<uint16_t>(directory, 8);
  entry.method = number<uint16_t>(directory, 10);
  entry.crc = number<uint32_t>(directory, 16);
  entry.compressed = number<uint32_t>(directory, 20);
  entry.uncompressed = number<uint32_t>(directory, 24);
  entry.local = number<uint32_t>(directory, 42);
  const uint64_t name = number<uint16_t>(directory, 28), extra = number<uint16_t>(directory, 30), comment = number<uint16_t>(directory, 32);
  if (name + extra + comment > directory.size() - central_size)
    defect(subject, "names inside the central directory", fmt::format("a record of {} bytes", name + extra + comment));
  entry.name = text(directory.subspan(central_size, name));
  read_zip64(directory.subspan(central_size + name, extra), entry, subject);
  directory = directory.subspan(central_size + name + extra + comment);
  return entry;
}

struct Place {
  uint64_t begin, end;
  ZipEntry entry;
};

Place locate(const Reader& file, const Central& central, uint64_t directory_begin, const std::string& subject) {
  if (central.flags & 1) defect(subject, "an entry without encryption", "an encrypted one");
  if (central.method != 0 || central.compressed != central.uncompressed)
    fail(subject, "a stored entry, as torch.save writes it", fmt::format("compression method {}", central.method),
         "Save the tensors alone: torch.save(model.state_dict(), \"new.pth\"), for a TorchScript program after torch.jit.load");
  const auto header = file.range(central.local, local_size, "a local header");
  if (number<uint32_t>(header, 0) != local_signature)
    defect(subject, fmt::format("a local header at byte {}", central.local), "something else");
  const uint64_t name = number<uint16_t>(header, 26), extra = number<uint16_t>(header, 28);
  if (number<uint16_t>(header, 8) != central.method || text(file.range(central.local + local_size, name, "a name")) != central.name)
    defect(subject, "a local header that agrees with the central directory", "another name or method");
  const uint64_t begin = central.local + local_size + name + extra;
  const auto bytes = file.range(begin, central.uncompressed, "the data");
  if (begin + bytes.size() > directory_begin)
    defect(subject, fmt::format("data before the central directory at byte {}", directory_begin),
           fmt::format("data until byte {}", begin + bytes.size()));
  return {central.local, begin + bytes.size(), {central.name, bytes, central.crc}};
}

}  // namespace

uint32_t zip_crc32(std::span<const std::byte> bytes) {
  static const auto table = [] {
    std::array<uint32_t, 256> rows{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t row = i;
      for (int bit = 0; bit < 8; ++bit) row = row >> 1 ^ (row & 1 ? 0xEDB88320u : 0u);
      rows[i] = row;
    }
    return rows;
  }();
  uint32_t crc = ~0u;
  for (const std::byte byte : bytes) crc = crc >> 8 ^ table[(crc ^ static_cast<uint32_t>(byte)) & 0xFF];
  return ~crc;
}

std::vector<ZipEntry> read_zip(std::span<const std::byte> archive, const std::string& subject) {
  const Reader file(archive, subject);
  const Directory directory = find_directory(file, subject);
  auto rest = archive.subspan(directory.begin, directory.size);
  std::vector<Place> places;
  std::unordered_set<std::string_view> names;
  for (uint64_t i = 0; i < directory.entries; ++i) {
    const Central central = read_central(rest, subject);
    const std::string entry_subject = fmt::format("{}, entry \"{}\"", subject, central.name.substr(0, 200));
    if (!names.insert(central.name).second) defect(entry_subject, "a name once", "it twice");
    places.push_back(locate(file, central, directory.begin, entry_subject));
  }
  if (!rest.empty()) defect(subject, fmt::format("{} entries in the central directory", directory.entries), "more bytes behind them");
  std::vector<ZipEntry> entries;
  for (const Place& place : places) entries.push_back(place.entry);
  std::sort(places.begin(), places.end(), [](const Place& a, const Place& b) { return a.begin < b.begin; });
  uint64_t end = 0;
  for (const Place& place : places) {
    if (place.begin < end)
      defect(fmt::format("{}, entry \"{}\"", subject, place.entry.name.substr(0, 200)), fmt::format("its place behind byte {}", end),
             fmt::format("an overlap from byte {} on", place.begin));
    end = place.end;
  }
  return entries;
}

}  // namespace dinoxx
