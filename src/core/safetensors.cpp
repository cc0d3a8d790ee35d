#include "dinoxx/core/safetensors.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "dinoxx/core/crc32c.hpp"
#include "dinoxx/core/error.hpp"
#include "dinoxx/core/files.hpp"

namespace dinoxx {
namespace {

struct DTypeRow {
  DType dtype;
  std::string_view name;
  size_t size;
};
constexpr std::array<DTypeRow, 7> dtype_rows{{{DType::kF64, "F64", 8},
                                              {DType::kF32, "F32", 4},
                                              {DType::kF16, "F16", 2},
                                              {DType::kBF16, "BF16", 2},
                                              {DType::kI64, "I64", 8},
                                              {DType::kI32, "I32", 4},
                                              {DType::kU8, "U8", 1}}};

// The reference implementation refuses longer headers too; it bounds what a hostile file can make us allocate.
constexpr uint64_t max_header = 100'000'000;
constexpr const char* metadata_key = "__metadata__";

[[noreturn]] void defect(const std::string& path, std::string_view expected, std::string_view found) {
  fail(path, expected, found, "The file is damaged or no safetensors file: copy or make it again");
}

// Product of a shape and an element size; false when it leaves 63 bits or an extent is negative.
bool byte_count(const std::vector<int64_t>& shape, size_t element, uint64_t& bytes) {
  uint64_t total = element;
  for (const int64_t extent : shape) {
    if (extent < 0 || __builtin_mul_overflow(total, static_cast<uint64_t>(extent), &total)) return false;
  }
  bytes = total;
  return total <= static_cast<uint64_t>(INT64_MAX);
}

// nlohmann keeps the last of two equal keys and accepts any depth: both are refused while parsing.
nlohmann::json parse_header(const std::string& path, std::string_view text) {
  using json = nlohmann::json;
  std::vector<std::set<std::string>> keys;
  std::string complaint;
  const json::parser_callback_t check = [&](int depth, json::parse_event_t event, json& value) {
    if (!complaint.empty()) return false;
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end && !keys.empty()) keys.pop_back();
    if (event == json::parse_event_t::key && !keys.empty() && !keys.back().insert(value.get<std::string>()).second)
      complaint = fmt::format("the name \"{}\" twice", value.get<std::string>());
    if (depth > 4) complaint = "values nested more than four deep";
    return complaint.empty();
  };
  json header = json::parse(text, check, /*allow_exceptions=*/false);
  if (!complaint.empty()) defect(path, "unique names, one object per tensor", complaint);
  if (!header.is_object()) defect(path, "a JSON object as header", header.is_discarded() ? "text that is no JSON" : header.type_name());
  return header;
}

struct Entry {
  std::string name;
  TensorView view;
  uint64_t begin = 0, end = 0;
};

Entry parse_entry(const std::string& path, const std::string& name, const nlohmann::json& value, uint64_t data_size) {
  const std::string subject = fmt::format("{}, tensor \"{}\"", path, name);
  if (!value.is_object() || value.size() != 3 || !value.contains("dtype") || !value.contains("shape") || !value.contains("data_offsets"))
    defect(subject, "an object of dtype, shape and data_offsets", value.dump().substr(0, 80));
  Entry entry{name, {}, 0, 0};
  const auto &dtype = value["dtype"], &shape = value["shape"], &offsets = value["data_offsets"];
  if (!dtype.is_string()) defect(subject, "a dtype name", dtype.dump().substr(0, 80));
  const auto row =
      std::find_if(dtype_rows.begin(), dtype_rows.end(), [&](const DTypeRow& r) { return r.name == dtype.get_ref<const std::string&>(); });
  if (row == dtype_rows.end()) defect(subject, "a dtype of F64, F32, F16, BF16, I64, I32, U8", dtype.dump().substr(0, 80));
  entry.view.dtype = row->dtype;
  if (!shape.is_array() || !std::all_of(shape.begin(), shape.end(), [](const auto& n) { return n.is_number_unsigned(); }))
    defect(subject, "a shape of integers >= 0", shape.dump().substr(0, 80));
  for (const auto& extent : shape) {
    if (extent.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) defect(subject, "a shape that fits 63 bits", shape.dump().substr(0, 80));
    entry.view.shape.push_back(extent.get<int64_t>());
  }
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() || !offsets[1].is_number_unsigned())
    defect(subject, "data_offsets of two integers >= 0", offsets.dump().substr(0, 80));
  entry.begin = offsets[0].get<uint64_t>();
  entry.end = offsets[1].get<uint64_t>();
  if (entry.begin > entry.end || entry.end > data_size)
    defect(subject, fmt::format("a range inside the {} bytes of data", data_size), fmt::format("{} to {}", entry.begin, entry.end));
  uint64_t bytes = 0;
  if (!byte_count(entry.view.shape, row->size, bytes)) defect(subject, "a shape whose size fits 63 bits", shape.dump().substr(0, 80));
  if (bytes != entry.end - entry.begin)
    defect(subject, fmt::format("{} bytes for {} {}", bytes, row->name, shape.dump()),
           fmt::format("a range of {} bytes", entry.end - entry.begin));
  return entry;
}

// Sequential output with the checksum of all that passed.
class ChecksummedFile {
 public:
  explicit ChecksummedFile(const std::filesystem::path& path) : writer_(path) {}
  void write(std::span<const std::byte> bytes) {
    crc_ = crc32c(bytes.data(), bytes.size(), crc_);
    writer_.write(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  }
  uint32_t commit() {
    writer_.commit();
    return crc_;
  }

 private:
  AtomicFile writer_;
  uint32_t crc_ = 0;
};

}  // namespace

