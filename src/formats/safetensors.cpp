#include "safetensors.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/crc32c.hpp"
#include "base/files.hpp"
#include "base/json_text.hpp"
#include "base/regular_file.hpp"
#include "dinoxx/base/error.hpp"
#include "strict_json.hpp"

namespace dinoxx {
namespace {

struct DTypeRow {
  DType dtype;
  std::string_view name;
  size_t size;
};
constexpr std::array<DTypeRow, 16> dtype_rows{{{DType::kF64, "F64", 8},
                                               {DType::kF32, "F32", 4},
                                               {DType::kF16, "F16", 2},
                                               {DType::kBF16, "BF16", 2},
                                               {DType::kI64, "I64", 8},
                                               {DType::kI32, "I32", 4},
                                               {DType::kU8, "U8", 1},
                                               {DType::kI16, "I16", 2},
                                               {DType::kI8, "I8", 1},
                                               {DType::kU16, "U16", 2},
                                               {DType::kU32, "U32", 4},
                                               {DType::kU64, "U64", 8},
                                               {DType::kBool, "BOOL", 1},
                                               {DType::kF8E4M3, "F8_E4M3", 1},
                                               {DType::kF8E5M2, "F8_E5M2", 1},
                                               {DType::kC64, "C64", 8}}};

std::string known_dtypes() {
  std::string names;
  for (const DTypeRow& row : dtype_rows) names += fmt::format("{}{}", names.empty() ? "" : ", ", row.name);
  return names;
}

// The reference implementation refuses longer headers too; it bounds what a hostile file can make us allocate.
constexpr uint64_t max_header = 100'000'000;
constexpr const char* metadata_key = "__metadata__";

[[noreturn]] void defect(const std::string& path, std::string_view expected, std::string_view found) {
  fail(path, expected, found, "The file is damaged or no safetensors file: copy or make it again");
}

// Product of a shape and an element size; false when it leaves 63 bits or an extent is negative.
bool byte_count(std::span<const int64_t> shape, size_t element, uint64_t& bytes) {
  if (std::any_of(shape.begin(), shape.end(), [](int64_t n) { return n < 0; })) return false;
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) {
    bytes = 0;  // however large the other extents are
    return true;
  }
  uint64_t total = element;
  for (const int64_t extent : shape)
    if (__builtin_mul_overflow(total, static_cast<uint64_t>(extent), &total)) return false;
  bytes = total;
  return total <= static_cast<uint64_t>(INT64_MAX);
}

struct Entry {
  std::string name;
  TensorView view;
  uint64_t begin = 0, end = 0;
};

Entry parse_entry(const std::string& path, const std::string& name, const nlohmann::json& value, uint64_t data_size) {
  const std::string subject = fmt::format("{}, tensor \"{}\"", path, name);
  if (!value.is_object() || value.size() != 3 || !value.contains("dtype") || !value.contains("shape") || !value.contains("data_offsets"))
    defect(subject, "an object of dtype, shape and data_offsets", excerpt(value));
  Entry entry{name, {}, 0, 0};
  const auto &dtype = value["dtype"], &shape = value["shape"], &offsets = value["data_offsets"];
  if (!dtype.is_string()) defect(subject, "a dtype name", excerpt(dtype));
  const auto row =
      std::find_if(dtype_rows.begin(), dtype_rows.end(), [&](const DTypeRow& r) { return r.name == dtype.get_ref<const std::string&>(); });
  if (row == dtype_rows.end())
    fail(subject, "a dtype of " + known_dtypes(), excerpt(dtype),
         "A quantised or newer type: convert the weights to float32 or bfloat16 with the program that made them");
  entry.view.dtype = row->dtype;
  if (!shape.is_array() || !std::all_of(shape.begin(), shape.end(), [](const auto& n) { return n.is_number_unsigned(); }))
    defect(subject, "a shape of integers >= 0", excerpt(shape));
  for (const auto& extent : shape) {
    if (extent.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) defect(subject, "a shape that fits 63 bits", excerpt(shape));
    entry.view.shape.push_back(extent.get<int64_t>());
  }
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() || !offsets[1].is_number_unsigned())
    defect(subject, "data_offsets of two integers >= 0", excerpt(offsets));
  entry.begin = offsets[0].get<uint64_t>();
  entry.end = offsets[1].get<uint64_t>();
  if (entry.begin > entry.end || entry.end > data_size)
    defect(subject, fmt::format("a range inside the {} bytes of data", data_size), fmt::format("{} to {}", entry.begin, entry.end));
  uint64_t bytes = 0;
  if (!byte_count(entry.view.shape, row->size, bytes)) defect(subject, "a shape whose size fits 63 bits", excerpt(shape));
  if (bytes != entry.end - entry.begin)
    defect(subject, fmt::format("{} bytes for {} {}", bytes, row->name, excerpt(shape)),
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
  fail("dtype", "one of " + known_dtypes(), fmt::format("\"{}\"", name), "Convert the tensor to one of these types");
}

uint64_t contiguous_bytes(std::string_view subject, DType dtype, std::span<const int64_t> shape) {
  uint64_t bytes = 0;
  if (!byte_count(shape, dtype_size(dtype), bytes))
    fail(subject, "a shape of extents >= 0 whose size fits 63 bits", fmt::format("[{}]", fmt::join(shape, ", ")),
         "Check the file or the tensor");
  return bytes;
}

uint32_t write_safetensors(const std::filesystem::path& path, const std::map<std::string, TensorView>& tensors,
                           const std::map<std::string, std::string>& metadata) {
  std::map<std::string, TensorSource> sources;
  for (const auto& [name, view] : tensors) sources[name] = {view.dtype, view.shape, [&view = view](const auto& put) { put(view.bytes); }};
  return write_safetensors_stream(path, sources, metadata);
}

std::vector<std::string> storage_order(const std::map<std::string, TensorSource>& tensors) {
  std::vector<std::string> order;
  order.reserve(tensors.size());
  for (const auto& [name, source] : tensors) order.push_back(name);
  std::stable_sort(order.begin(), order.end(), [&](const std::string& a, const std::string& b) {
    return dtype_size(tensors.at(a).dtype) > dtype_size(tensors.at(b).dtype);
  });
  return order;
}

uint32_t write_safetensors_stream(const std::filesystem::path& path, const std::map<std::string, TensorSource>& tensors,
                                  const std::map<std::string, std::string>& metadata) {
  static_assert(std::endian::native == std::endian::little, "the format is little-endian");
  const std::vector<std::string> order = storage_order(tensors);
  nlohmann::json header = nlohmann::json::object();
  if (!metadata.empty()) header[metadata_key] = metadata;
  uint64_t offset = 0;
  for (const std::string& name : order) {
    const TensorSource& source = tensors.at(name);
    if (name == metadata_key) fail(path.string(), "tensor names other than __metadata__", name, "Rename the tensor");
    const uint64_t bytes = contiguous_bytes(fmt::format("{}, tensor \"{}\"", path.string(), name), source.dtype, source.shape);
    header[name] = {{"dtype", dtype_name(source.dtype)}, {"shape", source.shape}, {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  }
  std::string text = json_text(header);
  text.resize((text.size() + 7) / 8 * 8, ' ');  // so that the data begins at a multiple of 8
  if (text.size() > max_header)
    fail(path.string(), fmt::format("a header of at most {} bytes", max_header), std::to_string(text.size()),
         "Write fewer tensors to a file");
  const uint64_t length = text.size();
  ChecksummedFile file(path);
  file.write(std::as_bytes(std::span(&length, 1)));
  file.write(std::as_bytes(std::span(text)));
  for (const std::string& name : order) {
    const TensorSource& source = tensors.at(name);
    const std::string subject = fmt::format("{}, tensor \"{}\"", path.string(), name);
    const uint64_t expected = contiguous_bytes(subject, source.dtype, source.shape);
    uint64_t written = 0;
    source.produce([&](std::span<const std::byte> bytes) {
      written += bytes.size();
      if (written <= expected) file.write(bytes);
    });
    if (written != expected)
      fail(subject, fmt::format("{} bytes", expected), fmt::format("{} bytes", written), "Pass the whole tensor, contiguous");
  }
  return file.commit();
}

SafetensorsContent parse_safetensors(std::span<const std::byte> head, uint64_t file_size, const std::string& subject) {
  if (head.size() < 8 || file_size < 8)
    defect(subject, "at least 8 bytes", fmt::format("{} bytes", std::min<uint64_t>(head.size(), file_size)));
  uint64_t length = 0;
  std::memcpy(&length, head.data(), sizeof length);
  const uint64_t limit = std::min<uint64_t>(max_header, std::min<uint64_t>(head.size(), file_size) - 8);
  if (length > limit) defect(subject, fmt::format("a header length of at most {}", limit), std::to_string(length));
  const uint64_t data_size = file_size - 8 - length;
  const nlohmann::json header =
      parse_strict_json(subject, {reinterpret_cast<const char*>(head.data() + 8), length}, "The file is damaged or no safetensors file");
  SafetensorsContent content;
  std::vector<Entry> entries;
  for (const auto& [name, value] : header.items()) {
    if (name != metadata_key) {
      entries.push_back(parse_entry(subject, name, value, data_size));
      continue;
    }
    if (!value.is_object()) defect(subject, "__metadata__ as an object of strings", excerpt(value));
    for (const auto& [key, text] : value.items()) {
      if (!text.is_string()) defect(subject, fmt::format("__metadata__ \"{}\" as a string", key), excerpt(text));
      content.metadata[key] = text.get<std::string>();
    }
  }
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  uint64_t end = 0;
  for (Entry& entry : entries) {
    if (entry.begin != end)
      defect(fmt::format("{}, tensor \"{}\"", subject, entry.name), fmt::format("data from byte {} on, without hole or overlap", end),
             fmt::format("byte {}", entry.begin));
    end = entry.end;
    if (head.size() == file_size) entry.view.bytes = head.subspan(8 + length + entry.begin, entry.end - entry.begin);
    content.tensors.emplace(entry.name, std::move(entry.view));
  }
  if (end != data_size) defect(subject, fmt::format("{} bytes of data", end), fmt::format("{}", data_size));
  return content;
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path, FileAccess access) : path_(path.string()) {
  const FileDescriptor file = open_regular(path);
  size_ = file.size();
  uint64_t length = 0;
  if (access == FileAccess::kHeader && size_ >= 8) {
    file.read_at(std::as_writable_bytes(std::span(&length, 1)), 0);
    map_ = MappedFile(file, length <= max_header && length <= size_ - 8 ? 8 + length : 8);  // parse_safetensors refuses the rest
  } else {
    map_ = MappedFile(file);
  }
  content_ = parse_safetensors(map_.bytes(), size_, path_);
}

const TensorView& SafetensorsFile::at(const std::string& name) const {
  const auto found = content_.tensors.find(name);
  if (found != content_.tensors.end()) return found->second;
  std::vector<std::string> names;
  for (const auto& [key, view] : content_.tensors) names.push_back(key);
  const std::string near = nearest_name(name, names);
  fail(path_, fmt::format("a tensor \"{}\"", name), fmt::format("{} tensors of other names", names.size()),
       near.empty() ? "Is this the right file?" : fmt::format("Did you mean \"{}\"?", near));
}

uint32_t SafetensorsFile::file_crc32c() const {
  if (map_.bytes().size() != size_)
    fail(path_, "a file opened with its data", "one opened for its header", "Open it with FileAccess::kData");
  return crc32c(map_.bytes().data(), size_);
}

}  // namespace dinoxx