size_t dtype_size(DType dtype) {
  return dtype_rows.at(static_cast<size_t>(dtype)).size;
}
std::string_view dtype_name(DType dtype) {
  return dtype_rows.at(static_cast<size_t>(dtype)).name;
}

DType dtype_from_name(std::string_view name) {
  for (const DTypeRow& row : dtype_rows)
    if (row.name == name) return row.dtype;
  fail("dtype", "one of F64, F32, F16, BF16, I64, I32, U8", fmt::format("\"{}\"", name), "Convert the tensor to one of these types");
}

uint32_t write_safetensors(const std::filesystem::path& path, const std::map<std::string, TensorView>& tensors,
                           const std::map<std::string, std::string>& metadata) {
  nlohmann::json header = nlohmann::json::object();
  if (!metadata.empty()) header[metadata_key] = metadata;
  uint64_t offset = 0;
  for (const auto& [name, view] : tensors) {
    uint64_t bytes = 0;
    if (name == metadata_key) fail(path.string(), "tensor names other than __metadata__", name, "Rename the tensor");
    if (!byte_count(view.shape, dtype_size(view.dtype), bytes) || bytes != view.bytes.size())
      fail(fmt::format("{}, tensor \"{}\"", path.string(), name), fmt::format("{} bytes", bytes),
           fmt::format("{} bytes", view.bytes.size()), "Pass the whole tensor, contiguous");
    header[name] = {{"dtype", dtype_name(view.dtype)}, {"shape", view.shape}, {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // so that the data begins at a multiple of 8
  uint64_t length = text.size();
  static_assert(std::endian::native == std::endian::little, "the format is little-endian");
  ChecksummedFile file(path);
  file.write(std::as_bytes(std::span(&length, 1)));
  file.write(std::as_bytes(std::span(text)));
  for (const auto& [name, view] : tensors) file.write(view.bytes);
  return file.commit();
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : path_(path.string()) {
  const FileDescriptor file(path);
  size_ = file.size();
  if (size_ < 8) defect(path_, "at least 8 bytes", fmt::format("{} bytes", size_));
  void* map = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (map == MAP_FAILED) fail(path_, "to map the file into memory", std::strerror(errno), "Check the file system");
  map_ = static_cast<const std::byte*>(map);
  try {
    uint64_t length = 0;
    std::memcpy(&length, map_, sizeof length);
    if (length > max_header || length > size_ - 8)
      defect(path_, fmt::format("a header length of at most {}", std::min<uint64_t>(max_header, size_ - 8)), std::to_string(length));
    const uint64_t data_size = size_ - 8 - length;
    const nlohmann::json header = parse_header(path_, {reinterpret_cast<const char*>(map_ + 8), length});
    std::vector<Entry> entries;
    for (const auto& [name, value] : header.items()) {
      if (name != metadata_key) {
        entries.push_back(parse_entry(path_, name, value, data_size));
        continue;
      }
      if (!value.is_object()) defect(path_, "__metadata__ as an object of strings", value.dump().substr(0, 80));
      for (const auto& [key, text] : value.items()) {
        if (!text.is_string()) defect(path_, fmt::format("__metadata__ \"{}\" as a string", key), text.dump().substr(0, 80));
        metadata_[key] = text.get<std::string>();
      }
    }
    std::sort(entries.begin(), entries.end(),
              [](const Entry& a, const Entry& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
    uint64_t end = 0;
    for (Entry& entry : entries) {
      if (entry.begin != end)
        defect(fmt::format("{}, tensor \"{}\"", path_, entry.name), fmt::format("data from byte {} on, without hole or overlap", end),
               fmt::format("byte {}", entry.begin));
      end = entry.end;
      entry.view.bytes = {map_ + 8 + length + entry.begin, entry.end - entry.begin};
      tensors_.emplace(entry.name, std::move(entry.view));
    }
    if (end != data_size) defect(path_, fmt::format("{} bytes of data", end), fmt::format("{}", data_size));
  } catch (...) {
    ::munmap(map, size_);
    throw;
  }
}

SafetensorsFile::~SafetensorsFile() {
  if (map_) ::munmap(const_cast<std::byte*>(map_), size_);
}

SafetensorsFile::SafetensorsFile(SafetensorsFile&& other) noexcept
    : path_(std::move(other.path_)),
      map_(std::exchange(other.map_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      tensors_(std::move(other.tensors_)),
      metadata_(std::move(other.metadata_)) {}

SafetensorsFile& SafetensorsFile::operator=(SafetensorsFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(map_, other.map_);
  std::swap(size_, other.size_);
  tensors_.swap(other.tensors_);
  metadata_.swap(other.metadata_);
  return *this;
}

const TensorView& SafetensorsFile::at(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found != tensors_.end()) return found->second;
  std::vector<std::string> names;
  for (const auto& [key, view] : tensors_) names.push_back(key);
  const std::string near = nearest_name(name, names);
  fail(path_, fmt::format("a tensor \"{}\"", name), fmt::format("{} tensors of other names", names.size()),
       near.empty() ? "Is this the right file?" : fmt::format("Did you mean \"{}\"?", near));
}

uint32_t SafetensorsFile::file_crc32c() const {
  return crc32c(map_, size_);
}

}  // namespace dinoxx
